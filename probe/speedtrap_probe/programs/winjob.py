"""A job object of Windows: what is put in ends with it, its children too.

It ends when it is ended here, and when its last handle closes: also when the probe is killed.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any

# winnt.h
EXTENDED_LIMITS = 9  # JobObjectExtendedLimitInformation
KILL_ON_CLOSE = 0x2000  # JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
ENDED = 1  # the exit code of what the job ends


class _BasicLimits(ctypes.Structure):
    """JOBOBJECT_BASIC_LIMIT_INFORMATION."""

    _fields_ = (
        ("per_process_user_time_limit", c_int64),
        ("per_job_user_time_limit", c_int64),
        ("limit_flags", c_uint32),
        ("minimum_working_set", c_size_t),
        ("maximum_working_set", c_size_t),
        ("active_process_limit", c_uint32),
        ("affinity", c_size_t),
        ("priority_class", c_uint32),
        ("scheduling_class", c_uint32),
    )


class ExtendedLimits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION."""

    _fields_ = (
        ("basic", _BasicLimits),
        ("io", c_uint64 * 6),
        ("process_memory_limit", c_size_t),
        ("job_memory_limit", c_size_t),
        ("peak_process_memory", c_size_t),
        ("peak_job_memory", c_size_t),
    )


class Job:
    """Made by `job`; *kernel32* is the system's library."""

    def __init__(self, kernel32: Any) -> None:
        self._kernel32 = kernel32
        kernel32.CreateJobObjectW.restype = c_void_p  # handles are as wide as pointers
        self._handle = c_void_p(kernel32.CreateJobObjectW(None, None))
        limits = ExtendedLimits()
        limits.basic.limit_flags = KILL_ON_CLOSE
        self._must(
            self._handle.value
            and kernel32.SetInformationJobObject(
                self._handle, EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits)
            )
        )

    def take(self, process_handle: int) -> None:
        """Puts a process in: what it starts from now on is in there too."""
        self._must(self._kernel32.AssignProcessToJobObject(self._handle, c_void_p(process_handle)))

    def end(self) -> None:
        """Ends all that is in there."""
        self._kernel32.TerminateJobObject(self._handle, ENDED)

    def close(self) -> None:
        self._kernel32.CloseHandle(self._handle)

    def _must(self, done: object) -> None:
        if not done:
            raise OSError(f"no job object can be had (error {self._kernel32.GetLastError()})")


@contextmanager
def job(kernel32: Any = None) -> Iterator[Job]:
    """A job of its own, ended and closed when the block ends."""
    made = Job(kernel32 or _kernel32())
    try:
        yield made
    finally:
        made.end()
        made.close()


def _kernel32() -> Any:
    load = getattr(ctypes, "WinDLL", None)  # there is none elsewhere
    if load is None:
        raise OSError(f"{os.name} has no job objects")
    return load("kernel32")
