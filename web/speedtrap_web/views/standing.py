"""What to bear in mind when reading the page: a silent probe, a line down, a new plan."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from speedtrap_web.answers import Plan, Probe
from speedtrap_web.views.ranges import Range
from speedtrap_web.views.words import Words

QUIET_AT_LEAST = timedelta(hours=3)
QUIET_GAPS = 3
"""A probe is silent after so many of its usual pauses."""


@dataclass(frozen=True, slots=True)
class Notice:
    """`kind` is silent, down or plan: each looks different, because each means something else."""

    kind: str
    glyph: str
    text: str


def standing(probe: Probe, span: Range, words: Words) -> tuple[Notice, ...]:
    found = [_silent(probe, words) or _down(probe, words), _new_plan(probe.plans, span, words)]
    return tuple(notice for notice in found if notice is not None)


def silent_for(probe: Probe, now: datetime) -> timedelta | None:
    """How long nothing has been heard, once its next run is overdue; a probe that did not say when
    that is due is given longer than it usually pauses.
    """
    if probe.last_seen_at is None or probe.first_run_at is None:
        return None
    quiet = now - probe.last_seen_at
    if probe.expected_at is not None:
        return quiet if probe.silent else None
    runs = max(1, probe.run_count - 1)
    usual = (probe.last_seen_at - probe.first_run_at) / runs
    return quiet if quiet > max(QUIET_AT_LEAST, QUIET_GAPS * usual) else None


def _silent(probe: Probe, words: Words) -> Notice | None:
    quiet = silent_for(probe, words.now)
    if quiet is None:
        return None
    duration = words.catalogue.duration(quiet.total_seconds())
    text = words.text("standing.silent", probe=probe.name, duration=duration)
    return Notice("silent", "◌", text)


def _down(probe: Probe, words: Words) -> Notice | None:
    run = probe.last_run
    if run is None or run.outcome != "OUTAGE":
        return None
    return Notice("down", "✖", words.text("standing.down", ago=words.ago(run.started_at)))


def _new_plan(plans: Sequence[Plan], span: Range, words: Words) -> Notice | None:
    began = [plan for plan in plans if span.since < plan.since < min(span.until, words.now)]
    if not began:
        return None
    newest = max(began, key=lambda plan: plan.since)
    text = words.text(
        "standing.plan",
        provider=newest.provider,
        down=words.catalogue.plain(newest.download_mbps),
        day=words.day(newest.since),
    )
    return Notice("plan", "◇", text)
