"""Planted secrets, everything going wrong at DEBUG: none of them is anywhere that is kept."""

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from bson.binary import UuidRepresentation
from bson.json_util import JSONOptions, dumps
from speedtrap_bots.channel import kinds
from speedtrap_bots.errors import LetterError
from speedtrap_bots.rendering import render
from speedtrap_bots.settings import EnvironmentSettings, Settings

from tests.bots.channels.letters import a_dkim_key
from tests.lab.mongo import Mongod, free_port
from tests.lab.runs import SUBMIT, slow_runs
from tests.lab.service import running_service
from tests.lab.smtp import smtp_server
from tests.lab.x_api import x_api

MAIN = "from speedtrap_bots.cli import main; main()"
PLAN = (
    'mutation { setPlan(plan: {provider: "Example Cable", downloadMbps: 940, timeZone: "UTC"})'
    " { id } }"
)
AS_THEY_ARE = JSONOptions(uuid_representation=UuidRepresentation.STANDARD)
NOTICES = "{ notices { nodes { id channel status digest steps { why } } } }"
APPROVE = "mutation($id: ID!, $digest: String!) { approveNotice(id: $id, digest: $digest) { id } }"

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


def test_every_secret_setting_is_planted_here() -> None:
    every: list[type[EnvironmentSettings]] = [Settings, *(k.settings for k in kinds().values())]
    secret = {
        f"{settings.model_config.get('env_prefix', '')}{name}".upper()
        for settings in every
        for name, field in settings.model_fields.items()
        if "SecretStr" in str(field.annotation)
    }
    assert secret == {*planted(1, ""), "SPEEDTRAP_BOTS_KEY"}


def test_no_secret_is_kept_when_everything_fails(
    mongod: Mongod, database_name: str, tmp_path: Path
) -> None:
    """AUTH and X say no, the webhook and the chat fail; then graph does not know the key."""

    class Failing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(500)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    away = ThreadingHTTPServer(("127.0.0.1", free_port()), Failing)
    threading.Thread(target=away.serve_forever, daemon=True).start()
    pem, _ = a_dkim_key()
    secrets = planted(away.server_port, pem)
    kept = ""
    with (
        running_service(
            mongod, database_name, tmp_path / "graph", SPEEDTRAP_LOG_LEVEL="DEBUG"
        ) as service,
        smtp_server(tmp_path, free_port()) as smtp,
        x_api(tmp_path, free_port()) as x,
    ):
        settings = {
            **smtp.environment,
            **x.environment,
            **secrets,
            "SPEEDTRAP_BOTS_GRAPH_URL": service.base_url,
            "SPEEDTRAP_BOTS_KEY": service.keys["bot"],
            "SPEEDTRAP_BOTS_MAIL_DKIM_DOMAIN": "home.example",
            "SPEEDTRAP_BOTS_MAIL_DKIM_SELECTOR": "s1",
            "SPEEDTRAP_LOG_LEVEL": "DEBUG",
        }
        service.query(PLAN)
        service.query(SUBMIT, {"runs": slow_runs(6)}, role="probe")
        kept += once(settings)
        for notice in service.query(NOTICES)["notices"]["nodes"]:
            if notice["status"] == "PLANNED":
                service.query(APPROVE, {"id": notice["id"], "digest": notice["digest"]})
        kept += once(settings)
        kept += once({**settings, "SPEEDTRAP_BOTS_KEY": "planted-wrong-key"}, "--channel", "mail")
        notices = service.query(NOTICES)["notices"]["nodes"]
        keys = list(service.keys.values())
        kept += service.log.read_text(encoding="utf-8")
    away.shutdown()
    away.server_close()
    said = json.dumps(notices)
    assert {n["channel"] for n in notices} == {"mail", "twitter", "webhook", "apprise"}
    for failure in ("does not accept the name or password", "the webhook answered 500"):
        assert failure in said + kept, kept[-3000:]
    assert "does not accept the key" in kept
    assert "DEBUG" in kept
    with mongod.client() as client:
        database = client[database_name]
        for name in database.list_collection_names():
            kept += dumps(list(database[name].find()), json_options=AS_THEY_ARE)
    for secret in [*traces_of(secrets), "planted-wrong-key", *keys]:
        assert secret not in kept, secret


def once(settings: dict[str, str], *arguments: str) -> str:
    """What one bot wrote while it did what it could."""
    clean = {name: value for name, value in os.environ.items() if "SPEEDTRAP" not in name}
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "run", "--once", *arguments],
        env={**clean, **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return done.stdout + done.stderr


def test_a_wrong_password_of_the_database_is_not_told(tmp_path: Path) -> None:
    log = tmp_path / "graph.log"
    keys = tmp_path / "keys"
    keys.write_text('"planted-api-key-0123456789" "operator:admin";\n', encoding="utf-8")
    clean = {name: value for name, value in os.environ.items() if "SPEEDTRAP" not in name}
    with log.open("wb") as out:
        graph = subprocess.run(
            [sys.executable, "-c", "from speedtrap_graph.cli import main; main()", "serve",
             "--port", str(free_port())],
            env={
                **clean,
                "SPEEDTRAP_LOG_LEVEL": "DEBUG",
                "SPEEDTRAP_GRAPH_MONGODB_URI": f"mongodb://127.0.0.1:{free_port()}/"
                "?serverSelectionTimeoutMS=500&connectTimeoutMS=500",
                "SPEEDTRAP_GRAPH_MONGODB_USERNAME": "planted-database-user",
                "SPEEDTRAP_GRAPH_MONGODB_PASSWORD": "planted-database-password",
                "SPEEDTRAP_GRAPH_KEYS_FILE": str(keys),
            },
            stdout=out, stderr=out, check=False, timeout=200,
        )  # fmt: skip
    said = log.read_text(encoding="utf-8")
    assert graph.returncode != 0, said
    assert "planted-database-password" not in said
    assert "planted-api-key" not in said


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
