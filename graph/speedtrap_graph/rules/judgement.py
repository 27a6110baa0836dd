"""What one run says: about the line, and to one rule.

The subscribed speed is held against somebody, so every doubt goes to the ISP:

- The observation is the *best* internet tool's figure a metric. One slow server is no evidence.
- A figure is doubted when the household's own traffic, its network or its machine can explain it.
  But these only ever make a line look worse: they can excuse a bad figure, never spoil a good one.
  A run that kept the rule in spite of them is therefore MEASURED, and ends a streak like any other.
- Such a run vouches only for the metric of the rule that it kept. Its other figures stay doubtful
  and are left out of `best`, so that no latency is blamed on a line that the household had filled.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import inf

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
from speedtrap_graph.rules.plans import subscribed

LOCAL_TOOLS = frozenset({"lan"})
"""Tools that measure the way to speedtrap's own `/speed/`: they say nothing about the line."""

CROSS_TRAFFIC_SHARE = 0.10
"""Cross traffic beyond this share of the subscribed download (without a plan: of the measured one)
makes a bad figure doubtful. A tenth cannot turn a line that delivers into one below half."""

CROSS_TRAFFIC_FLOOR_MBPS = 0.2
"""Never doubted for less: SamKnows calls a line idle up to 25 kB/s."""

CPU_BUSY_PERCENT = 95.0
"""Processors that are this busy are what is being measured."""

WIRED_SHARE, WIFI_SHARE = 0.95, 0.5
"""What a link carries of the rate that it negotiated: frames cost a wire 5 %; Wi-Fi shares its air
between both directions, acknowledgements and waiting, and carries half at best."""

_ZERO_IS_A_FIGURE = frozenset({Metric.JITTER, Metric.PACKET_LOSS})

_FAILURE_WORDS = {
    FailureKind.NO_NETWORK: "no network",
    FailureKind.TIMEOUT: "timed out",
    FailureKind.RATE_LIMITED: "rate-limited",
    FailureKind.TOOL_MISSING: "not installed",
    FailureKind.TOOL_FAILED: "failed",
    FailureKind.SKIPPED: "skipped",
}


def judge(run: RunFacts, plan: Plan | None, rule: Rule | None) -> Judgement:
    """The outcome of *run*, under the plan in force at its start and the download rule."""
    internet = [reading for reading in run.readings if reading.tool not in LOCAL_TOOLS]
    best = _best(internet)
    if not best:
        return _unmeasured(run, internet)
    bound = None if rule is None else threshold(rule, plan)
    doubt = (
        _busy_line(run, plan, best)
        or _slow_local_network(run, rule, bound)
        or _slow_link(run, rule, bound)
        or _hampered_machine(run, bound)
    )
    if doubt is None:
        return Judgement(Outcome.MEASURED, _measured_by(internet), best)
    if rule is None or bound is None or rule.metric not in best:
        return Judgement(Outcome.INCONCLUSIVE, doubt, {})
    if _worse(best[rule.metric], bound, rule.metric):
        return Judgement(Outcome.INCONCLUSIVE, doubt, {})
    reason = f"{doubt} Its {_words(rule.metric)} kept the rule all the same, and only that counts."
    kept = {rule.metric: best[rule.metric]}
    return Judgement(Outcome.MEASURED, reason, kept, doubted=True)


def threshold(rule: Rule, plan: Plan | None) -> float | None:
    """The rule's bound in its metric's unit under *plan*; None when the plan says nothing on it.

    Without a plan there is none, not even an absolute one: nobody promised anything.
    """
    if plan is None:
        return None
    if rule.below_ratio is not None:
        promised = subscribed(plan, rule.metric)
        return None if promised is None else rule.below_ratio * promised
    for bound in (rule.below_mbps, rule.above_ms, rule.above_ratio):
        if bound is not None:
            return bound
    return None


