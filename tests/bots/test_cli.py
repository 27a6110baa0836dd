"""The commands as a person meets them: each mistake is one clear line."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

import pytest
from speedtrap_bots.channels.mail import MailSettings
from speedtrap_bots.serve import open_channels, read
from speedtrap_bots.settings import Settings, SettingsError

from tests.lab.mongo import Mongod, free_port, fresh_database
from tests.lab.nursery import NOTICES, Done, Nursery, forked_service
from tests.lab.runs import SUBMIT, slow_runs
from tests.lab.service import Service

pytestmark = pytest.mark.timeout(500)

PLAN = (
    'mutation { setPlan(plan: {provider: "Example Cable", downloadMbps: 940, timeZone: "UTC"})'
    " { id } }"
)


def bots(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """As a person starts them, in an interpreter of their own."""
    clean = {name: value for name, value in os.environ.items() if "SPEEDTRAP" not in name}
    return subprocess.run(
        [sys.executable, "-c", "from speedtrap_bots.cli import main; main()", *arguments],
        env={**clean, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (
            {"SPEEDTRAP_BOTS_MAIL_TLS": "ssl"},
            "SPEEDTRAP_BOTS_MAIL_TLS: Input should be 'starttls', 'implicit' or 'none'",
        ),
        (
            {"SPEEDTRAP_BOTS_MAIL_TO": "a@b.example, c@d.example"},
            "SPEEDTRAP_BOTS_MAIL_TO: must be one mail address",
        ),
        (
            {"SPEEDTRAP_BOTS_MAIL_FROM": "a@b.example\nBcc: c@d.example"},
            "SPEEDTRAP_BOTS_MAIL_FROM: must not contain control characters",
        ),
        (
            {"SPEEDTRAP_BOTS_MAIL_TLS": "none", "SPEEDTRAP_BOTS_MAIL_HOST": "mx.isp.example"},
            "SPEEDTRAP_BOTS_MAIL_TLS: none sends in clear text",
        ),
        (
            {"SPEEDTRAP_BOTS_MAIL_PASSWORD_FILE": "/does/not/exist"},
            "SPEEDTRAP_BOTS_MAIL_PASSWORD_FILE: cannot read /does/not/exist",
        ),
        (
            {"SPEEDTRAP_BOTS_TWITTER_ADDRESS": "203.0.113.5:443"},
            "SPEEDTRAP_BOTS_TWITTER_ADDRESS: must be 127.0.0.1:<port>",
        ),
        ({"SPEEDTRAP_BOTS_GRAPH_URL": "graph:8000"}, "SPEEDTRAP_BOTS_GRAPH_URL: must start with"),
        ({"SPEEDTRAP_BOTS_POLL_SECONDS": "0"}, "SPEEDTRAP_BOTS_POLL_SECONDS: Input should be"),
    ],
)
def test_a_wrong_setting_is_named(
    environment: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        _ = read(Settings), open_channels([])
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


def test_a_mistake_is_one_line_and_exit_code_2() -> None:
    done = bots("run", "--once", SPEEDTRAP_BOTS_LOG_LEVEL="LOUD")
    assert done.returncode == 2
    assert done.stderr == (
        "speedtrap bots: SPEEDTRAP_BOTS_LOG_LEVEL: "
        "Input should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'\n"
    )


def test_an_unknown_channel_is_named_with_the_known_ones() -> None:
    with pytest.raises(
        SettingsError, match="pigeon: there is no such channel; known: apprise, mail"
    ):
        open_channels(["pigeon"])


def test_once_says_that_graph_is_away(nursery: Nursery) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    away = {"SPEEDTRAP_BOTS_GRAPH_URL": url, "SPEEDTRAP_BOTS_KEY": "planted-key"}
    done = nursery.run("run", "--once", environment=away)
    assert done.returncode == 1
    assert (
        done.stderr
        == f"speedtrap bots: {url}/graphql cannot be reached (TransportConnectionFailed)\n"
    )


def test_a_secret_may_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "key"
    secret.write_text("planted-key\n", encoding="utf-8")
    monkeypatch.setenv("SPEEDTRAP_BOTS_KEY_FILE", str(secret))
    monkeypatch.setenv("SPEEDTRAP_BOTS_MAIL_PASSWORD_FILE", str(secret))
    monkeypatch.setenv("SPEEDTRAP_BOTS_MAIL_FROM", "Jane <jane@home.example>")
    key, mail = read(Settings).key, read(MailSettings)
    assert key is not None
    assert mail.password is not None
    assert key.get_secret_value() == mail.password.get_secret_value() == "planted-key"
    assert mail.sender == "Jane <jane@home.example>"


@dataclass
class Desk:
    """Where a person decides, by command, about a letter that waits for approval."""

    service: Service
    nursery: Nursery
    recipient: str
    notice_id: str = ""
    reference: str = ""

    def notices(self, *arguments: str, role: str = "admin") -> Done:
        key = {"SPEEDTRAP_NOTICES_KEY": self.service.keys[role]} if role else {}
        url = {"SPEEDTRAP_NOTICES_URL": self.service.base_url}
        return self.nursery.run(*arguments, environment={**url, **key}, app=NOTICES)

    def line(self) -> str:
        """Our letter's in the list."""
        listed = self.notices("list").stdout.splitlines()
        return next(line for line in listed if self.recipient in line)


