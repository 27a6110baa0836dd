"""What one tool says alone: it breaks a rule again and again that all others keep in the same runs.

That is about the tool or its server. It is worth knowing and no breach of the line, which the best
of all tools vouches for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from uuid import UUID

from speedtrap_graph.rules.doubts import LOCAL_TOOLS, best_of
from speedtrap_graph.rules.judgement import broken, observation
from speedtrap_graph.rules.model import (
    Episode,
    Judgement,
    Metric,
    Observation,
    Outcome,
    Plan,
    Rule,
    RunFacts,
)
from speedtrap_graph.rules.plans import plan_at
from speedtrap_graph.rules.streaks import episodes


@dataclass(frozen=True, slots=True)
class OtherTool:
    """In how many of the finding's runs another tool kept the rule, and its median there."""

    tool: str
    n: int
    median: float


@dataclass(frozen=True, slots=True)
class Finding:
    """*tool* alone broke the rule, `count` times in a row, from `since` to `last_run_at`.

    `ended_at` is the start of the run in which it had kept the rule often enough again; None: not
    yet. Medians are in the metric's unit.
    """

    tool: str
    metric: Metric
    since: datetime
    last_run_at: datetime
    ended_at: datetime | None
    count: int
    median: float
    others: tuple[OtherTool, ...]


@dataclass(frozen=True, slots=True)
class _Word:
    """What the tool said in one run, and what the others did."""

    observation: Observation
    others: dict[str, float]


def findings(
    runs: Iterable[tuple[RunFacts, Judgement]], plans: Sequence[Plan], rule: Rule
) -> list[Finding]:
    """Of *runs* (sorted by start, judged), by the streaks that *rule* asks for; oldest first."""
    words: dict[str, list[_Word]] = {}
    for run, judgement in runs:
        for tool, word in _words(run, judgement, plan_at(plans, run.started_at), rule).items():
            words.setdefault(tool, []).append(word)
    found = [
        _finding(tool, episode, said, rule)
        for tool, said in sorted(words.items())
        for episode in episodes((word.observation for word in said), rule)
    ]
    return sorted(found, key=lambda finding: (finding.since, finding.tool))


def _words(run: RunFacts, judgement: Judgement, plan: Plan | None, rule: Rule) -> dict[str, _Word]:
    """By tool. It says nothing where another broke the rule as well, or where none can compare."""
    if judgement.outcome is not Outcome.MEASURED or rule.metric in judgement.limits:
        return {}
    seen = observation(run, judgement, plan, rule)
    if broken(seen, rule) is not False or seen.threshold is None:
        return {}
    tools = {reading.tool for reading in run.readings if reading.tool not in LOCAL_TOOLS}
    of_tools = {
        tool: best_of([one for one in run.readings if one.tool == tool], run)
        for tool in sorted(tools)
    }
    figures = {tool: best[rule.metric] for tool, best in of_tools.items() if rule.metric in best}
    verdicts = {
        tool: broken(_said(run, value, seen.threshold), rule) for tool, value in figures.items()
    }
    below = [tool for tool, verdict in verdicts.items() if verdict]
    return {
        tool: _Word(
            _said(run, figures[tool], seen.threshold),
            {other: value for other, value in figures.items() if other != tool},
        )
        for tool, verdict in verdicts.items()
        if not verdict or below == [tool]
    }


def _said(run: RunFacts, value: float, threshold: float) -> Observation:
    return Observation(run.id, run.started_at, run.finished_at, Outcome.MEASURED, value, threshold)


def _finding(tool: str, episode: Episode, said: Sequence[_Word], rule: Rule) -> Finding:
    mine = [word for word in said if _is_of(word, episode) and broken(word.observation, rule)]
    others: dict[str, list[float]] = {}
    for word in mine:
        for other, figure in word.others.items():
            others.setdefault(other, []).append(figure)
    return Finding(
        tool=tool,
        metric=rule.metric,
        since=episode.first_run_at,
        last_run_at=episode.last_run_at,
        ended_at=episode.resolved_at,
        count=episode.count,
        median=median(value for word in mine if (value := word.observation.value) is not None),
        others=tuple(
            OtherTool(other, len(values), median(values))
            for other, values in sorted(others.items())
        ),
    )


def _is_of(word: _Word, episode: Episode) -> bool:
    first: tuple[datetime, UUID] = episode.first_run_at, episode.first_run_id
    place = word.observation.started_at, word.observation.run_id
    return first <= place and place[0] <= episode.last_run_at
