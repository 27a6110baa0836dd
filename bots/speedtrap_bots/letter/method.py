"""How what broke the rule was measured, in sentences that a technician can check. Pure."""

from collections.abc import Sequence
from statistics import median

from speedtrap_bots.letter.clean import clean
from speedtrap_bots.letter.runs import runs_that_broke, tool_figure
from speedtrap_bots.model import Breach, Conditions, Run


def method_of(breach: Breach) -> tuple[str, ...]:
    runs, tool = runs_that_broke(breach), breach.rule.tool
    media = {run.conditions.medium for run in runs}
    words = {"WIRED": "by cable", "WIFI": "over Wi-Fi", "UNKNOWN": "in a way that is not known"}
    connected = ", ".join(words.get(medium, "in another way") for medium in sorted(media))
    tools = {f"{clean(m.tool, 30)} {clean(m.tool_version, 20)}".strip() for run in runs
             for m in run.measurements if tool in {None, m.tool}}  # fmt: skip
    probes = {clean(run.conditions.probe_version, 20) for run in runs} - {""}
    made = f" by speedtrap's probe {', '.join(sorted(probes))}" if probes else ""
    counts = "the best of its internet tools" if tool is None else f"what {clean(tool, 30)} gave"
    return (
        f"The measuring machine was connected {connected or 'in a way that is not known'}.",
        _own_traffic(runs),
        *_home_network(runs, breach.rule.metric),
        f"Tools{made}: {', '.join(sorted(tools)[:12]) or 'none'}. Each run counts with {counts};"
        " a tool that failed counts as no figure, never as 0.",
    )


def _own_traffic(runs: Sequence[Run]) -> str:
    """Of the runs that broke the rule: what was not judged had more, and is not held against it."""
    traffic = [t for run in runs if (t := _traffic_in_words(run.conditions))]
    if not traffic:
        return "The household's own traffic was not measured."
    most = max(traffic)[1]
    return (
        f"Before each run the household's own traffic was measured: at most {most} in"
        f" {len(traffic)} of the {len(runs)} that broke the rule. A run beside heavier traffic that"
        " broke it is not judged."
    )


def _traffic_in_words(conditions: Conditions) -> tuple[float, str] | None:
    """With the total, by which the heaviest is found."""
    down, up = conditions.cross_traffic_down_mbps, conditions.cross_traffic_up_mbps
    total = conditions.cross_traffic_mbps
    if down is not None and up is not None:
        return down + up, f"{down:.1f} Mbps down and {up:.1f} Mbps up"
    return None if total is None else (total, f"{total:.1f} Mbps")


def _home_network(runs: Sequence[Run], metric: str) -> tuple[str, ...]:
    """In the direction that the breach is about; of no use beside a latency or a loss."""
    if metric not in {"DOWNLOAD", "UPLOAD"}:
        return ()
    lan = [f for run in runs for m in run.measurements if m.local
           if (f := tool_figure(m, metric)) is not None]  # fmt: skip
    if not lan:
        return ("The home network alone was not measured.",)
    middle, direction = median(lan), metric.lower()
    return (
        f"The home network alone carried {middle:.0f} Mbps of {direction} (median of {len(lan)}).",
    )
