"""Which runs a letter is about, and what they say to the breach's rule. Pure."""

from speedtrap_bots.model import Breach, Measurement, Observation, Run


def all_runs(breach: Breach) -> list[Run]:
    """The window with the breach's own runs, oldest first, each once.

    Of a rule for one tool those in which that tool took part.
    """
    tool = breach.rule.tool
    by_id = {run.id: run for run in (*breach.window, *breach.runs)}
    found = [
        run
        for run in by_id.values()
        if tool is None or any(m.tool == tool for m in run.measurements)
    ]
    return sorted(found, key=lambda run: (run.started_at, run.id))


def said_to_the_rule(breach: Breach) -> dict[str, Observation]:
    """By run, as graph judged it."""
    return {observation.run: observation for observation in breach.observations}


def runs_that_broke(breach: Breach) -> list[Run]:
    said = said_to_the_rule(breach)
    return [run for run in breach.runs if run.id in said and said[run.id].in_breach]


def tool_figure(m: Measurement, metric: str) -> float | None:
    figures = {
        "DOWNLOAD": m.download_mbps,
        "UPLOAD": m.upload_mbps,
        "LATENCY": m.latency_ms,
        "JITTER": m.jitter_ms,
        "PACKET_LOSS": m.packet_loss_ratio,
        "LOADED_LATENCY_DOWN": m.loaded_latency_down_ms,
        "LOADED_LATENCY_UP": m.loaded_latency_up_ms,
    }
    return None if m.failure else figures.get(metric)
