"""One run at a time, budgets, back-off, what is remembered, disks that are full."""

import os
import random
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from speedtrap_probe import settings
from speedtrap_probe.budget import Budget, costs, size
from speedtrap_probe.commands.watch import _wait_until
from speedtrap_probe.errors import ProbeError
from speedtrap_probe.files import lock, report
from speedtrap_probe.files.database import Database
from speedtrap_probe.files.outbox import Outbox
from speedtrap_probe.files.state import State
from speedtrap_probe.foreign.bounds import MAX_BYTES
from speedtrap_probe.model import Figures
from speedtrap_probe.plan import Plan
from speedtrap_probe.run import Watcher
from speedtrap_probe.service.backoff import FIRST_S, LONGEST_S, Backoff
from speedtrap_probe.session import Awake, Session
from speedtrap_probe.tool import Option, Setup, Tool, Usable, silent
from speedtrap_probe.tools import lan, turnkey

from tests.probe.builders import AT, a_measurement, a_run

GIGABYTE = 10**9


def test_of_two_on_one_line_the_second_steps_aside(tmp_path: Path) -> None:
    path = tmp_path / "data" / "run.lock"
    with lock.alone(path) as first, lock.alone(path) as second:
        assert (first, second) == (True, False)
    with lock.alone(path) as again:
        assert again


def test_a_lock_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ProbeError, match="lock"), lock.alone(tmp_path / "file" / "run.lock"):
        pass


def test_each_failure_doubles_the_wait_up_to_half_an_hour_and_a_success_ends_it() -> None:
    backoff = Backoff(random.Random(1))
    waits = [backoff.failed() for _ in range(12)]
    for place, wait_s in enumerate(waits):
        whole_s = min(LONGEST_S, FIRST_S * 2**place)
        assert whole_s / 2 <= wait_s <= whole_s
    backoff.succeeded()
    assert backoff.failed() <= FIRST_S


def test_a_month_has_its_own_count_and_tools_their_last_cost(tmp_path: Path) -> None:
    state = State(Database(tmp_path / "outbox.sqlite3"))
    moved = Figures(download_mbps=1, bytes_received=300, bytes_sent=200)
    for _ in range(2):
        state.spend(AT, [a_measurement("ookla", moved), a_measurement("fast", Figures())])
    assert state.spent_bytes(AT) == 1000
    assert state.spent_bytes(AT + timedelta(days=31)) == 0
    assert state.costs() == {"ookla": 500}


def test_the_plan_is_remembered_and_forgotten(tmp_path: Path) -> None:
    state = State(Database(tmp_path / "outbox.sqlite3"))
    assert state.plan() is None
    state.remember_plan(Plan(940, 40, 470))
    assert state.plan() == Plan(940, 40, 470)
    state.remember_plan(None)
    assert state.plan() is None


@pytest.mark.parametrize(
    ("limit", "spent", "may"),
    [
        (None, 99, True),
        (GIGABYTE, 0, True),
        (GIGABYTE, GIGABYTE - 100, True),
        (GIGABYTE, GIGABYTE - 99, False),
    ],
)
def test_a_run_that_would_exceed_the_budget_may_not_be_made(
    limit: int | None, spent: int, may: bool
) -> None:
    budget = Budget(limit, spent, {"ookla": 100})
    assert (budget.exhausted is None) is may
    if not may:
        assert "1 GB would be exceeded" in (budget.exhausted or "")


