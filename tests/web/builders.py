"""Hand-written builders of what graph answers."""

from datetime import UTC, datetime, timedelta
from typing import Any

from speedtrap_web.graphql.answers import (
    Breach,
    History,
    OpenBreach,
    Plan,
    Probe,
    Rule,
    Run,
    ServiceReport,
)
from speedtrap_web.http.freshness import Freshness
from speedtrap_web.text.catalogue import EN
from speedtrap_web.views.words import Words, zone_of

NOW = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
HALF = Rule(below_ratio=0.5)


def a_plan(**changes: Any) -> Plan:
    values: dict[str, Any] = {
        "id": "plan-1",
        "provider": "Contoso Fibre",
        "download_mbps": 1000,
        "upload_mbps": 500,
        "time_zone": "America/Denver",
        "since": datetime(1970, 1, 1, tzinfo=UTC),
    }
    return Plan(**{**values, **changes})


def a_run(**changes: Any) -> Run:
    values: dict[str, Any] = {
        "id": "run-1",
        "started_at": NOW - timedelta(minutes=12),
        "finished_at": NOW - timedelta(minutes=11),
        "outcome": "MEASURED",
        "outcome_reason": "Measured by ookla.",
        "download_mbps": 934.2,
        "upload_mbps": 400.0,
        "latency_ms": 8.2,
        "ratio_of_subscribed": 0.934,
        "conditions": {"medium": "WIRED"},
        "measurements": [{"tool": "ookla", "duration_s": 20, "download_mbps": 934.2}],
    }
    return Run(**{**values, **changes})


def a_probe(**changes: Any) -> Probe:
    values: dict[str, Any] = {
        "name": "laptop",
        "run_count": 100,
        "first_run_at": NOW - timedelta(days=60),
        "last_seen_at": NOW - timedelta(minutes=12),
        "streak": 0,
        "plan": a_plan(),
        "rules": [HALF],
        "last_run": a_run(),
    }
    return Probe(**{**values, **changes})


def an_open_breach() -> OpenBreach:
    started = NOW - timedelta(hours=7)
    return OpenBreach(
        id="b", reference="ST-ABCDEF", opened_at=NOW, first_run_at=started, count=7, median_mbps=300
    )


def a_report(**changes: Any) -> ServiceReport:
    values: dict[str, Any] = {
        "verdict": "DELIVERED",
        "n": 100,
        "outage_runs": 0,
        "inconclusive_runs": 0,
        "plan": a_plan(),
        "median_mbps": 960,
        "median_ratio": 0.96,
        "fcc_band": "AT_LEAST_95",
        "consistent_mbps": 900,
        "consistent_ratio": 0.9,
        "judged_runs": 480,
        "judged_by_peak": True,
        "peak": {"median": 940, "n": 20},
        "off_peak": {"median": 965, "n": 80},
        "below_count": 0,
        "below_share": 0.0,
        "outages": {"count": 0, "duration_s": 0},
        "longest_streak": 0,
        "current_streak": 0,
        "tools": [],
        "hours": [],
    }
    return ServiceReport(**{**values, **changes})


def a_report_without_plan(**changes: Any) -> ServiceReport:
    without: dict[str, Any] = dict.fromkeys(
        ("plan", "median_ratio", "fcc_band", "consistent_ratio", "below_share")
    )
    return a_report(verdict="TOO_FEW", **{**without, **changes})


def a_history(medians: list[float | None], **changes: Any) -> History:
    """Hourly buckets, each of one run, up to NOW's hour."""
    count = len(medians)
    start = (NOW - timedelta(hours=count)).replace(minute=0).timestamp()
    values: dict[str, Any] = {
        "bucket_s": 3600,
        "t": [start + 3600 * i for i in range(count)],
        **dict.fromkeys(("median", "p10", "p90", "min", "max"), medians),
        "n": [int(median is not None) for median in medians],
        **{name: [0] * count for name in ("below", "outages", "inconclusive")},
        "subscribed_mbps": [1000.0] * count,
    }
    return History(**{**values, **changes})


def a_breach(**changes: Any) -> Breach:
    values: dict[str, Any] = {
        "id": "b",
        "reference": "ST-ABCDEF",
        "status": "OPEN",
        "first_run_at": NOW - timedelta(hours=7),
        "opened_at": NOW - timedelta(hours=2),
        "last_run_at": NOW - timedelta(hours=1),
        "count": 6,
        "median_mbps": 300,
        "subscribed_mbps": 1000,
        "stale": False,
        "rule": HALF,
        "notices": [],
    }
    return Breach(**{**values, **changes})


def a_notice(status: str, why: str | None = None, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "id": "n",
        "stage": "OPENING",
        "channel": "mail",
        "status": status,
        "planned_at": NOW,
        "steps": [{"at": NOW, "status": status, "why": why}],
    }
    return {**values, **changes}


def words(plan: Plan | None = None) -> Words:
    return Words(EN, zone_of(plan or a_plan()), Freshness(NOW))
