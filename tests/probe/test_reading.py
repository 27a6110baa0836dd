"""Reports read back: the first speedtrap's, ours, and what spreadsheets make of them."""

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from speedtrap_probe.errors import ProbeError
from speedtrap_probe.files import reading, report
from speedtrap_probe.files.reading import Reading, old_mbps
from speedtrap_probe.model import FailureKind

HEADER = "timestamp,fast,speedtest,turnkey,ookla\n"
ROW = "2019/12/24 18:30:00,340.37 Mbps,500.0 Mbps,87.12 Mbps,512.3 Mbps\n"
DENVER = ZoneInfo("America/Denver")


def read(folder: Path, text: str | bytes) -> Reading:
    path = folder / "old.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
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


AT_1930 = datetime(2019, 12, 25, 2, 30, tzinfo=UTC)
COLONS = (
    "timestamp;fast;speedtest;turnkey;ookla\n24.12.2019 19:30;340,37 Mbps;500,0 Mbps;;512,3 Mbps\n"
)
AS_SAVED = {
    "by Excel in German": COLONS.encode(),
    "with its mark and line ends": b"\xef\xbb\xbf" + COLONS.replace("\n", "\r\n").encode(),
    "in Windows' alphabet": COLONS.replace("340", "\u00a0340").encode("cp1252"),
    "as UTF-16": COLONS.replace(";", "\t").encode("utf-16"),
    "as UTF-16 without a mark": COLONS.replace(";", "\t").encode("utf-16-le"),
    "with a separator line": ("sep=;\n" + COLONS).encode(),
    "by LibreOffice": b'"timestamp","fast","speedtest","turnkey","ookla"\n'
    b'"2019/12/24 19:30:00","340.37 Mbps","500.0 Mbps","","512.3 Mbps"\n',
    "in another order": b"ookla,turnkey,timestamp,speedtest,fast\n"
    b"512.3 Mbps,,2019/12/24 19:30:00,500.0 Mbps,340.37 Mbps\n",
    "by Excel in American": b"timestamp,fast,speedtest,turnkey,ookla\n"
    b"12/24/2019 7:30 PM,340.37 Mbps,500.0 Mbps,,512.3 Mbps\n",
    "by Excel in British": b"timestamp,fast,speedtest,turnkey,ookla\n"
    b"24/12/2019 19:30,340.37 Mbps,500.0 Mbps,,512.3 Mbps\n",
}


@pytest.mark.parametrize("content", AS_SAVED.values(), ids=AS_SAVED)
def test_an_old_report_is_read_however_a_spreadsheet_saved_it(
    content: bytes, tmp_path: Path
) -> None:
    found = read(tmp_path, content)
    (run,) = found.runs
    assert found.problems == []
    assert run.started_at == AT_1930
    figures = {one.tool: one.figures.download_mbps for one in run.measurements}
    assert figures == {"fast": 340.37, "speedtest-cli": 524.288, "turnkey": None, "ookla": 512.3}


def test_american_dates_are_told_by_their_form_and_said(tmp_path: Path) -> None:
    found = read(tmp_path, "11/1/2019 10:00,1 Mbps,,,\n")
    assert found.runs[0].started_at == datetime(2019, 11, 1, 16, tzinfo=UTC)
    assert "read as month/day/year" in found.notes[0]


@pytest.mark.parametrize(
    ("dates", "month"),
    [
        (("01/11/2019", "02/11/2019", "01/12/2019"), 11),  # only as day/month in order
        (("11/01/2019", "11/02/2019", "12/01/2019"), 11),
        (("09/11/2019", "13/11/2019"), 11),
        (("11/09/2019", "11/13/2019"), 11),
    ],
)
def test_the_order_of_a_files_dates_tells_which_number_is_the_month(
    dates: tuple[str, ...], month: int, tmp_path: Path
) -> None:
    found = read(tmp_path, "".join(f"{date} 10:00,1 Mbps,,,\n" for date in dates))
    assert found.runs[0].started_at.month == month


def test_dates_that_nothing_tells_are_named_and_not_guessed(tmp_path: Path) -> None:
    found = read(tmp_path, HEADER + "11/10/2019 10:00,1 Mbps,,,\n")
    assert found.runs == []
    assert "'11/10/2019 10:00' can be read as day/month or as month/day" in found.problems[0]


FOLD = ["00:30", "01:00", "01:30", "01:00", "01:30", "02:00"]


@pytest.mark.parametrize("figure", ["500 Mbps", "{} Mbps"], ids=["identical rows", "other figures"])
@pytest.mark.parametrize("newest_first", [False, True])
def test_the_repeated_hour_of_a_clock_change_keeps_its_order(
    figure: str, newest_first: bool, tmp_path: Path
) -> None:
    rows = [
        f"2019/11/03 {time}:00,{figure.format(place + 1)},,,\n" for place, time in enumerate(FOLD)
    ]
    found = read(tmp_path, "".join(rows[::-1] if newest_first else rows))
    runs = found.runs[::-1] if newest_first and found.runs[0].started_at.hour > 7 else found.runs
    assert [f"{run.started_at:%H:%M}" for run in runs] == [
        "06:30", "07:00", "07:30", "08:00", "08:30", "09:00",
    ]  # fmt: skip
    assert len({run.id for run in runs}) == 6
    again = read(tmp_path, "".join(rows[::-1] if newest_first else rows))
    assert [run.id for run in again.runs] == [run.id for run in found.runs]


