"""What one run says: about the line, and to one rule.

The subscribed speed is held against somebody, so every doubt goes to the ISP:

- The observation is the *best* internet tool's figure a metric. One slow server is no evidence.
- A bad figure is doubted when the household's own traffic, its network or its machine can explain
  it (`doubts`), which is weighed against each rule's own bound. A good one always counts, and ends
  that rule's streak.
- Statistics go by each metric's main rule: figures that it doubts are left out of `best`. So are,
  in a run with any such figure, those that no rule looks at: no latency is blamed on a line that
  the household had filled.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from speedtrap_graph.rules.doubts import (
    LOCAL_TOOLS,
    Doubt,
    best_of,
    doubt_of,
    is_credible,
    is_doubted,
    is_figure,
    words_of,
)
from speedtrap_graph.rules.model import (
    FailureKind,
    Judgement,
    Metric,
    Observation,
    Outcome,
    Plan,
    Reading,
    Rule,
    RunFacts,
)
from speedtrap_graph.rules.peak import is_peak, local_hour
from speedtrap_graph.rules.plans import threshold

_FAILURE_WORDS = {
    FailureKind.NO_NETWORK: "no network",
    FailureKind.TIMEOUT: "timed out",
    FailureKind.RATE_LIMITED: "rate-limited",
    FailureKind.TOOL_MISSING: "not installed",
    FailureKind.TOOL_FAILED: "failed",
    FailureKind.SKIPPED: "skipped",
}


def judge(run: RunFacts, plan: Plan | None, rules: Sequence[Rule]) -> Judgement:
    """The outcome of *run*, under the plan in force at its start and all *rules*."""
    internet = [reading for reading in run.readings if reading.tool not in LOCAL_TOOLS]
    best = best_of(internet, run)
    if not best:
        return _unmeasured(run, internet)
    doubt = doubt_of(run, plan, best, _bounds(rules, plan))
    if doubt is None:
        return Judgement(Outcome.MEASURED, _measured_by(internet, run), best)
    return _doubted(run, plan, rules, best, doubt)


def _bounds(rules: Sequence[Rule], plan: Plan | None) -> dict[Metric, list[float]]:
    asked: dict[Metric, list[float]] = {}
    for rule in rules:
        bound = threshold(rule, plan)
        if bound is not None:
            asked.setdefault(rule.metric, []).append(bound)
    return asked


def _doubted(
    run: RunFacts,
    plan: Plan | None,
    rules: Sequence[Rule],
    best: Mapping[Metric, float],
    doubt: Doubt,
) -> Judgement:
    """MEASURED if it says anything to any rule: at peak, if that rule looks at nothing else."""
    main = {
        rule.metric: bound
        for rule in rules
        if not rule.name and (bound := threshold(rule, plan)) is not None
    }
    left = {
        metric
        for metric in best
        if is_doubted(metric, best[metric], main.get(metric), doubt.limits.get(metric))
    }
    if left or doubt.is_general:
        left |= best.keys() - main.keys()
    kept = {metric: value for metric, value in best.items() if metric not in left}
    doubtful = {metric: value for metric, value in best.items() if metric in left}
    found = Judgement(Outcome.MEASURED, "", kept, doubt.limits, doubtful)
    verdicts = [(rule.metric, _says(run, found, plan, rule)) for rule in rules]
    counting = kept.keys() | {metric for metric, verdict in verdicts if verdict is not None}
    if left and all(verdict is None for _, verdict in verdicts):
        return Judgement(Outcome.INCONCLUSIVE, doubt.reason, {})
    if not left and any(verdict is None for metric, verdict in verdicts if metric in best):
        return found._replace(reason=f"For a stricter rule this says nothing. {doubt.reason}")
    words = ", ".join(words_of(metric) for metric in Metric if metric in counting)
    return found._replace(reason=f"{doubt.reason} What still counts: {words}.")


def _says(run: RunFacts, judgement: Judgement, plan: Plan | None, rule: Rule) -> bool | None:
    """To *rule*, if it looked at this hour."""
    always = replace(rule, only_at_peak=False)
    return broken(observation(run, judgement, plan, always), always)


def observation(run: RunFacts, judgement: Judgement, plan: Plan | None, rule: Rule) -> Observation:
    """What *run* says to *rule* once it was judged.

    A rule for one tool hears that tool's best figure. An outage counts for the tools that took
    part.
    """
    bound = threshold(rule, plan)
    if bound is not None and plan is not None and rule.only_at_peak:
        hour = local_hour(run.started_at, plan.time_zone)
        bound = bound if is_peak(*hour) else None
    value = judgement.best.get(rule.metric)
    if rule.tool is not None:
        mine = [reading for reading in run.readings if reading.tool == rule.tool]
        bound = bound if mine else None
        value = best_of(mine, run).get(rule.metric)
    elif value is None and bound is not None:
        value = judgement.doubtful.get(rule.metric)
    if value is not None and (
        judgement.outcome is not Outcome.MEASURED
        or is_doubted(rule.metric, value, bound, judgement.limits.get(rule.metric))
    ):
        value = None
    return Observation(
        run_id=run.id,
        started_at=run.started_at,
        finished_at=run.finished_at,
        outcome=judgement.outcome,
        value=value,
        threshold=bound,
    )


def broken(observation: Observation, rule: Rule) -> bool | None:
    """Whether *observation* broke *rule*; None when it says nothing, and then a streak ignores it.

    An outage is worse than every bound. But where there is none, nothing was promised, and nothing
    can be broken, not even by an outage.
    """
    if observation.threshold is None or observation.outcome is Outcome.INCONCLUSIVE:
        return None
    if observation.outcome is Outcome.OUTAGE:
        return True
    if observation.value is None:
        return None
    return rule.metric.is_worse(observation.value, observation.threshold)


def _unmeasured(run: RunFacts, internet: Sequence[Reading]) -> Judgement:
    if internet:
        said = "; ".join(f"{reading.tool}: {_failure(reading)}" for reading in internet)
        nothing = f"No internet tool measured anything ({said})"
    else:
        nothing = "No internet tool took part"
    if run.line_up is False:
        return Judgement(Outcome.OUTAGE, f"{nothing}, and the connectivity check failed.", {})
    check = "passed" if run.line_up else "was not made"
    reason = f"{nothing}, but the connectivity check {check}: this says nothing about the line."
    return Judgement(Outcome.INCONCLUSIVE, reason, {})


def _failure(reading: Reading) -> str:
    return "no figure" if reading.failure is None else _FAILURE_WORDS[reading.failure]


def _measured_by(internet: Sequence[Reading], run: RunFacts) -> str:
    tools = [reading.tool for reading in internet if _has_figure(reading, run)]
    return f"Measured by {', '.join(tools)}."


def _has_figure(reading: Reading, run: RunFacts) -> bool:
    for metric, value in reading.figures.items():
        if is_figure(metric, value):
            return is_credible(reading, run)
    return False
