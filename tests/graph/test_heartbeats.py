"""That a probe lives: told by the probe, kept with it, and missed when it stops."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from speedtrap_graph.services.probes.silence import GRACE, is_silent

from tests.lab.line import run_at
from tests.lab.mongo import Mongod, fresh_database
from tests.lab.service import Service, running_service

DUE = datetime(2026, 3, 2, 12, tzinfo=UTC)
BEAT = "mutation($probe: String!, $at: DateTime) { heartbeat(probe: $probe, nextRunAt: $at) }"
CONDITIONS = "lastRun { conditions { notes vpn linkMbps } }"
SEEN = f'{{ probe(name: "laptop") {{ expectedAt silent {CONDITIONS} }} }}'


@pytest.mark.parametrize(
    ("seen", "expected", "now", "silent"),
    [
        (DUE, None, DUE + timedelta(days=9), False),
        (DUE - timedelta(hours=1), DUE, DUE + GRACE, False),
        (DUE - timedelta(hours=1), DUE, DUE + GRACE + timedelta(seconds=1), True),
        (None, DUE, DUE + timedelta(days=1), True),
        (DUE + timedelta(hours=1), DUE, DUE + timedelta(hours=1), False),
    ],
)
def test_a_probe_is_silent_when_it_is_overdue_and_was_not_heard_of(
    seen: datetime | None, expected: datetime | None, now: datetime, silent: bool
) -> None:
    assert is_silent(seen, expected, now) is silent


@pytest.fixture
def service(mongod: Mongod, tmp_path: Path) -> Iterator[Service]:
    with fresh_database(mongod) as database, running_service(mongod, database, tmp_path) as running:
        yield running


def test_a_heartbeat_is_kept_with_its_probe_and_conditions_come_back(service: Service) -> None:
    late = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    assert service.query(BEAT, {"probe": "laptop", "at": late}, "probe") == {"heartbeat": False}
    run = run_at(0, 500.0)
    run["conditions"] |= {
        "linkMbps": 433.3, "vpn": True, "onBattery": False, "clockOffsetMs": -1500.0,
        "notes": ["Names do not resolve."],
    }  # fmt: skip
    submit = "mutation($runs: [RunInput!]!) { submitRuns(runs: $runs) { rejected { field } } }"
    answer = service.query(submit, {"runs": [run]}, "probe")
    assert answer == {"submitRuns": {"rejected": []}}
    due = (datetime.now(UTC) + timedelta(hours=5)).isoformat()
    assert service.query(BEAT, {"probe": "laptop", "at": due}, "probe") == {"heartbeat": True}
    probe = service.query(SEEN)["probe"]
    assert probe["silent"] is False
    assert datetime.fromisoformat(probe["expectedAt"]) > datetime.now(UTC)
    assert probe["lastRun"]["conditions"] == {
        "notes": ["Names do not resolve."], "vpn": True, "linkMbps": 433.3,
    }  # fmt: skip


def test_a_probe_speaks_for_itself_only_and_a_viewer_not_at_all(service: Service) -> None:
    for role, probe in (("probe", "neighbour"), ("viewer", "laptop")):
        (error,) = service.post(BEAT, {"probe": probe, "at": None}, role)["errors"]
        assert error["extensions"]["code"] == "FORBIDDEN"