OWN_HEADER = report.HEADER + "\n"
OWN = (
    "2026-11-0{0}T10:00:00.000-07:00,00000000-0000-4000-8000-00000001000{0},laptop,ookla,"
    "512.3,41,8.3,0.4,0,Example Networks,\n"
)
FAILED = OWN.replace("512.3,41,8.3,0.4,0,Example Networks,", ',,,,,"Lab, here",TIMEOUT: "late"')
GOOD = OWN.format(1), OWN.format(2), OWN.format(3)


@pytest.mark.parametrize(
    "cut",
    [
        GOOD[1][:60] + "\n",
        GOOD[1][:95] + "\n",
        GOOD[1][:95],
        FAILED.format(2).replace('"', "")[:90] + ',"Lab, he\n',
        GOOD[1].replace("Example Networks,", '"Example Netw'),
        "\0" * 700 + "\n",
        "\0" * 700,
        "\x1f\u2028\x85 garbage \ufffd\n",
    ],
    ids=[
        "early",
        "in a number",
        "glued",
        "in a quote",
        "open quote",
        "zeros",
        "zeros glued",
        "noise",
    ],
)
def test_a_row_that_a_power_loss_cut_off_swallows_no_good_row(cut: str, tmp_path: Path) -> None:
    found = read(tmp_path, OWN_HEADER + GOOD[0] + cut + GOOD[2])
    days = [run.started_at.day for run in found.runs]
    assert (days[0], days[-1]) == (1, 3)
    for run in found.runs:
        assert run.measurements[0].figures.download_mbps == 512.3


def test_an_old_row_that_was_cut_off_swallows_no_good_row(tmp_path: Path) -> None:
    found = read(tmp_path, HEADER + '2019/12/24 17:30:00,"340.37 Mb\n' + ROW[:30] + ROW + ROW[:40])
    assert [run.started_at.hour for run in found.runs] == [1]
    assert len(found.problems) == 3


OWN_AS_SAVED = {
    "by LibreOffice": ",".join(f'"{name}"' for name in report.COLUMNS) + "\n" + GOOD[0],
    "by Excel in German": "\ufeff"
    + OWN_HEADER.replace(",", ";")
    + GOOD[0].replace(",", ";").replace("512.3", "512,3"),
    "with a quote in a name": OWN_HEADER + GOOD[0].replace("Example Networks", '19" rack'),
    "without its last empty cell": OWN_HEADER + GOOD[0].replace("Networks,", "Networks"),
    "without its header": GOOD[0],
    "in another order": "tool,timestamp,download_mbps,probe,run_id\nookla,"
    "2026-11-01T10:00:00.000-07:00,512.3,laptop,00000000-0000-4000-8000-000000010001\n",
}


@pytest.mark.parametrize("content", OWN_AS_SAVED.values(), ids=OWN_AS_SAVED)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_our_own_report_is_read_however_a_spreadsheet_saved_it(
    content: str, encoding: str, tmp_path: Path
) -> None:
    found = read(
        tmp_path, content.lstrip("\ufeff" if encoding == "utf-16" else "").encode(encoding)
    )
    (run,) = found.runs
    assert found.problems == []
    assert str(run.id).endswith("10001")
    assert run.started_at == datetime(2026, 11, 1, 17, tzinfo=UTC)
    assert run.measurements[0].figures.download_mbps == 512.3


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (("512.3", "fast"), "download_mbps must be a number: 'fast'"),
        (("512.3", "inf"), "download_mbps is inf"),
        (("2026-11-01T10", "2026-13-01T10"), "timestamp must be a time like"),
        (("-07:00", ""), "has no offset"),
        (("00000000-", "x-"), "run_id must be a UUID"),
        (("Networks,", "Networks,BROKEN: x"), "failure must begin with one of NO_NETWORK"),
        (("512.3,41,8.3,0.4,0", ",,,,"), "neither a figure nor a failure"),
    ],
)
def test_what_is_wrong_with_a_row_of_ours_is_named(
    cell: tuple[str, str], said: str, tmp_path: Path
) -> None:
    found = read(tmp_path, OWN_HEADER + GOOD[0].replace(*cell) + GOOD[1])
    assert len(found.runs) == 1
    assert said in found.problems[0]
    assert found.problems[0].startswith("line 2: ")


def test_an_impossible_figure_of_a_report_fails_its_tool_alone(tmp_path: Path) -> None:
    (run,) = read(tmp_path, OWN_HEADER + GOOD[0] + GOOD[0].replace("8.3", "3700000")).runs
    assert [one.failure is None for one in run.measurements] == [True, False]
