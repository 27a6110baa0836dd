"""Wrong clocks, and how a delivery puts the times right."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from speedtrap_probe import clock
from speedtrap_probe.clock import Tick, corrected, offset_s
from speedtrap_probe.files.outbox import Outbox
from speedtrap_probe.model import Conditions, Run
from speedtrap_probe.service.submit import Beat, Service, deliver

from tests.lab.collector import KEY, Ledger, collector
from tests.probe.builders import AT, a_run

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_the_offset_is_the_date_header_less_half_of_the_round_trip() -> None:
    sent, received = NOW, NOW + timedelta(seconds=4)
    assert offset_s("Mon, 02 Mar 2026 12:01:00 GMT", sent, received) == pytest.approx(58.5)
    assert offset_s(None, sent, received) is None
    assert offset_s("yesterday", sent, received) is None


def at(run: Run) -> datetime:
    return run.finished_at


def test_a_run_of_a_clock_that_is_wrong_now_is_moved_and_says_so() -> None:
    run = a_run()
    # It ended a minute ago; this machine believes to be an hour earlier than it is.
    ended, now = Tick("b", 100.0), Tick("b", 160.0)
    moved = corrected(run, ended, at(run) + timedelta(minutes=1), HOUR.total_seconds(), now)
    assert moved.started_at - run.started_at == HOUR
    assert moved.measurements[0].started_at - run.measurements[0].started_at == HOUR
    assert (moved.id, moved.measurements[0].figures) == (run.id, run.measurements[0].figures)
    assert "3,600 s behind" in moved.conditions.notes[0]


def test_a_run_from_before_the_clock_was_set_is_moved_by_what_the_ticks_say() -> None:
    run = a_run(at=datetime(1970, 1, 1, tzinfo=UTC))
    ended, now = Tick("b", 100.0), Tick("b", 100.0 + 7200)
    moved = corrected(run, ended, NOW, 0.0, now)
    assert moved.finished_at == NOW - 2 * HOUR


def test_a_clock_that_was_set_back_is_noticed_too() -> None:
    run = a_run(at=NOW + timedelta(days=400))
    moved = corrected(run, Tick("b", 100.0), NOW, 0.0, Tick("b", 100.0 + 60))
    assert moved.finished_at == NOW - timedelta(minutes=1)
    assert "ahead of" in moved.conditions.notes[0]


@pytest.mark.parametrize("wrong_s", [-clock.BOUND_S, 0, 2.5, clock.BOUND_S])
def test_a_clock_that_is_right_enough_is_left_alone(wrong_s: float) -> None:
    run = a_run()
    assert corrected(run, Tick("b", 5.0), at(run), wrong_s, Tick("b", 5.0)) is run


def test_after_a_reboot_what_was_known_at_the_run_counts() -> None:
    knew = Conditions(clock_offset_ms=3_600_000)
    run = Run(a_run().id, "laptop", AT, AT, knew, ())
    moved = corrected(run, Tick("a", 5.0), NOW, 0.0, Tick("b", 5.0))
    assert moved.started_at - AT == HOUR


def test_after_a_reboot_with_nothing_known_the_times_stand() -> None:
    run = a_run()
    assert corrected(run, Tick("a", 5.0), NOW, 900.0, Tick("b", 5.0)) is run
    assert corrected(run, None, NOW, 900.0, Tick("b", 5.0)) is run


def test_ticks_of_one_boot_compare_and_never_go_back() -> None:
    first, second = clock.tick(), clock.tick()
    assert first.boot == second.boot
    assert first.seconds <= second.seconds


@pytest.mark.parametrize("ahead_s", [-7200, 7200])
def test_a_delivery_corrects_by_the_services_clock(ahead_s: int, tmp_path: Path) -> None:
    outbox, run = Outbox(tmp_path / "outbox.sqlite3"), a_run(at=datetime.now(UTC) - HOUR / 120)
    outbox.put([run], clock.tick())
    ledger = Ledger(clock_ahead_s=ahead_s)
    with collector(ledger) as server:
        assert deliver(outbox, Service(server.url, KEY), Beat("laptop")).stored == 1
    stored = ledger.runs[run.id]
    by = datetime.fromisoformat(stored["finishedAt"]) - run.finished_at
    assert by.total_seconds() == pytest.approx(ahead_s, abs=30)
    assert "corrected" in stored["conditions"]["notes"][0]


def test_imported_runs_keep_their_times(tmp_path: Path) -> None:
    outbox, run = Outbox(tmp_path / "outbox.sqlite3"), a_run()
    outbox.put([run])
    ledger = Ledger(clock_ahead_s=7200)
    with collector(ledger) as server:
        deliver(outbox, Service(server.url, KEY), Beat("laptop"))
    assert ledger.runs[run.id]["startedAt"] == "2025-11-24T18:30:00.000+00:00"