@dataclass(frozen=True, slots=True)
class ATool:
    """Measures nothing here: only what it would cost matters."""

    name: str
    internet: bool = True
    options: tuple[Option, ...] = ()

    def usable(self, _setup: Setup) -> Usable:
        return Usable(True)

    def measure(self, _setup: Setup) -> Figures:
        return Figures(download_mbps=900, bytes_received=GIGABYTE, bytes_sent=GIGABYTE // 10)


def a_session(folder: Path, budget_bytes: int, tools: Sequence[Tool]) -> Session:
    told = replace(
        settings.read({"SPEEDTRAP_PROBE_DATA_DIR": str(folder)}, config_file=folder / "none"),
        budget_bytes=budget_bytes, csv=folder / "report.csv", checks=(), look_s=0.0, plan_mbps=940,
    )  # fmt: skip
    return Session(told, State(Database(folder / "outbox.sqlite3")), tools=tuple(tools))


SEVEN = [ATool(name) for name in "abcdefg"]


def a_round(session: Session) -> list[str]:
    """One run, kept; the tools that measured."""
    run = session.measure(Watcher(), silent, Awake(Plan(940)))
    session.record(run)
    measured = [one for one in run.measurements if one.failure is None]
    for one in run.measurements:
        assert one.failure is None or "data budget of 10 GB" in one.failure.message
    return [one.tool for one in measured]


def test_a_budget_of_10_gb_at_a_plan_of_940_allows_the_first_run(tmp_path: Path) -> None:
    session = a_session(tmp_path, 10 * GIGABYTE, SEVEN)
    first = a_round(session)
    assert 1 <= len(first) < len(SEVEN)
    later = a_round(session)
    assert later  # what was learnt makes the next ones cheaper
    for _ in range(9):
        a_round(session)
    assert session.state.spent_bytes(datetime.now(UTC)) <= 10 * GIGABYTE


def test_not_always_the_same_tools_fit_a_budget(tmp_path: Path) -> None:
    firsts = set()
    for seed in range(20):
        folder = tmp_path / str(seed)
        session = replace(a_session(folder, 10 * GIGABYTE, SEVEN), chance=random.Random(seed))
        firsts |= set(a_round(session))
    assert firsts == {tool.name for tool in SEVEN}


def test_no_count_that_a_tool_made_up_ends_the_budget_or_breaks_the_books(tmp_path: Path) -> None:
    state = State(Database(tmp_path / "outbox.sqlite3"))
    state.spend(AT, [a_measurement("ookla", Figures(download_mbps=1, bytes_received=2**80))])
    assert state.spent_bytes(AT) <= MAX_BYTES


def test_a_watch_that_waits_wakes_once_a_minute(tmp_path: Path) -> None:
    naps: list[float] = []
    base = a_session(tmp_path, GIGABYTE, [])
    session = replace(base, outbox=Outbox(tmp_path / "outbox.sqlite3"))
    _wait_until(3600.0, session, Backoff(), True, lambda: sum(naps), naps.append)
    assert len(naps) <= 62
    assert sum(naps) == pytest.approx(3600)


def test_what_a_tool_will_cost_is_what_it_cost_or_what_the_plan_lets_through() -> None:
    tools: list[Tool] = [lan.TOOL, turnkey.TOOL]
    assert costs(tools, {"turnkey": 7}, None, 8) == {"turnkey": 7}
    assert costs(tools, {}, Plan(100, 20), 8) == {"turnkey": 180_000_000}


def test_sizes_read_as_they_are_sold() -> None:
    assert [size(n) for n in (0, 999, 1500, 20_000_000, 50 * GIGABYTE)] == [
        "0 B", "999 B", "1.5 kB", "20 MB", "50 GB",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "below"),
    [
        (None, None),
        ({"plan": None, "rules": []}, None),
        ({"plan": {"downloadMbps": 940, "uploadMbps": None}, "rules": []}, None),
        (
            {
                "plan": {"downloadMbps": 940, "uploadMbps": 40},
                "rules": [{"metric": "DOWNLOAD", "belowRatio": 0.5, "belowMbps": None}],
            },
            470,
        ),
    ],
)
def test_the_plan_is_what_the_service_told(
    answer: dict[str, object] | None, below: float | None
) -> None:
    plan = Plan.told(answer)
    assert (plan.below_mbps if plan else None) == below


def test_doubts_begin_where_the_rule_or_the_setting_says() -> None:
    plan = Plan(940, None, 470)
    by_rule, by_setting = plan.doubt(None), plan.doubt(0.8)
    assert by_rule is not None
    assert by_setting is not None
    assert (by_rule.below_mbps, by_setting.below_mbps) == (470, 752)
    assert plan.doubt(0) is None
    assert replace(plan, below_mbps=None).doubt(None) is None


@contextmanager
def a_small_disk(path: Path) -> Iterator[Path]:
    """Of 64 kB, by the kernel where we are root: else one that is always full."""
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", path], check=True)  # noqa: S607 - of the system
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)  # noqa: S607 - of the system


@dataclass(frozen=True, slots=True)
class Refused:
    """How often it worked before it did not, and what was said then."""

    times: int
    said: str


def until_refused(keep: Callable[[], object]) -> Refused:
    for times in range(100_000):
        try:
            keep()
        except ProbeError as error:
            return Refused(times, str(error))
    raise AssertionError("the disk never filled up")


def test_on_a_full_disk_the_outbox_says_so_and_the_csv_is_left_whole(tmp_path: Path) -> None:
    if os.geteuid() != 0:  # a disk cannot be made: /dev/full at least refuses every byte
        with pytest.raises(OSError, match="No space"), Path("/dev/full").open("wb", 0) as full:
            full.write(b"x")
        return
    with a_small_disk(tmp_path / "disk") as disk:
        outbox, csv = Outbox(disk / "outbox.sqlite3"), disk / "report.csv"
        queued = until_refused(lambda: outbox.put([a_run()]))
        written = until_refused(lambda: report.append(csv, a_run()))
        assert "disk" in queued.said
        assert "No space left" in written.said
        rows = csv.read_text().splitlines()
        assert len(rows) == 1 + written.times
        assert all(row.count(",") == rows[0].count(",") for row in rows)
        assert csv.read_bytes().endswith(b"\n")
        elsewhere = report.append(tmp_path / "report.csv", a_run())
    assert elsewhere.exists()


def test_a_run_knows_its_month_by_local_time(tmp_path: Path) -> None:
    state = State(Database(tmp_path / "outbox.sqlite3"))
    now = datetime.now(UTC)
    state.spend(now, [a_measurement("ookla", Figures(download_mbps=1, bytes_received=9))])
    assert state.spent_bytes(now.astimezone()) == 9


def test_a_lock_says_who_holds_it_and_when_that_should_have_ended(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    assert lock.holder(path) is None
    with lock.alone(path, within_s=60):
        found = lock.holder(path)
    assert found is not None
    assert found.pid == os.getpid()
    assert not found.stuck(found.since + timedelta(seconds=60))
    assert found.stuck(found.since + timedelta(seconds=61))
    assert found.age(found.since - timedelta(days=1)) == timedelta()


@pytest.mark.parametrize(
    "text",
    [b"", b"\0\0", b"17", b"[]", b'{"pid": "x"}', b'{"pid": 1, "since": "now"}', b"[" * 9999],
)
def test_a_lock_whose_holder_cannot_be_read_holds_as_well(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with lock.alone(path):
        path.write_bytes(text)
        assert lock.holder(path) is None
        with lock.alone(path) as second:
            assert not second
