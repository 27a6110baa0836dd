"""Wrong settings get one clear line and exit code 2, never a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from speedtrap_graph.cli import app
from typer.testing import CliRunner

from tests.lab.service import write_keys


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "SPEEDTRAP_GRAPH_KEYS_FILE"),
        ({"KEYS_FILE": "nowhere"}, "nowhere"),
        ({"KEYS_FILE": "bad_keys"}, "line 1"),
        ({"CALLERS": "everyone"}, "SPEEDTRAP_GRAPH_CALLERS"),
        ({"CALLERS": "gateway", "GATEWAY_SECRET_FILE": "none"}, "there is no secret in none"),
        ({"CALLERS": "gateway", "PORT": "99999"}, "SPEEDTRAP_GRAPH_PORT"),
        ({"CALLERS": "gateway", "MONGODB_PASSWORD_FILE": "none"}, "MONGODB_PASSWORD_FILE"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, settings: dict[str, str], words: str) -> None:
    (tmp_path / "bad_keys").write_text("planted-secret\n", encoding="utf-8")
    done = _serve(tmp_path, {f"SPEEDTRAP_GRAPH_{name}": value for name, value in settings.items()})
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "planted-secret" not in done.stderr


def test_a_database_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    write_keys(tmp_path / "api_keys")
    uri = "mongodb://user:planted-secret@127.0.0.1:1/?serverSelectionTimeoutMS=200"
    done = _serve(
        tmp_path,
        {"SPEEDTRAP_GRAPH_KEYS_FILE": "api_keys", "SPEEDTRAP_GRAPH_MONGODB_URI": uri},
    )
    assert done.returncode == 1
    assert "MongoDB does not answer" in done.stderr
    assert "Traceback" not in done.stderr
    assert "planted-secret" not in done.stderr


def test_the_schema_is_printed() -> None:
    printed = CliRunner().invoke(app, ["schema"])
    assert printed.exit_code == 0
    assert "type Query" in printed.stdout


def _serve(folder: Path, settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if "SPEEDTRAP" not in name}
    return subprocess.run(
        [sys.executable, "-c", "from speedtrap_graph.cli import main; main()", "serve"],
        cwd=folder,
        env={**environment, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
