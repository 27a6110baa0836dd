"""How a line and its rules stand now."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from speedtrap_graph.metrics.last_run import LastRun, last_run_of
from speedtrap_graph.rules.judgement import broken
from speedtrap_graph.rules.model import Plan, Rule
from speedtrap_graph.rules.plans import plan_at, threshold
from speedtrap_graph.rules.streaks import Bad, Tail
from speedtrap_graph.services.breaches.rejudge import is_current
from speedtrap_graph.services.judging.observations import observation_of
from speedtrap_graph.services.judging.standards import Standards
from speedtrap_graph.services.probes.silence import is_silent
from speedtrap_graph.store.database import Row
from speedtrap_graph.store.tails import tails_of

FRESH = timedelta(hours=24)
"""A run that no other was promised to follow speaks for its line for a day."""


@dataclass(frozen=True, slots=True)
class RuleStanding:
    """How one rule stands: `bound` in its metric's unit. `bad` are the runs that count against it
    now, and more than `more_than` of them make a breach. `is_broken` is the newest run's word.
    """

    rule: Rule
    key: str
    bound: float | None
    bad: int | None
    is_broken: bool | None


@dataclass(frozen=True, slots=True)
class Line:
    """One probe's line."""

    probe: str
    run_count: int
    last_seen_at: datetime | None
    is_silent: bool
    plan: Plan | None
    last_run: LastRun | None
    rules: tuple[RuleStanding, ...]
    open_breaches: int


def line_of(
    probe: Row,
    runs: Mapping[UUID, Row],
    standards: Standards,
    open_breaches: int,
    now: datetime,
) -> Line:
    seen, expected = probe.get("last_seen_at"), probe.get("next_run_at")
    silent = is_silent(seen, expected, now)
    plan = plan_at(standards.pure_plans, now)
    run = runs.get(probe["newest"]["id"]) if probe.get("newest") else None
    last = None
    if run is not None:
        young = expected is not None or now - run["started_at"] <= FRESH
        last = last_run_of(run, is_fresh=young and not silent)
    tails: Mapping[str, Tail] = {}
    if is_current(probe, standards) and "tails" in probe:
        pure = {key: rule for key, (_, rule) in standards.keyed_rules.items()}
        tails = tails_of(probe["tails"], pure)
    return Line(
        probe=probe["_id"],
        run_count=probe.get("run_count", 0),
        last_seen_at=seen,
        is_silent=silent,
        plan=plan,
        last_run=last,
        rules=tuple(
            RuleStanding(
                rule=rule,
                key=key,
                bound=threshold(rule, plan),
                bad=_bad(tails[key]) if key in tails else None,
                is_broken=None
                if run is None or last is None or not last.is_fresh
                else broken(observation_of(run, standards.pure_plans, rule), rule),
            )
            for key, (_, rule) in standards.keyed_rules.items()
        ),
        open_breaches=open_breaches,
    )


def _bad(tail: Tail) -> int:
    if tail.running is not None:
        return tail.running.count
    return sum(isinstance(known, Bad) for known in tail.recent)
