"""What a part says fills no disk, also while it runs."""

import asyncio
import logging
import os
import sys
from pathlib import Path

import pytest
from speedtrap_graph.logs import Brief

from speedtrap_up.logfile import LogFile
from speedtrap_up.supervisor import Command, Part, Supervisor


def test_a_log_grows_to_its_bound_and_the_newest_lines_are_kept(tmp_path: Path) -> None:
    with LogFile(tmp_path / "a.log", most_bytes=100) as log:
        for number in range(1000):
            log.write(f"line {number:04}")
    sizes = {file.name: file.stat().st_size for file in tmp_path.iterdir()}
    assert sizes == {"a.log": 100, "a.log.1": 100, "a.log.2": 100}
    kept = [(tmp_path / name).read_text() for name in ("a.log.2", "a.log.1", "a.log")]
    assert "".join(kept).split("\n")[:-1] == [f"line {n:04}" for n in range(970, 1000)]


def test_a_log_goes_on_where_it_was_and_a_line_longer_than_the_bound_is_kept(
    tmp_path: Path,
) -> None:
    for words in ("a", "b" * 200, "c"):
        with LogFile(tmp_path / "a.log", most_bytes=100) as log:
            log.write(words)
    assert [(tmp_path / f"a.log{n}").read_text() for n in (".2", ".1", "")] == [
        "a\n", "b" * 200 + "\n", "c\n"
    ]  # fmt: skip


@pytest.mark.parametrize("in_the_way", ["a.log", "a.log.1", "a.log.2"])
def test_a_log_that_cannot_be_written_or_renamed_ends_nothing(
    tmp_path: Path, in_the_way: str
) -> None:
    (tmp_path / in_the_way / "something").mkdir(parents=True)
    with LogFile(tmp_path / "a.log", most_bytes=100) as log:
        for number in range(1000):
            log.write(f"line {number:04}")
    assert list(tmp_path.rglob("something"))
    assert sum(file.stat().st_size for file in tmp_path.iterdir() if file.is_file()) <= 300


async def test_a_part_that_never_stops_talking_fills_no_disk(tmp_path: Path) -> None:
    code = "while True: print('x' * 60_000, flush=True)"
    part = Part("loud", lambda: Command([sys.executable, "-c", code], dict(os.environ)), quiet=True)
    supervisor = Supervisor([part], tmp_path, lambda *_: None)
    running = asyncio.create_task(supervisor.run(on_ready=lambda: None))
    while not (tmp_path / "loud.log.2").exists():  # noqa: ASYNC110 - a file tells no event
        await asyncio.sleep(0.02)
    supervisor.stop()
    await running
    assert size_of(tmp_path) <= 15_000_000


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def a_record(
    words: str, *arguments: object, name: str = "uvicorn.error", error: Exception | None = None
) -> logging.LogRecord:
    about = (type(error), error, None) if error else None
    return logging.LogRecord(name, logging.WARNING, "", 0, words, arguments, about)


def test_what_strangers_have_the_server_say_is_one_line_without_a_traceback() -> None:
    brief = Brief()
    words = "Fatal error: protocol.data_received() call failed.\nprotocol: <%s>"
    theirs = a_record(words, "Protocol at 0x7f", error=AssertionError("x"))
    assert brief.filter(theirs)
    assert theirs.getMessage() == (
        "Fatal error: protocol.data_received() call failed. (AssertionError)"
    )
    assert theirs.exc_info is None
    ours = a_record("Exception in ASGI application\n", error=KeyError("x"))
    assert brief.filter(ours)
    assert ours.exc_info is not None