@pytest.fixture(scope="module")
def service(
    mongod: Mongod, nursery: Nursery, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("graph")
    with (
        fresh_database(mongod) as database,
        forked_service(nursery, mongod, database, folder) as running,
    ):
        running.query(PLAN)
        yield running


@pytest.fixture
def desk(service: Service, nursery: Nursery) -> Desk:
    """One open breach more, and a letter about it to an address of its own."""
    name = f"desk-{token_hex(4)}"
    desk = Desk(service, nursery, f"{name}@isp.example")
    service.query(SUBMIT, {"runs": slow_runs(6, probe=name)})
    done = nursery.run(
        *("run", "--once", "--channel", "mail"),
        environment={
            "SPEEDTRAP_BOTS_GRAPH_URL": service.base_url,
            "SPEEDTRAP_BOTS_KEY": service.keys["bot"],
            "SPEEDTRAP_BOTS_MAIL_HOST": "127.0.0.1",
            "SPEEDTRAP_BOTS_MAIL_PORT": str(free_port()),
            "SPEEDTRAP_BOTS_MAIL_FROM": "Jane Doe <jane@home.example>",
            "SPEEDTRAP_BOTS_MAIL_TO": desk.recipient,
        },
    )
    assert done.returncode == 0, done.stderr
    words = desk.line().split()
    desk.notice_id, desk.reference = words[0], words[-1]
    return desk


def test_a_notice_is_listed_shown_and_approved(desk: Desk, tmp_path: Path) -> None:
    assert "PLANNED" in desk.line()
    assert f"mail to {desk.recipient}" in desk.line()

    shown = desk.notices("show", desk.notice_id, "--save", str(tmp_path / "out")).stdout
    assert "Dear Example Cable support team" in shown
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "notice.txt", "notice.html", "chart.png", "runs.csv",
    }  # fmt: skip
    assert 'src="chart.png"' in (tmp_path / "out/notice.html").read_text(encoding="utf-8")

    wrong = desk.notices("approve", desk.notice_id, "--digest", "0" * 64)
    assert wrong.returncode == 1
    assert "digest" in wrong.stderr
    digest = next(line for line in shown.splitlines() if line.startswith("Digest:")).split()[1]
    approved = desk.notices("approve", desk.notice_id, "--digest", digest)
    assert approved.returncode == 0, approved.stderr
    assert "DUE" in approved.stdout


def test_a_notice_is_rejected_with_a_reason(desk: Desk) -> None:
    rejected = desk.notices("reject", desk.notice_id, "--reason", "we called them")
    assert "REJECTED" in rejected.stdout
    assert "we called them" in desk.notices("show", desk.notice_id).stdout
    assert desk.notice_id not in desk.notices("list", "--status", "planned").stdout


def test_mistakes_at_the_notices_are_one_line_each(desk: Desk) -> None:
    for role, arguments, words in (
        ("admin", ("show", "none"), "there is no notice none"),
        ("viewer", ("reject", "none", "--reason", "x"), ""),
        ("admin", ("list", "--status", "lost"), "--status LOST: must be one of PLANNED,"),
        ("", ("list",), "no key: give --key-file, or set SPEEDTRAP_NOTICES_KEY"),
        ("", ("list", "--key", "planted"), f"{desk.service.base_url}/graphql does not accept the"),
    ):
        done = desk.notices(*arguments, role=role)
        assert done.returncode in {1, 2}
        assert done.stderr.startswith(f"speedtrap notices: {words}")
        assert done.stderr.count("\n") == 1


def test_people_decide_by_command(desk: Desk, tmp_path: Path) -> None:
    preview = tmp_path / "preview"
    shown = desk.notices("preview", desk.reference, "--save", str(preview))
    assert shown.returncode == 0, shown.stderr
    assert "Dear Example Cable" in (preview / "notice.txt").read_text(encoding="utf-8")
    early = desk.notices("resolve", desk.notice_id, "--arrived", "--reason", "they said so")
    assert (early.returncode, "not UNKNOWN" in early.stderr) == (1, True)
    early = desk.notices("bounce", desk.notice_id, "--detail", "550 no such user")
    assert (early.returncode, "not SENT" in early.stderr) == (1, True)
    assert "Nothing leaves" in desk.notices("pause", "--reason", "holidays").stdout
    assert "goes out again" in desk.notices("resume").stdout
    stopped = desk.notices("stop", desk.recipient, "--reason", "on the phone")
    assert f"{desk.recipient}: on the phone (by operator)" in stopped.stdout
    assert "SUPPRESSED" in desk.line()
