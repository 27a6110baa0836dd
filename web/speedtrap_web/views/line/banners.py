"""What to bear in mind when reading the page: a silent probe, a line down, a new plan."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from speedtrap_web.graphql.answers import Plan, Probe
from speedtrap_web.views.line.ranges import Range
from speedtrap_web.views.words import Words

QUIET_AT_LEAST = timedelta(hours=3)
QUIET_GAPS = 3
"""A probe is silent after so many of its usual pauses."""


@dataclass(frozen=True, slots=True)
class Banner:
    """`kind` is silent, down or plan: each looks different, because each means something else."""

    kind: str
    glyph: str
    text: str


def banners(probe: Probe, span: Range, words: Words) -> tuple[Banner, ...]:
    words.freshness.ends(probe.silence.until if probe.silence else None)
    found = [_silent(probe, words) or _down(probe, words), _new_plan(probe.plans, span, words)]
    return tuple(notice for notice in found if notice is not None)


def silent_since(probe: Probe, words: Words) -> datetime | None:
    """When it was heard last, once its next run is overdue; a probe that did not say when that is
    due is given longer than it usually pauses.
    """
    if probe.last_seen_at is None or probe.first_run_at is None:
        return None
    if probe.silent_at is not None:
        words.freshness.ends(probe.silent_at)
        return probe.last_seen_at if probe.silent else None
    runs = max(1, probe.run_count - 1)
    usual = (probe.last_seen_at - probe.first_run_at) / runs
    overdue_at = probe.last_seen_at + max(QUIET_AT_LEAST, QUIET_GAPS * usual)
    words.freshness.ends(overdue_at)
    return probe.last_seen_at if words.now >= overdue_at else None


def _silent(probe: Probe, words: Words) -> Banner | None:
    since = silent_since(probe, words)
    if since is None:
        return None
    text = words.text("standing.silent", probe=probe.name, duration=words.lasted(since))
    return Banner("silent", "◌", text)


def _down(probe: Probe, words: Words) -> Banner | None:
    run = probe.last_run
    if run is None or run.outcome != "OUTAGE":
        return None
    return Banner("down", "✖", words.text("standing.down", ago=words.ago(run.started_at)))


def _new_plan(plans: Sequence[Plan], span: Range, words: Words) -> Banner | None:
    for plan in plans:
        words.freshness.ends(plan.since)
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
    return Banner("plan", "◇", text)