def observation(run: RunFacts, judgement: Judgement, plan: Plan | None, rule: Rule) -> Observation:
    """What *run* says to *rule* once it was judged.

    A rule for one tool hears that tool's best figure, but not from a run whose figures are doubted:
    there only the best of all vouches for the line. An outage counts for the tools that took part.
    """
    bound = threshold(rule, plan)
    if bound is not None and plan is not None and rule.only_at_peak:
        hour = local_hour(run.started_at, plan.time_zone)
        bound = bound if is_peak(*hour) else None
    value = judgement.best.get(rule.metric)
    if rule.tool is not None:
        mine = [reading for reading in run.readings if reading.tool == rule.tool]
        bound = bound if mine else None
        fair = value is not None and not judgement.doubted
        value = _best(mine).get(rule.metric) if fair else None
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
    return _worse(observation.value, observation.threshold, rule.metric)


def _best(readings: Iterable[Reading]) -> dict[Metric, float]:
    best: dict[Metric, float] = {}
    for reading in readings:
        for metric, value in reading.figures.items():
            if not _is_figure(metric, value):
                continue
            known = best.get(metric)
            if known is None or _worse(known, value, metric):
                best[metric] = value
    return best


def _has_figure(reading: Reading) -> bool:
    for metric, value in reading.figures.items():  # noqa: SIM110 - any() takes thrice as long
        if _is_figure(metric, value):
            return True
    return False


def _is_figure(metric: Metric, value: float) -> bool:
    """A throughput or latency of 0 is a broken tool's; a loss or jitter of 0 is a good line's."""
    return 0 < value < inf or (value == 0 and metric in _ZERO_IS_A_FIGURE)


def _worse(value: float, than: float, metric: Metric) -> bool:
    return value < than if metric.more_is_better else value > than


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


def _busy_line(run: RunFacts, plan: Plan | None, best: Mapping[Metric, float]) -> str | None:
    if run.cross_traffic_mbps is None:
        return None
    reference = subscribed(plan, Metric.DOWNLOAD) or best.get(Metric.DOWNLOAD, 0.0)
    allowed = max(CROSS_TRAFFIC_FLOOR_MBPS, CROSS_TRAFFIC_SHARE * reference)
    if run.cross_traffic_mbps <= allowed:
        return None
    return (
        f"The line was busy with other traffic: {_figure(run.cross_traffic_mbps)} Mbps,"
        f" and at most {_figure(allowed)} are allowed."
    )


def _slow_local_network(run: RunFacts, rule: Rule | None, bound: float | None) -> str | None:
    """A local network worse than the rule's bound cannot carry the evidence against the line."""
    if rule is None or bound is None:
        return None
    readings = [reading for reading in run.readings if reading.tool in LOCAL_TOOLS]
    if not readings:
        return None
    local = _best(readings)
    if rule.metric not in local or not _worse(local[rule.metric], bound, rule.metric):
        return None
    return (
        f"The local network was the bottleneck: {_words(rule.metric)}"
        f" {_figure(local[rule.metric])}, where the rule asks for {_figure(bound)}."
    )


def _slow_link(run: RunFacts, rule: Rule | None, bound: float | None) -> str | None:
    """A network interface that could not have kept the rule on any line."""
    if rule is None or bound is None or run.link_mbps is None or not rule.metric.more_is_better:
        return None
    carried = run.link_mbps * (WIFI_SHARE if run.wifi else WIRED_SHARE)
    if carried >= bound:
        return None
    return (
        f"The probe's {'Wi-Fi' if run.wifi else 'network'} link was the bottleneck: at"
        f" {_figure(run.link_mbps)} Mbps it carries {_figure(carried)},"
        f" where the rule asks for {_figure(bound)}."
    )


def _hampered_machine(run: RunFacts, bound: float | None) -> str | None:
    """Where nothing was promised nothing is excused: a fast line may well fill a machine."""
    if bound is None:
        return None
    if run.vpn:
        return "It was measured through a VPN, and that may be what was measured."
    if run.cpu_percent is not None and run.cpu_percent >= CPU_BUSY_PERCENT:
        return f"The probe's processors were {_figure(run.cpu_percent)} % busy."
    return None


def _measured_by(internet: Sequence[Reading]) -> str:
    tools = [reading.tool for reading in internet if _has_figure(reading)]
    return f"Measured by {', '.join(tools)}."


def _words(metric: Metric) -> str:
    return metric.value.lower().replace("_", " ")


def _figure(value: float) -> str:
    """To four digits, and in full where there are more before the point."""
    return f"{value:.4g}" if value < 9_999.5 else f"{value:.0f}"
