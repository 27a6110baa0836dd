"""The probe's clock, and how far it is off the service's.

A machine without a battery-backed clock measures with whatever time it woke up with, and is put
right later. A run keeps, beside its times, a tick of a clock that never jumps. When it is delivered
in the same boot, the tick says how long ago it was, and the service's own time says when that was.
"""

import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from uuid import uuid4

from speedtrap_probe.model import Run

BOUND_S = 30.0
"""A clock that is off by more is wrong, and its runs are corrected."""
DATE_RESOLUTION_S = 1.0  # HTTP's Date has whole seconds, cut off
LARGEST_OFFSET_S = 100 * 365 * 86_400.0  # without a battery it is 1970; nobody is further off
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
THIS_PROCESS = uuid4().hex


@dataclass(frozen=True, slots=True)
class Tick:
    """A moment on a clock that never jumps. Two are comparable if they have the same `boot`."""

    boot: str
    seconds: float


def tick() -> Tick:
    """Now."""
    return Tick(_boot(), ticking_s())


def ticking_s() -> float:
    """Seconds that never jump; where the system can, those in which it slept count too."""
    if sys.platform == "linux":
        seconds = time.clock_gettime(time.CLOCK_BOOTTIME)
    else:
        seconds = time.monotonic()
    return seconds


def offset_s(date: str | None, sent_at: datetime, received_at: datetime) -> float | None:
    """How far the other side's clock is ahead, by the `Date` header of its answer.

    Half of the round trip is taken off, and the half second that the header has lost on average:
    right to half a second and half of the round trip.
    """
    if date is None:
        return None
    # Of a date that is none; and of one at the end of time, which has no neighbours.
    with suppress(ValueError, TypeError, IndexError, OverflowError):
        theirs = parsedate_to_datetime(date)
        if theirs.tzinfo is None:  # "-0000": a time in UTC of unknown place
            theirs = theirs.replace(tzinfo=UTC)
        ours = sent_at + (received_at - sent_at) / 2
        ahead_s = (theirs - ours).total_seconds() + DATE_RESOLUTION_S / 2
        return ahead_s if abs(ahead_s) < LARGEST_OFFSET_S else None
    return None


def corrected(run: Run, kept: Tick | None, now: datetime, offset: float, tick_now: Tick) -> Run:
    """The run with the times that the service's clock would have given it, if ours was wrong.

    *offset* is that of now, *kept* the tick at which the run was put away.
    """
    if kept is not None and kept.boot == tick_now.boot:
        ago = timedelta(seconds=tick_now.seconds - kept.seconds)
        error = now + timedelta(seconds=offset) - ago - run.finished_at
    elif run.conditions.clock_offset_ms is not None:
        error = timedelta(milliseconds=run.conditions.clock_offset_ms)
    else:
        return run  # of another boot, or imported: nobody knows
    if abs(error.total_seconds()) <= BOUND_S:
        return run
    return moved(run, error)


def moved(run: Run, by: timedelta) -> Run:
    """Every time of the run moved, and a note that says so."""
    seconds = by.total_seconds()
    way = "behind" if seconds > 0 else "ahead of"
    note = (
        f"The probe's clock was {abs(seconds):,.0f} s {way} the service's:"
        " the times of this run were corrected by that."
    )
    return replace(
        run,
        started_at=run.started_at + by,
        finished_at=run.finished_at + by,
        measurements=tuple(
            replace(one, started_at=one.started_at + by) for one in run.measurements
        ),
        conditions=run.conditions.noting(note),
    )


def _boot() -> str:
    """This boot's name on Linux. Elsewhere only this process knows that it is the same boot."""
    if sys.platform == "linux":
        with suppress(OSError):
            return BOOT_ID.read_text().strip()
    return THIS_PROCESS
