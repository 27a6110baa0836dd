"""`speedtrap probes export` and `delete`: on the database that the settings name."""

import os
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest
from speedtrap_graph.store.database import Store

from tests.lab.line import Line
from tests.lab.mongo import Mongod

PROGRAMS = {"speedtrap": "speedtrap", "speedtrap-graph": "speedtrap_graph.cli"}


Done = subprocess.CompletedProcess[bytes]


def run(program: str, store: Store, mongod: Mongod, *arguments: str) -> Done:
    environment = {name: value for name, value in os.environ.items() if "SPEEDTRAP" not in name}
    return subprocess.run(
        [sys.executable, "-c", f"from {PROGRAMS[program]} import main; main()", *arguments],
        env={
            **environment,
            "SPEEDTRAP_GRAPH_MONGODB_URI": mongod.uri,
            "SPEEDTRAP_GRAPH_DATABASE": store.database.name,
        },
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("program", PROGRAMS)
async def test_a_probe_is_written_to_a_file_and_then_taken_out(
    store: Store, mongod: Mongod, tmp_path: Path, program: str
) -> None:
    line = Line(store)
    await line.buy()
    await line.measure(900.0, 910.0, 920.0)
    file, other = tmp_path / "laptop.zip", tmp_path / "nobody.zip"
    probes = (program, store, mongod, "probes")
    done = run(*probes, "export", "laptop", "--to", str(file))
    assert done.returncode == 0, done.stderr
    assert b"3 runs" in done.stderr
    with ZipFile(file) as archive:
        assert len(archive.read("runs.ndjson").splitlines()) == 3
    unnamed = run(*probes, "export", "nobody", "--to", str(other))
    assert (unnamed.returncode, b"no probe 'nobody'" in unnamed.stderr) == (1, True)
    assert run(*probes, "delete", "laptop").returncode == 2
    gone = run(*probes, "delete", "laptop", "--reason", "moved")
    assert gone.returncode == 0, gone.stderr
    assert b"3 runs" in gone.stderr
    assert await store["runs"].count_documents({}) == 0
    trace = await store["deleted_probes"].find_one({}) or {}
    assert (trace["by"], trace["reason"]) == ("the command line", "moved")
    for each in (done, unnamed, gone):
        assert b"Traceback" not in each.stderr


async def test_an_export_to_the_standard_output_is_a_whole_zip(
    store: Store, mongod: Mongod
) -> None:
    await Line(store).measure(900.0)
    done = run("speedtrap-graph", store, mongod, "probes", "export", "laptop", "--to", "-")
    assert done.returncode == 0, done.stderr
    with ZipFile(BytesIO(done.stdout)) as archive:
        assert archive.testzip() is None
        assert "manifest.json" in archive.namelist()
