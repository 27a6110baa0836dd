"""What may explain a bad figure other than the line: the household's traffic, network and machine.

They only ever make a line look worse, so they excuse bad figures and never spoil good ones. Some
excuse whatever was measured beside them. Others are a bottleneck of known size, and excuse only
what a rule asks beyond it: behind a local network of 600 Mbps nobody can show that a line does not
deliver 900, but very well that it does not deliver 500.
"""

from collections.abc import Mapping, Sequence
from math import inf
from typing import NamedTuple

from speedtrap_graph.rules.model import Medium, Metric, Plan, Reading, RunFacts
from speedtrap_graph.rules.plans import part_of, subscribed

LOCAL_TOOLS = frozenset({"lan"})
"""Tools that measure the way to speedtrap's own `/speed/`: they say nothing about the line."""

CROSS_TRAFFIC_SHARE = 0.10
"""Cross traffic beyond this share of what was subscribed in its direction makes a bad figure
doubtful. A tenth cannot turn a line that delivers into one below half."""

CROSS_TRAFFIC_FLOOR_MBPS = 0.2
"""Never doubted for less: SamKnows calls a line idle up to 25 kB/s."""

CPU_BUSY_PERCENT = 95.0
"""Processors that are this busy are what is being measured."""

CPU_WAIT_PERCENT = 20.0
"""So is a probe that had to wait for a processor for this share of the run, as in a container with
a small quota on a machine that is otherwise idle."""

WIRED_SHARE, WIFI_SHARE = 0.95, 0.5
"""What a link carries of the rate that it negotiated: frames cost a wire 5 %; Wi-Fi shares its air
between both directions, acknowledgements and waiting, and carries half at best. A medium that is
not known may be Wi-Fi."""

IMPOSSIBLE_SHARE = 1.05
"""Of a wire's rate: a figure above that was not carried by it. A short measurement may read a
little high; a probe has the same margin."""

_ZERO_IS_A_FIGURE = frozenset({Metric.JITTER, Metric.PACKET_LOSS})

Bounds = Mapping[Metric, Sequence[float]]
"""What all rules ask, by metric, in the metric's unit."""


class Doubt(NamedTuple):
    """`limits` has each metric of which bad figures are explained, and up to which bound they are
    not. `is_general`: it does not depend on what a rule asks.
    """

    reason: str
    limits: Mapping[Metric, float]
    is_general: bool


def best_of(readings: Sequence[Reading], run: RunFacts) -> dict[Metric, float]:
    """The best figure of each metric, of the tools whose figures can be."""
    best = _best(readings)
    if run.link_mbps is None or run.medium is not Medium.WIRED:
        return best
    if _is_at_most(best, most_through(run.link_mbps)):
        return best
    return _best([reading for reading in readings if is_credible(reading, run)])


def _best(readings: Sequence[Reading]) -> dict[Metric, float]:
    best: dict[Metric, float] = {}
    for reading in readings:
        for metric, value in reading.figures.items():
            if not is_figure(metric, value):
                continue
            known = best.get(metric)
            if known is None or metric.is_worse(known, value):
                best[metric] = value
    return best


def is_figure(metric: Metric, value: float) -> bool:
    """A throughput or latency of 0 is a broken tool's; a loss or jitter of 0 is a good line's."""
    return 0 < value < inf or (value == 0 and metric in _ZERO_IS_A_FIGURE)


def is_credible(reading: Reading, run: RunFacts) -> bool:
    """Wi-Fi's rate changes too fast to be held against a figure."""
    if run.link_mbps is None or run.medium is not Medium.WIRED:
        return True
    return _is_at_most(reading.figures, most_through(run.link_mbps))


def _is_at_most(figures: Mapping[Metric, float], most_mbps: float) -> bool:
    return (
        figures.get(Metric.DOWNLOAD, 0.0) <= most_mbps
        and figures.get(Metric.UPLOAD, 0.0) <= most_mbps
    )


def most_through(link_mbps: float) -> float:
    """No throughput is above this, if it came through a wire of that rate."""
    return part_of(IMPOSSIBLE_SHARE, link_mbps)


def is_beyond(bound: float, limit: float, metric: Metric) -> bool:
    """Whether *bound* asks for more than *limit* lets anybody show."""
    return metric.is_worse(limit, bound)


def is_doubted(metric: Metric, value: float, bound: float | None, limit: float | None) -> bool:
    """Whether *value* breaks *bound*, and something explains that."""
    if bound is None or limit is None or not metric.is_worse(value, bound):
        return False
    return is_beyond(bound, limit, metric)


def doubt_of(
    run: RunFacts, plan: Plan | None, best: Mapping[Metric, float], bounds: Bounds
) -> Doubt | None:
    """Whatever explains bad ones of the figures in *best*, held against *bounds*."""
    # Where nothing was promised a machine excuses nothing: a fast line may well fill it.
    general = _busy_line(run, plan, best) or (_hampered_machine(run) if bounds else None)
    if general is not None:
        nothing = {metric: 0.0 if metric.more_is_better else inf for metric in best}
        return Doubt(general, nothing, is_general=True)
    return _bottleneck(run, best, bounds)


