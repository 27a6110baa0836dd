"""Planted secrets, everything going wrong at DEBUG: none of them is anywhere that is kept."""

import base64
import json
import logging
import os
import re
import secrets as random
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sized
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest
import trustme
from bson.binary import UuidRepresentation
from bson.json_util import JSONOptions, dumps
from pymongo.errors import OperationFailure
from speedtrap_bots.channel import kinds
from speedtrap_bots.errors import LetterError
from speedtrap_bots.rendering import render
from speedtrap_bots.settings import EnvironmentSettings, Settings
from speedtrap_graph.app import create_app
from speedtrap_graph.settings import GraphSettings
from speedtrap_probe.cli import app as probe_app
from typer.testing import CliRunner

from tests.bots.channels.letters import a_dkim_key
from tests.lab.lines import records
from tests.lab.mongo import Mongod, free_port, running_mongod
from tests.lab.nursery import GRAPH, Nursery
from tests.lab.runs import SUBMIT, slow_runs
from tests.lab.service import Service, make_service, write_keys
from tests.lab.smtp import SmtpServer, smtp_server
from tests.lab.x_api import XApi
from tests.web.serving import HereService, a_graph_that_answers, served, served_page

PLAN = (
    'mutation { setPlan(plan: {provider: "Example Cable", downloadMbps: 940, timeZone: "UTC"})'
    " { id } }"
)
AS_THEY_ARE = JSONOptions(uuid_representation=UuidRepresentation.STANDARD)
NOTICES = "{ notices { nodes { id channel status digest steps { why } } } }"
APPROVE = "mutation($id: ID!, $digest: String!) { approveNotice(id: $id, digest: $digest) { id } }"
SEND_TEST = "mutation($channel: String!) { sendTest(channel: $channel) { state } }"
TESTS = "{ channels { name lastTest { state why } } }"
AT_ONCE = [{"$set": {"due_at": {"$subtract": ["$$NOW", 1000]}}}]
IN_BASE64 = re.compile(rb"[A-Za-z0-9+/]{64,}={0,2}")

pytestmark = [
    pytest.mark.timeout(500),
    # apprise imports it where it is there, which is up to Python 3.12.
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),
]


def planted(port: int, pem: str) -> dict[str, str]:
    """Every secret setting of the bots but the ledger's key, each with a value of its own."""
    return {
        "SPEEDTRAP_BOTS_MAIL_PASSWORD": "planted-mail-password",
        "SPEEDTRAP_BOTS_MAIL_DKIM_KEY": pem,
        "SPEEDTRAP_BOTS_TWITTER_CONSUMER_KEY": "planted-consumer-key",
        "SPEEDTRAP_BOTS_TWITTER_CONSUMER_SECRET": "planted-consumer-secret",
        "SPEEDTRAP_BOTS_TWITTER_ACCESS_TOKEN": "planted-access-token",
        "SPEEDTRAP_BOTS_TWITTER_ACCESS_TOKEN_SECRET": "planted-token-secret",
        "SPEEDTRAP_BOTS_WEBHOOK_URL": f"http://127.0.0.1:{port}/planted-webhook-path",
        "SPEEDTRAP_BOTS_WEBHOOK_SECRET": "planted-webhook-secret",
        "SPEEDTRAP_BOTS_APPRISE_URLS": f"json://planted-user:planted-pass@127.0.0.1:{port}/",
    }


def traces_of(secrets: dict[str, str]) -> list[str]:
    """What must be nowhere: each secret, and of those with several lines each line."""
    lines = [line for value in secrets.values() for line in value.splitlines()]
    parts = ["planted-webhook-path", "planted-user", "planted-pass"]
    return [*parts, *(line for line in lines if len(line) > 10 and not line.startswith("-----"))]


