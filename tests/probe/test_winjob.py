"""Windows' job objects, as far as they can be shown elsewhere: what its library would be told."""

import ctypes
from ctypes import c_void_p
from typing import Any

import pytest
from speedtrap_probe.programs import winjob

HANDLE, PROCESS = 0x1_2345_6789, 77


class Function:
    """Of the library: remembers its arguments, answers as told."""

    def __init__(self, name: str, answer: int, said: list[tuple[str, ...]]) -> None:
        self.name, self.answer, self.said = name, answer, said
        self.restype: Any = None

    def __call__(self, *given: Any) -> int:
        self.said.append((self.name, *map(_told, given)))
        return self.answer


def _told(value: Any) -> str:
    if isinstance(value, c_void_p):
        return hex(value.value or 0)
    if hasattr(value, "_obj"):  # by reference
        return f"flags {value._obj.basic.limit_flags:#x}"
    return str(value)


class Kernel32:
    """Each function answers 1, but those that are told to fail."""

    def __init__(self, *failing: str) -> None:
        self.said: list[tuple[str, ...]] = []
        answers = {
            "CreateJobObjectW": HANDLE,
            "SetInformationJobObject": 1,
            "AssignProcessToJobObject": 1,
            "TerminateJobObject": 1,
            "CloseHandle": 1,
            "GetLastError": 5,
        } | dict.fromkeys(failing, 0)
        for name, answer in answers.items():
            setattr(self, name, Function(name, answer, self.said))


def test_what_is_put_in_a_job_ends_with_the_block_and_with_the_probe() -> None:
    kernel32 = Kernel32()
    with winjob.job(kernel32) as made:
        made.take(PROCESS)
    assert kernel32.said == [
        ("CreateJobObjectW", "None", "None"),
        ("SetInformationJobObject", hex(HANDLE), "9", "flags 0x2000",
         str(ctypes.sizeof(winjob.ExtendedLimits))),
        ("AssignProcessToJobObject", hex(HANDLE), hex(PROCESS)),
        ("TerminateJobObject", hex(HANDLE), "1"),
        ("CloseHandle", hex(HANDLE)),
    ]  # fmt: skip


def test_the_limits_are_as_long_as_windows_has_them() -> None:
    wide = ctypes.sizeof(c_void_p) == 8
    assert ctypes.sizeof(winjob.ExtendedLimits) == (144 if wide else 112)


@pytest.mark.parametrize("function", ["CreateJobObjectW", "SetInformationJobObject"])
def test_a_job_that_cannot_be_had_is_an_error(function: str) -> None:
    with pytest.raises(OSError, match=r"error 5"), winjob.job(Kernel32(function)):
        pass


def test_a_process_that_cannot_be_put_in_is_an_error_and_the_job_is_closed() -> None:
    kernel32 = Kernel32("AssignProcessToJobObject")
    with pytest.raises(OSError, match=r"error 5"), winjob.job(kernel32) as made:
        made.take(PROCESS)
    assert kernel32.said[-1] == ("CloseHandle", hex(HANDLE))


def test_elsewhere_there_are_none() -> None:
    with pytest.raises(OSError, match="no job objects"), winjob.job():
        pass
