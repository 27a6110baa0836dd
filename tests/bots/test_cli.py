"""The commands as a person meets them: each mistake is one clear line."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from speedtrap_bots.channels.mail import MailSettings
from speedtrap_bots.serve import open_channels, read
from speedtrap_bots.settings import Settings, SettingsError

from tests.lab.mongo import Mongod, free_port
from tests.lab.runs import SUBMIT, slow_runs
from tests.lab.service import Service, running_service

pytestmark = pytest.mark.timeout(500)

PLAN = (
    'mutation { setPlan(plan: {provider: "Example Cable", downloadMbps: 940, timeZone: "UTC"})'
    " { id } }"
)


def bots(*arguments: str, app: str = "app", **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if "SPEEDTRAP" not in name}
    return subprocess.run(
        [sys.executable, "-c", f"from speedtrap_bots.cli import {app}; {app}()", *arguments],
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
    done = bots("run", "--once", SPEEDTRAP_LOG_LEVEL="LOUD")
    assert done.returncode == 2
    assert done.stderr == (
        "speedtrap bots: SPEEDTRAP_LOG_LEVEL: must be one of DEBUG, INFO, WARNING, ERROR\n"
    )


def test_an_unknown_channel_is_named_with_the_known_ones() -> None:
    with pytest.raises(
        SettingsError, match="pigeon: there is no such channel; known: apprise, mail"
    ):
        open_channels(["pigeon"])


def test_once_says_that_graph_is_away() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = bots("run", "--once", SPEEDTRAP_BOTS_GRAPH_URL=url, SPEEDTRAP_BOTS_KEY="planted-key")
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


@pytest.fixture
def service(mongod: Mongod, database_name: str, tmp_path: Path) -> Iterator[Service]:
    """graph with one open breach and a letter about it that waits for leave."""
    with running_service(mongod, database_name, tmp_path / "graph") as running:
        running.query(PLAN)
        running.query(SUBMIT, {"runs": slow_runs(6)}, role="probe")
        done = bots(
            "run",
            "--once",
            "--channel",
            "mail",
            SPEEDTRAP_BOTS_GRAPH_URL=running.base_url,
            SPEEDTRAP_BOTS_KEY=running.keys["bot"],
            SPEEDTRAP_BOTS_MAIL_HOST="127.0.0.1",
            SPEEDTRAP_BOTS_MAIL_FROM="Jane Doe <jane@home.example>",
            SPEEDTRAP_BOTS_MAIL_TO="support@isp.example",
        )
        assert done.returncode == 0, done.stderr
        yield running


def notices(
    service: Service, *arguments: str, role: str = "admin"
) -> subprocess.CompletedProcess[str]:
    return bots(
        *arguments,
        app="notices_app",
        SPEEDTRAP_NOTICES_URL=service.base_url,
        SPEEDTRAP_NOTICES_KEY=service.keys[role],
    )


def test_a_notice_is_listed_shown_and_approved(service: Service, tmp_path: Path) -> None:
    listed = notices(service, "list").stdout
    assert "PLANNED" in listed
    assert "mail to support@isp.example" in listed
    notice_id = listed.split()[0]

    shown = notices(service, "show", notice_id, "--save", str(tmp_path / "out")).stdout
    assert "Dear Example Cable support team" in shown
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "notice.txt", "notice.html", "chart.png", "runs.csv",
    }  # fmt: skip
    assert 'src="chart.png"' in (tmp_path / "out/notice.html").read_text(encoding="utf-8")

    wrong = notices(service, "approve", notice_id, "--digest", "0" * 64)
    assert wrong.returncode == 1
    assert "digest" in wrong.stderr
    digest = next(line for line in shown.splitlines() if line.startswith("Digest:")).split()[1]
    approved = notices(service, "approve", notice_id, "--digest", digest)
    assert approved.returncode == 0, approved.stderr
    assert "DUE" in approved.stdout


def test_a_notice_is_rejected_with_a_reason(service: Service) -> None:
    notice_id = notices(service, "list", "--status", "planned").stdout.split()[0]
    assert "REJECTED" in notices(service, "reject", notice_id, "--reason", "we called them").stdout
    assert "we called them" in notices(service, "show", notice_id).stdout
    assert notices(service, "list", "--status", "planned").stdout == "No notices.\n"


def test_mistakes_at_the_notices_are_one_line_each(service: Service) -> None:
    url = f"{service.base_url}/graphql"
    for role, arguments, words in (
        ("admin", ("show", "none"), "there is no notice none"),
        ("viewer", ("reject", "none", "--reason", "x"), ""),
        ("admin", ("list", "--status", "lost"), "--status LOST: must be one of PLANNED,"),
    ):
        done = notices(service, *arguments, role=role)
        assert done.returncode in {1, 2}
        assert done.stderr.startswith(f"speedtrap notices: {words}")
        assert done.stderr.count("\n") == 1
    stranger = bots(
        "list", "--url", service.base_url, app="notices_app", SPEEDTRAP_NOTICES_KEY="planted-key"
    )
    assert stranger.stderr == f"speedtrap notices: {url} does not accept the key\n"
    nobody = bots("list", app="notices_app")
    assert "no key: give --key-file, or set SPEEDTRAP_NOTICES_KEY" in nobody.stderr


def test_people_decide_by_command(service: Service, tmp_path: Path) -> None:
    listed = notices(service, "list").stdout
    notice_id, reference = listed.split()[0], listed.split()[-1]
    preview = tmp_path / "preview"
    shown = notices(service, "preview", reference, "--save", str(preview))
    assert shown.returncode == 0, shown.stderr
    assert "Dear Example Cable" in (preview / "notice.txt").read_text(encoding="utf-8")
    early = notices(service, "resolve", notice_id, "--arrived", "--reason", "they said so")
    assert (early.returncode, "not UNKNOWN" in early.stderr) == (1, True)
    assert "Nothing leaves" in notices(service, "pause", "--reason", "holidays").stdout
    assert "goes out again" in notices(service, "resume").stdout
    stopped = notices(service, "stop", "support@isp.example", "--reason", "on the phone")
    assert "support@isp.example: on the phone (by operator)" in stopped.stdout
    assert "SUPPRESSED" in notices(service, "list").stdout