def assert_none_in(kept: str, secrets: list[str]) -> None:
    """Neither as they are, nor in base64, as logins travel and attachments are kept."""
    raw = kept.encode("utf-8", "surrogateescape")
    found = IN_BASE64.findall(raw)
    decoded = [base64.b64decode(text[: len(text) // 4 * 4]) for text in found]
    everything = b"\n".join([raw, *decoded])
    for secret in secrets:
        assert secret.encode() not in everything, secret
        assert base64.b64encode(secret.encode()) not in everything, secret


def test_every_secret_setting_is_planted_here() -> None:
    every: list[type[EnvironmentSettings]] = [Settings, *(k.settings for k in kinds().values())]
    secret = {
        f"{settings.model_config.get('env_prefix', '')}{name}".upper()
        for settings in every
        for name, field in settings.model_fields.items()
        if "SecretStr" in str(field.annotation)
    }
    assert secret == {*planted(1, ""), "SPEEDTRAP_BOTS_KEY"}


@pytest.fixture
def failing() -> Iterator[int]:
    """The port of a receiver that always fails."""

    class Failing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(500)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    away = ThreadingHTTPServer(("127.0.0.1", free_port()), Failing)
    thread = threading.Thread(target=away.serve_forever, args=(0.02,))
    thread.start()
    yield away.server_port
    away.shutdown()
    away.server_close()
    thread.join()


@pytest.fixture
def service(
    mongod: Mongod, database_name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> Iterator[Service]:
    """graph and the page in this process, so that all that they log at DEBUG is in `caplog`."""
    caplog.set_level(logging.DEBUG)
    made = make_service(mongod, database_name, tmp_path / "graph")
    here = HereService(made.settings, made.keys, made.keys_file, made.log)
    here.start()
    try:
        yield here
    finally:
        here.stop()


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_secret_is_kept_when_everything_fails(
    log_format: str,
    service: Service,
    mongod: Mongod,
    nursery: Nursery,
    x: XApi,
    failing: int,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """TLS, AUTH and X say no, the webhook and the chat fail; then graph does not know the key."""
    pem, _ = a_dkim_key()
    secrets = planted(failing, pem)
    kept = ""
    read: Callable[[str], Sized] = records if log_format == "json" else str.splitlines

    def once(smtp: SmtpServer, *arguments: str, **changes: str) -> None:
        nonlocal kept
        settings = {
            **smtp.environment,
            **x.environment,
            **secrets,
            "SPEEDTRAP_BOTS_GRAPH_URL": service.base_url,
            "SPEEDTRAP_BOTS_KEY": service.keys["bot"],
            "SPEEDTRAP_BOTS_MAIL_DKIM_DOMAIN": "home.example",
            "SPEEDTRAP_BOTS_MAIL_DKIM_SELECTOR": "s1",
            "SPEEDTRAP_BOTS_LOG_LEVEL": "DEBUG",
            "SPEEDTRAP_BOTS_LOG_FORMAT": log_format,
            **changes,
        }
        done = nursery.run("run", "--once", *arguments, environment=settings)
        kept += done.stdout + done.stderr
        assert read(done.stderr)

    service.query(PLAN)
    service.query(SUBMIT, {"runs": slow_runs(6)}, role="probe")
    stranger = tmp_path / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(str(stranger))
    (tmp_path / "bare").mkdir()
    with (
        smtp_server(tmp_path, free_port()) as smtp,
        smtp_server(tmp_path / "bare", free_port(), tls="none") as bare,
        mongod.client() as client,
    ):
        database = client[service.settings["SPEEDTRAP_GRAPH_DATABASE"]]
        once(smtp)
        for notice in service.query(NOTICES)["notices"]["nodes"]:
            if notice["status"] == "PLANNED":
                service.query(APPROVE, {"id": notice["id"], "digest": notice["digest"]})
        for channel in sorted(kinds()):
            service.query(SEND_TEST, {"channel": channel})
        once(smtp, SPEEDTRAP_BOTS_MAIL_CA_FILE=str(stranger))
        for server in (bare, smtp):
            database.notices.update_many({"channel": "mail"}, AT_ONCE)
            once(server, "--channel", "mail")
        once(smtp, "--channel", "mail", SPEEDTRAP_BOTS_KEY="planted-wrong-key")
        assert (smtp.letters, bare.letters, bare.commands) == ([], [], [])
        for name in database.list_collection_names():
            kept += dumps(list(database[name].find()), json_options=AS_THEY_ARE)
    notices = service.query(NOTICES)["notices"]["nodes"]
    assert {n["channel"] for n in notices} == {"mail", "twitter", "webhook", "apprise"}
    assert x.refused_signatures > 0
    assert x.posts == []
    tests = {one["name"]: one["lastTest"] for one in service.query(TESTS)["channels"]}
    assert {name: test["state"] for name, test in tests.items()} == dict.fromkeys(kinds(), "FAILED")
    said = json.dumps([notices, tests])
    for failure in (
        "CERTIFICATE_VERIFY_FAILED",
        "STARTTLS",
        "does not accept the name or password",
        "X said 401",
        "the webhook answered 500",
    ):
        assert failure in said, (failure, said, kept[-3000:])
    assert "does not accept the key" in kept
    assert "DEBUG" in kept
    keys = [*service.keys.values(), service.settings["SPEEDTRAP_WEB_SESSION_SECRET"]]
    assert_none_in(kept + said + caplog.text, [*traces_of(secrets), "planted-wrong-key", *keys])


def test_the_page_tells_no_secret_when_graph_fails(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """Its own key is refused, graph breaks or is away, a login is wrong: pages, headers, log."""
    secrets = {"key": "planted-web-key-0123456789", "session_secret": "planted-session-" + "s" * 32}
    settings: dict[str, Any] = dict(secrets)
    kept = ""
    broken = a_graph_that_answers(500, {"errors": [{"message": "broken"}]})
    with served(broken) as breaking:
        for graph in (service.base_url, breaking, f"http://127.0.0.1:{free_port()}"):
            with (
                served_page(graph, **settings) as url,
                httpx.Client(base_url=url, headers={"Sec-Fetch-Site": "same-origin"}) as client,
            ):
                for key in (service.keys["viewer"], "planted-wrong-login"):
                    page = client.post("/login", data={"key": key}, timeout=30)
                    kept += page.text + str(page.headers)
                for path in ("/", "/runs", "/api/q/changes", "/settings/plan"):
                    page = client.get(path, timeout=30)
                    kept += page.text + str(page.headers)
    assert "does not" in kept
    assert_none_in(
        kept + caplog.text, [*secrets.values(), "planted-wrong-login", *service.keys.values()]
    )


def test_a_probe_tells_no_key_that_is_refused(
    service: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It measures (nothing is there to measure), submits, and flushes again."""
    settings = {
        "SPEEDTRAP_PROBE_URL": service.base_url,
        "SPEEDTRAP_PROBE_KEY": "planted-probe-key",
        "SPEEDTRAP_PROBE_NAME": "laptop",
        "SPEEDTRAP_PROBE_DATA_DIR": str(tmp_path / "data"),
        "SPEEDTRAP_PROBE_CSV": str(tmp_path / "report.csv"),
        "SPEEDTRAP_PROBE_CHECKS": "127.0.0.1:1",
        "SPEEDTRAP_PROBE_WINDOW": "1s",
        "SPEEDTRAP_PROBE_TURNKEY_URL": "http://127.0.0.1:1",
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }
    said = ""
    for arguments in (["run", "--tool", "turnkey"], ["flush"]):
        done = CliRunner().invoke(probe_app, arguments, env=settings)
        said += done.output + done.stderr
        if done.exception:
            said += "".join(traceback.format_exception(done.exception))
    assert said.count("does not know this key") >= 2, said
    files = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert files, "an outbox and a report"
    kept = said + caplog.text + b"".join(files).decode("utf-8", "replace")
    assert_none_in(kept, ["planted-probe-key"])


async def test_a_wrong_password_of_the_database_is_not_told(
    tmp_path: Path, nursery: Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    """A mongod that asks for one; as the command ends, and as the app at DEBUG does."""
    cluster_key = tmp_path / "cluster-key"
    cluster_key.write_text(random.token_hex(32), encoding="ascii")
    cluster_key.chmod(0o600)
    keys = write_keys(tmp_path / "keys")
    with running_mongod(tmp_path / "mongod", arguments=(f"--keyFile={cluster_key}",)) as server:
        admit(server, "planted-database-user", "planted-right-password")
        settings = {
            "mongodb_uri": server.uri,
            "mongodb_username": "planted-database-user",
            "mongodb_password": "planted-wrong-password",
            "keys_file": str(tmp_path / "keys"),
        }
        environment = {f"SPEEDTRAP_GRAPH_{name.upper()}": v for name, v in settings.items()}
        done = nursery.run("serve", "--port", str(free_port()), environment=environment, app=GRAPH)
        caplog.set_level(logging.DEBUG)
        graph = create_app(GraphSettings.model_validate(settings))
        with pytest.raises(OperationFailure) as failure:
            async with graph.router.lifespan_context(graph):
                pass
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "refuses the login" in said, said
    said += caplog.text + "".join(traceback.format_exception(failure.value))
    assert_none_in(said, ["planted-wrong-password", "planted-right-password", *keys.values()])


def admit(server: Mongod, name: str, password: str) -> None:
    """Makes the first user, which mongod lets anybody of this machine do."""
    with pymongo.MongoClient[dict[str, Any]](
        "127.0.0.1", server.port, directConnection=True
    ) as client:
        client.admin.command("createUser", name, pwd=password, roles=["root"])


def test_a_templates_process_inherits_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPEEDTRAP_BOTS_MAIL_PASSWORD", "planted-mail-password")
    (tmp_path / "x.txt").write_text(
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    )
    seen: list[bytes] = []

    def look() -> None:
        while not seen:
            for place in Path("/proc").glob("[0-9]*"):
                try:
                    command = (place / "cmdline").read_bytes()
                    mine = f"\nPPid:\t{os.getpid()}\n" in (place / "status").read_text()
                    if mine and b"speedtrap_bots.rendering" in command:
                        seen.append(command + (place / "environ").read_bytes())
                        os.kill(int(place.name), signal.SIGKILL)  # its limit would take seconds
                except OSError:
                    continue
            time.sleep(0.05)

    looking = threading.Thread(target=look)
    looking.start()
    with pytest.raises(LetterError):
        render(("x.txt",), {}, tmp_path)
    looking.join(timeout=60)
    assert b"PATH=" in seen[0]
    assert b"planted" not in seen[0]
    assert b"SPEEDTRAP" not in seen[0]
