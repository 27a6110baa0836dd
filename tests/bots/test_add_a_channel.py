"""CONTRIBUTING's "Add a channel", followed to the letter in a copy of the bots: it delivers."""

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.lab.mongo import Mongod, free_port
from tests.lab.nursery import Nursery, forked_service
from tests.lab.runs import SUBMIT, slow_runs

ROOT = Path(__file__).resolve().parents[2]
PLAN = (
    'mutation { setPlan(plan: {provider: "Example Cable", downloadMbps: 940, timeZone: "UTC"})'
    " { id } }"
)
NOTICES = "{ notices { nodes { id channel status digest text } } }"

pytestmark = pytest.mark.timeout(500)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bots and their tests with one new file, as CONTRIBUTING shows it."""
    folder = tmp_path_factory.mktemp("copy")
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## Add a channel")[2].partition("\n## ")[0]
    [channel] = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    for part in ("bots/speedtrap_bots", "tests/lab", "tests/bots"):
        shutil.copytree(ROOT / part, folder / part)
    (folder / "bots/speedtrap_bots/channels/pager.py").write_text(channel, encoding="utf-8")
    return folder


def run_in(copy: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if "SPEEDTRAP" not in name}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env={
            **clean,
            "PYTHONPATH": f"{copy}/bots:{copy}",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # the table needs none, and they take seconds
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


@contextmanager
def a_pager() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Its address, and what it was told: by whom, and the text."""
    told: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            told.append((self.headers["authorization"], body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", told
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_new_channel_passes_the_table(copy: Path) -> None:
    options = ["-k", "pager", "-q", "-p", "no:cacheprovider", "--import-mode=importlib"]
    done = run_in(copy, "-m", "pytest", *options, "tests/bots/test_channels.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 passed" in done.stdout


def test_a_new_channel_delivers(
    copy: Path, mongod: Mongod, database_name: str, nursery: Nursery, tmp_path: Path
) -> None:
    main = "from speedtrap_bots.cli import main; main()"
    with (
        forked_service(
            nursery, mongod, database_name, tmp_path, SPEEDTRAP_GRAPH_AUTO_APPROVE="pager"
        ) as service,
        a_pager() as (url, told),
    ):
        service.query(PLAN)
        service.query(SUBMIT, {"runs": slow_runs(6)}, role="probe")
        settings = {
            "SPEEDTRAP_BOTS_GRAPH_URL": service.base_url,
            "SPEEDTRAP_BOTS_KEY": service.keys["bot"],
            "SPEEDTRAP_BOTS_PAGER_URL": url,
            "SPEEDTRAP_BOTS_PAGER_TOKEN": "planted-token",
        }
        sent = run_in(copy, *("-c", main, "run", "--once", "--channel", "pager"), **settings)
        assert sent.returncode == 0, sent.stderr
        [notice] = service.query(NOTICES)["notices"]["nodes"]
        assert (notice["channel"], notice["status"]) == ("pager", "SENT")
        assert told == [("Bearer planted-token", notice["text"])]
