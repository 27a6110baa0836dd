"""The first speedtrap's report."""

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from speedtrap_probe import reading
from speedtrap_probe.errors import ProbeError
from speedtrap_probe.model import FailureKind
from speedtrap_probe.reading import Reading, old_mbps

HEADER = "timestamp,fast,speedtest,turnkey,ookla\n"
ROW = "2019/12/24 18:30:00,340.37 Mbps,500.0 Mbps,87.12 Mbps,512.3 Mbps\n"
DENVER = ZoneInfo("America/Denver")


def read(folder: Path, text: str) -> Reading:
    path = folder / "old.csv"
    path.write_text(text, encoding="utf-8")
    return reading.read(path, "laptop", DENVER)


@pytest.mark.parametrize("header", ["", HEADER, "\ufeff" + HEADER])
def test_rows_are_read_with_and_without_a_header(header: str, tmp_path: Path) -> None:
    found = read(tmp_path, header + ROW)
    (run,) = found.runs
    assert found.problems == []
    assert run.started_at == datetime(2019, 12, 25, 1, 30, tzinfo=UTC)
    assert run.probe == "laptop"
    assert run.conditions.line_up is None


def test_figures_become_true_megabits_per_second(tmp_path: Path) -> None:
    (run,) = read(tmp_path, ROW).runs
    figures = {one.tool: one.figures.download_mbps for one in run.measurements}
    # 524,288,000 bit/s were written as 500 "Mbps" by dividing by 1,048,576.
    assert figures == {"fast": 340.37, "speedtest-cli": 524.288, "turnkey": 87.12, "ookla": 512.3}


def test_a_summer_time_is_read_in_its_zone(tmp_path: Path) -> None:
    (run,) = read(tmp_path, ROW.replace("2019/12/24", "2020/07/01")).runs
    assert run.started_at == datetime(2020, 7, 2, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("512.3 Mbps", 512.3),
        ("340.37 Mbps\\r", 340.37),
        ("512.3", 512.3),
        ("1,023.45 Mbps", 1023.45),
        ("1.023,45 Mbps", 1023.45),
        ("1\u00a0023,45 Mbps", 1023.45),
        ("94,32 Mbps", 94.32),
        ("1,023 Mbps", 1023),
        ("950 Kbps", 0.95),
        ("1023.45 Gbps", 1023.45),
        ("0.0 Mbps", None),
        ("0.00 Mbps", None),
        (" Mbps", None),
        ("", None),
        ("Traceback", None),
        ("1\\xa0023,45 Mbps", None),
        ("-5 Mbps", None),
        ("nan Mbps", None),
    ],
)
def test_a_cell_is_read_whatever_windows_made_of_it(cell: str, expected: float | None) -> None:
    assert old_mbps(cell) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("turnkey", "expected"), [("1,023.45 Mbps", 1023.45), ("94,32 Mbps", 94.32)]
)
def test_a_separator_that_split_turnkeys_cell_is_mended(
    turnkey: str, expected: float, tmp_path: Path
) -> None:
    (run,) = read(tmp_path, ROW.replace("87.12 Mbps", turnkey)).runs
    figures = {one.tool: one.figures.download_mbps for one in run.measurements}
    assert (figures["turnkey"], figures["ookla"]) == (expected, 512.3)


def test_a_tool_that_failed_is_a_failure_and_not_zero(tmp_path: Path) -> None:
    (run,) = read(tmp_path, ROW.replace("500.0", "0.0")).runs
    failed = run.measurements[1]
    assert failed.figures.download_mbps is None
    assert failed.failure is not None
    assert failed.failure.kind is FailureKind.TOOL_FAILED


def test_reading_twice_gives_the_same_ids(tmp_path: Path) -> None:
    text = HEADER + ROW + ROW.replace("18:30", "19:30")
    first, second = read(tmp_path, text), read(tmp_path, HEADER + text + ROW)
    assert {run.id for run in first.runs} == {run.id for run in second.runs}
    assert len({run.id for run in first.runs}) == 2


def test_lines_that_make_no_sense_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    found = read(tmp_path, HEADER + "yesterday,1,2,3,4\n\n" + ROW + "2019/12/24 18:30:00,1,2\n")
    assert len(found.runs) == 1
    assert found.problems == [
        "line 2: no time like 2019/12/24 18:30:00: 'yesterday'",
        "line 5: 4 values expected, 2 found",
    ]


def test_an_empty_report_has_no_runs_and_a_missing_one_is_named(tmp_path: Path) -> None:
    assert read(tmp_path, HEADER).runs == []
    assert read(tmp_path, "").runs == []
    with pytest.raises(ProbeError, match="cannot be read"):
        reading.read(tmp_path / "none.csv", "laptop")
