"""What graph's real process writes to its log, for programs and for people."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.lab.lines import records, the_one
from tests.lab.mongo import Mongod
from tests.lab.runs import SUBMIT, a_run
from tests.lab.service import Service, running_service
from tests.lab.wire import socket

WRONG = "{ runs { nodes { outcome } } }"


def break_a_run(service: Service, mongod: Mongod, database_name: str) -> None:
    """From now on WRONG is a fault inside."""
    service.query(SUBMIT, {"runs": [a_run()]}, role="probe")
    with mongod.client() as client:
        client[database_name]["runs"].update_many({}, {"$set": {"outcome": "no outcome"}})


async def test_from_start_to_end_every_line_is_a_record_and_an_error_has_its_id(
    mongod: Mongod, database_name: str, tmp_path: Path
) -> None:
    with running_service(
        mongod,
        database_name,
        tmp_path,
        SPEEDTRAP_GRAPH_LOG_FORMAT="json",
        SPEEDTRAP_GRAPH_LOG_LEVEL="DEBUG",
    ) as service:
        break_a_run(service, mongod, database_name)
        error = service.post(WRONG)["errors"][0]
        async with socket(service, {"X-API-Key": service.keys["viewer"]}) as following:
            await following.subscribe("subscription { runs { id } }")
            await following.subscribe(WRONG, key="2")
            by_socket = (await following.receive())["payload"]["errors"][0]["extensions"]["id"]
    said = records(service.log)
    assert the_one(said, "Application startup complete")["logger"] == "uvicorn.error"
    the_one(said, "Finished server process")
    told = the_one(said, f"error {error['extensions']['id']} at ")
    assert told["error_id"] == error["extensions"]["id"]
    assert the_one(said, f"error {by_socket} at ")["error_id"] == by_socket
    assert told["path"][0] == "runs"
    assert (told["level"], told["logger"]) == ("ERROR", "speedtrap_graph.api.guards.errors")
    assert told["error"].startswith("Traceback (most recent call last):\n")
    assert "no outcome" in told["error"]
    log = service.log.read_text(encoding="ascii")
    for secret in (*service.keys.values(), service.settings["SPEEDTRAP_WEB_SESSION_SECRET"]):
        assert secret not in log


def test_text_is_for_people_and_is_what_is_written_unless_asked(
    mongod: Mongod, database_name: str, tmp_path: Path
) -> None:
    with running_service(mongod, database_name, tmp_path) as service:
        break_a_run(service, mongod, database_name)
        error = service.post(WRONG)["errors"][0]
    log = service.log.read_text(encoding="utf-8")
    line = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} "
    assert re.search(line + r"INFO uvicorn.error: Uvicorn running on http", log, re.MULTILINE)
    name = "speedtrap_graph.api.guards.errors"
    words = rf"ERROR {name}: error {error['extensions']['id']} at .*\nTraceback"
    assert re.search(line + words, log, re.MULTILINE)


def test_a_start_that_fails_is_a_record_too(tmp_path: Path) -> None:
    done = _serve(tmp_path, LOG_FORMAT="JSON", CALLERS="gateway", PORT="99999")
    assert done.returncode == 2
    (record,) = records(done.stderr)
    assert record["level"] == "CRITICAL"
    assert record["message"].startswith("SPEEDTRAP_GRAPH_PORT: Input should be less than")


def test_a_level_or_format_that_there_is_not_is_refused_with_those_that_there_are(
    tmp_path: Path,
) -> None:
    done = _serve(tmp_path, LOG_FORMAT="xml", LOG_LEVEL="loud")
    assert done.returncode == 2
    assert done.stderr == (
        "speedtrap-graph: SPEEDTRAP_GRAPH_LOG_FORMAT: Input should be 'text' or 'json'\n"
        "speedtrap-graph: SPEEDTRAP_GRAPH_LOG_LEVEL: "
        "Input should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'\n"
    )


def _serve(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if "SPEEDTRAP" not in name}
    return subprocess.run(
        [sys.executable, "-c", "from speedtrap_graph.cli import main; main()", "serve"],
        cwd=folder,
        env={**environment, **{f"SPEEDTRAP_GRAPH_{name}": v for name, v in settings.items()}},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
