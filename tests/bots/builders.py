"""Small builders of what graph answers, for tests of the bots."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from speedtrap_bots.letter.wording import threshold
from speedtrap_bots.model import (
    Breach,
    BreachSummary,
    Conditions,
    Failure,
    Measurement,
    Notice,
    NoticeSummary,
    Observation,
    Plan,
    Rule,
    Run,
    Server,
    Stage,
)

NOON = datetime(2026, 11, 24, 19, 0, tzinfo=UTC)


def a_measurement(
    tool: str = "ookla", download_mbps: float | None = 123.4, **more: Any
) -> Measurement:
    more.setdefault("started_at", NOON)
    more.setdefault("local", tool == "lan")
    more.setdefault("server", Server(name="Comms Provider", location="Denver, CO"))
    more.setdefault("latency_ms", 12.5)
    more.setdefault("upload_mbps", 20.25)
    return Measurement(tool=tool, download_mbps=download_mbps, **more)


def a_failed(tool: str, kind: str = "TIMEOUT", message: str = "no answer in 120 s") -> Measurement:
    return Measurement(tool=tool, started_at=NOON, failure=Failure(kind=kind, message=message))


def a_run(
    number: int,
    download_mbps: float | None = 123.4,
    *,
    outcome: str = "MEASURED",
    measurements: Iterable[Measurement] | None = None,
) -> Run:
    """The *number*-th hourly run before or after NOON (negative is before)."""
    started_at = NOON + timedelta(hours=number)
    if measurements is None:
        measurements = (
            a_measurement("ookla", download_mbps, started_at=started_at),
            a_measurement(
                "speedtest-cli",
                None if download_mbps is None else download_mbps * 0.9,
                started_at=started_at,
            ),
            a_failed("fast"),
        )
    return Run(
        id=str(UUID(int=1000 + number)),
        started_at=started_at,
        outcome=outcome,
        download_mbps=download_mbps if outcome == "MEASURED" else None,
        upload_mbps=20.25,
        latency_ms=12.5,
        conditions=Conditions(medium="WIRED"),
        measurements=tuple(measurements),
    )


def a_breach(**changes: Any) -> Breach:
    """Six slow runs after ten good ones, on a 940 Mbps plan in Denver."""
    slow = tuple(a_run(n, 110.0 + 7 * n) for n in range(6))
    good = tuple(a_run(n, 930.0 + n) for n in range(-10, 0))
    values: dict[str, Any] = {
        "id": "b1",
        "reference": "ST-7K2M9Q",
        "probe": "pi-attic",
        "status": "OPEN",
        "rule": Rule(below_ratio=0.5),
        "plan": Plan(
            provider="Example Cable",
            download_mbps=940,
            upload_mbps=35,
            time_zone="America/Denver",
        ),
        "first_run_at": slow[0].started_at,
        "opened_at": slow[-1].started_at,
        "last_run_at": slow[-1].started_at,
        "count": 6,
        "median_mbps": 127.5,
        "subscribed_mbps": 940,
        "runs": slow,
        "window": (*good, *slow),
    }
    breach = Breach(**{**values, **changes})
    return breach if breach.observations else with_observations(breach)


def with_observations(breach: Breach) -> Breach:
    """As graph would give them: the breach's own runs broke its rule where they have a figure."""
    own = {run.id for run in breach.runs}
    runs = {run.id: run for run in (*breach.window, *breach.runs)}
    found = tuple(_observed(run, breach, run.id in own) for run in runs.values())
    return breach.model_copy(update={"observations": found})


def _observed(run: Run, breach: Breach, in_breach: bool) -> Observation:
    rule, value = breach.rule, None
    if run.outcome != "MEASURED":
        is_down = run.outcome == "OUTAGE"
        return Observation(run=run.id, broken=is_down or None, in_breach=is_down and in_breach)
    judged = {"DOWNLOAD": run.download_mbps, "UPLOAD": run.upload_mbps, "LATENCY": run.latency_ms}
    value = judged.get(rule.metric, run.measurements[0].packet_loss_ratio)
    if rule.tool is not None:
        mine = [m.download_mbps for m in run.measurements if m.tool == rule.tool]
        value = mine[0] if mine else None
    if value is None:
        return Observation(run=run.id)
    more_is_better = rule.metric in {"DOWNLOAD", "UPLOAD"}
    beyond = value < threshold(breach) if more_is_better else value > threshold(breach)
    return Observation(run=run.id, value=value, broken=in_breach or beyond, in_breach=in_breach)


def a_mark(status: str = "OPEN", *notices: NoticeSummary, **changes: Any) -> BreachSummary:
    values: dict[str, Any] = {
        "id": "b1",
        "reference": "ST-7K2M9Q",
        "status": status,
        "stale": False,
        "last_run_at": NOON,
        "resolved_at": NOON if status == "RESOLVED" else None,
        "notices": notices,
    }
    return BreachSummary(**{**values, **changes})


def a_notice_mark(
    stage: str = "OPENING", status: str = "PLANNED", *, recipient: str = "isp@example.net"
) -> NoticeSummary:
    return NoticeSummary(stage=stage, channel="mail", recipient=recipient, status=status)


def a_notice(**changes: Any) -> Notice:
    values: dict[str, Any] = {
        "id": "n1",
        "reference": "ST-7K2M9Q",
        "stage": Stage.OPENING,
        "channel": "mail",
        "recipient": "support@isp.example",
        "status": "SENDING",
        "subject": "Download on our Example Cable line [ST-7K2M9Q]",
        "text": "Dear Example Cable support team,\n\nplease look.\n",
        "planned_at": NOON,
        "approved_at": NOON + timedelta(minutes=5),
    }
    return Notice(**{**values, **changes})


def allowed() -> None:
    """The gate of a lease that holds."""
