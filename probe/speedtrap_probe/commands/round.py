"""One round: measured, kept and delivered, unless another process is at it."""

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from speedtrap_probe import display
from speedtrap_probe.errors import ProbeError
from speedtrap_probe.files import lock
from speedtrap_probe.model import Run
from speedtrap_probe.plan import Plan
from speedtrap_probe.problems import Exit
from speedtrap_probe.schedule import interval
from speedtrap_probe.service.submit import Delivery
from speedtrap_probe.session import Session
from speedtrap_probe.stopping import Stop


@dataclass(frozen=True, slots=True)
class Round:
    """A run and what became of it; `told` are things that people should know."""

    run: Run
    plan: Plan | None
    told: list[str]
    delivery: Delivery | None


@dataclass(frozen=True, slots=True)
class Aside:
    """There was no run, for another process measures this line."""

    why: str
    stuck: bool


def make_round(
    session: Session, stop: Stop, quiet: bool, next_run_at: datetime | None
) -> Round | Aside:
    """Measures, keeps and delivers, unless another process measures this line now."""
    with ExitStack() as held:
        told = []
        try:
            if not held.enter_context(lock.alone(session.settings.lock, session.longest_s)):
                return _aside(session.settings.lock)
        except ProbeError as error:  # a full disk is no reason not to measure
            told.append(str(error))
        awake = session.wake(next_run_at)
        told += [awake.problem] if awake.problem else []
        with display.progress(quiet) as (watcher, progress):
            measured = session.measure(watcher, progress, awake)
        with stop.held():
            told += session.record(measured)
    return Round(measured, awake.plan, told, session.deliver(next_run_at))


def _aside(path: Path) -> Aside:
    """Who measures, since when, and what to do if it should have ended long ago."""
    found, now = lock.holder(path), datetime.now(UTC)
    if found is None:
        return Aside("Another run measures this line now: this one steps aside.", stuck=False)
    age = interval.words(found.age(now).total_seconds())
    who = f"process {found.pid}, since {age}"
    if not found.stuck(now):
        return Aside(f"Another run measures this line now ({who}): this one steps aside.", False)
    longest = interval.words(found.within_s)
    why = (
        f"Another run is stuck ({who}; a run takes {longest} at most): nothing is measured until "
        f"it ends. If process {found.pid} is a speedtrap probe, end it."
    )
    return Aside(why, stuck=True)


def stepped_aside(aside: Aside, quiet: bool) -> Exit:
    if aside.stuck:
        display.complain(aside.why)
        return Exit.STUCK
    if not quiet:
        display.say(aside.why)
    return Exit.ASIDE


def rehearse(session: Session) -> None:
    """What a run would do."""
    told = session.settings
    awake = session.wake()
    budget = session.budget(awake.plan)
    for line in display.rehearsal(told, session.tools, budget):
        display.out.print(line, markup=False, highlight=False)
