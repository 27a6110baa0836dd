import csv
import multiprocessing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speedtrap_probe.errors import ProbeError
from speedtrap_probe.files import reading, report
from speedtrap_probe.model import Failure, FailureKind, Figures, Run, Server

from tests.probe.builders import a_measurement, a_run


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_header_is_the_one_that_was_promised_and_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    for _ in range(3):
        report.append(path, a_run())
    first, *others = path.read_text().splitlines()
    assert first == (
        "timestamp,run_id,probe,tool,download_mbps,upload_mbps,"
        "latency_ms,jitter_ms,packet_loss_ratio,server,failure"
    )
    assert len(others) == 3
    assert first not in others


def test_a_row_has_its_offset_its_figures_and_nothing_for_the_unknown(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    figures = Figures(download_mbps=512.3, packet_loss_ratio=0.0, server=Server(name="Lab"))
    report.append(path, a_run(a_measurement("ookla", figures)))
    (row,) = rows(path)
    assert row["timestamp"].startswith("2025-11-2")
    assert row["timestamp"][-6] in "+-"
    assert (row["download_mbps"], row["upload_mbps"], row["packet_loss_ratio"]) == (
        "512.3",
        "",
        "0",
    )
    assert (row["server"], row["failure"]) == ("Lab", "")


def test_a_failure_is_a_row_without_a_zero(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    failure = Failure(FailureKind.TIMEOUT, "no answer,\nnone")
    report.append(path, a_run(a_measurement("fast", Figures(), failure)))
    (row,) = rows(path)
    assert row["failure"] == "TIMEOUT: no answer, none"
    assert "0" not in {row[name] for name in report.COLUMNS[4:9]}


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_cells_that_would_be_formulas_are_escaped(start: str) -> None:
    cell = start + 'HYPERLINK("https://x.example")'
    assert report.escaped(cell) == "'" + cell
    assert report.unescaped(report.escaped(cell)) == cell


@given(st.text())
def test_escaping_can_be_undone(cell: str) -> None:
    assert report.unescaped(report.escaped(cell)) == cell or cell.startswith("'")


def test_a_row_that_a_power_cut_left_unfinished_does_not_swallow_the_next(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    report.append(path, a_run())
    with path.open("a") as file:
        file.write("2025-11-24T18:30:00.000+00:00,1234")
    report.append(path, a_run())
    assert len(rows(path)) == 3
    found = reading.read(path, "laptop")
    assert (len(found.runs), len(found.problems)) == (2, 1)


def test_the_first_speedtraps_report_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    path.write_text("2019/12/24 18:30:00,1 Mbps,2 Mbps,3 Mbps,4 Mbps\n")
    written = report.append(path, a_run())
    assert written == tmp_path / "report-2.csv"
    assert report.append(path, a_run()) == written
    assert len(rows(written)) == 2
    assert path.read_text().count("\n") == 1


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ProbeError, match="cannot be written"):
        report.append(tmp_path / "file" / "report.csv", a_run())


def test_our_own_report_reads_back_with_its_ids(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    failure = Failure(FailureKind.RATE_LIMITED, "=later")
    server = Server(name="@Lab")
    runs: list[Run] = [
        a_run(
            a_measurement("lan", Figures(download_mbps=512.3, jitter_ms=0.25, server=server)),
            a_measurement("turnkey", Figures(), failure),
        ),
        a_run(),
    ]
    for run in runs:
        report.append(path, run)
    found = reading.read(path, "another")
    assert found.problems == []
    assert [run.id for run in found.runs] == [run.id for run in runs]
    assert [run.probe for run in found.runs] == ["laptop", "laptop"]
    first, second = found.runs[0].measurements
    assert first.figures == Figures(download_mbps=512.3, jitter_ms=0.25, server=server)
    assert first.started_at == runs[0].measurements[0].started_at
    assert second.failure == failure


def _append_many(path: Path, count: int) -> None:
    for _ in range(count):
        report.append(path, a_run())


def test_two_processes_at_once_write_whole_rows_and_one_header(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append_many, args=(path, 20)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert path.read_text().count("timestamp") == 1
    assert len({row["run_id"] for row in rows(path)}) == 40