def _bottleneck(run: RunFacts, best: Mapping[Metric, float], bounds: Bounds) -> Doubt | None:
    reason: str | None = None
    limits: dict[Metric, float] = {}
    for metric, asked in bounds.items():
        if metric not in best:
            continue
        local, link = _local_limit(run, metric), _link_limit(run, metric)
        narrower = link if metric.is_worse(link, local) else local
        beyond = [bound for bound in asked if is_beyond(bound, narrower, metric)]
        if not beyond:
            continue
        limits[metric] = narrower
        if reason is None:
            nearest = min(beyond) if metric.more_is_better else max(beyond)
            words = _slow_local_network if narrower == local else _slow_link
            reason = words(run, metric, *apart(narrower, nearest))
    return None if reason is None else Doubt(reason, limits, is_general=False)


def _busy_line(run: RunFacts, plan: Plan | None, best: Mapping[Metric, float]) -> str | None:
    """Each direction is held against its own purchase, and without one against its own figure. A
    full upload delays the acknowledgements of a download, so either makes all figures doubtful.
    Probes that know the total only have it held against the download.
    """
    down, up = run.cross_traffic_down_mbps, run.cross_traffic_up_mbps
    of_down = _capacity(plan, best, Metric.DOWNLOAD)
    if down is None and up is None:
        return _busy(run.cross_traffic_mbps, of_down, "")
    of_up = _capacity(plan, best, Metric.UPLOAD)
    return _busy(down, of_down, " down") or _busy(up, of_up, " up")


def _busy(traffic_mbps: float | None, capacity_mbps: float, direction: str) -> str | None:
    allowed = max(CROSS_TRAFFIC_FLOOR_MBPS, part_of(CROSS_TRAFFIC_SHARE, capacity_mbps))
    if traffic_mbps is None or traffic_mbps <= allowed:
        return None
    seen, most = apart(traffic_mbps, allowed)
    return (
        f"The line was busy with other traffic: {seen} Mbps{direction}, and at most {most} are"
        " allowed."
    )


def _capacity(plan: Plan | None, best: Mapping[Metric, float], metric: Metric) -> float:
    promised = subscribed(plan, metric)
    return best.get(metric, 0.0) if promised is None else promised


def _hampered_machine(run: RunFacts) -> str | None:
    if run.vpn:
        return "It was measured through a VPN, and that may be what was measured."
    if run.cpu_percent is not None and run.cpu_percent >= CPU_BUSY_PERCENT:
        return f"The probe's processors were {figure(run.cpu_percent)} % busy."
    if run.cpu_wait_percent is not None and run.cpu_wait_percent >= CPU_WAIT_PERCENT:
        share = figure(run.cpu_wait_percent)
        return f"The probe waited for a processor for {share} % of the time."
    return None


def _local_limit(run: RunFacts, metric: Metric) -> float:
    local = [reading for reading in run.readings if reading.tool in LOCAL_TOOLS]
    measured = _best(local).get(metric) if local else None
    return _unlimited(metric) if measured is None else measured


def _slow_local_network(_run: RunFacts, metric: Metric, limit: str, bound: str) -> str:
    return (
        f"The local network was the bottleneck: {words_of(metric)} {limit},"
        f" where the rule asks for {bound}."
    )


def _link_limit(run: RunFacts, metric: Metric) -> float:
    """What an interface carries at its rate: on no line could it have shown more."""
    if run.link_mbps is None or not metric.more_is_better:
        return _unlimited(metric)
    share = WIRED_SHARE if run.medium is Medium.WIRED else WIFI_SHARE
    return part_of(share, run.link_mbps)


def _slow_link(run: RunFacts, _metric: Metric, limit: str, bound: str) -> str:
    kind = "Wi-Fi" if run.medium is Medium.WIFI else "network"
    return (
        f"The probe's {kind} link was the bottleneck: at {figure(run.link_mbps or 0.0)} Mbps it"
        f" carries {limit}, where the rule asks for {bound}."
    )


def _unlimited(metric: Metric) -> float:
    return inf if metric.more_is_better else 0.0


def words_of(metric: Metric) -> str:
    return metric.value.lower().replace("_", " ")


def figure(value: float, digits: int = 4) -> str:
    """To four digits or more, and in full where there are more before the point."""
    return f"{value:.{digits}g}" if value < 10**digits - 0.5 else f"{value:.0f}"


def apart(value: float, other: float) -> tuple[str, str]:
    """Both with as many digits as it takes to see that they differ."""
    for digits in range(4, 17):
        said = figure(value, digits), figure(other, digits)
        if said[0] != said[1]:
            return said
    return repr(value), repr(other)
