"""`speedtrap doctor`: what facts mean, and its looks at real servers, good and bad."""

import json
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from pydantic import SecretStr
from speedtrap_bots.channels.mail import MailSettings
from speedtrap_bots.channels.twitter import TwitterSettings
from speedtrap_graph.http import keyfile
from speedtrap_graph.settings import StoreSettings

from speedtrap_up.doctor import checks, looks
from speedtrap_up.doctor.checks import GIGABYTE, Finding, State, exit_code
from tests.lab.mongo import Mongod, free_port
from tests.lab.smtp import PASSWORD, USERNAME, smtp_server

PLANTED = "planted-password-of-the-doctor"


@pytest.mark.parametrize(
    ("finding", "state"),
    [
        (checks.keys("f", ["admin", "probe"], readable_by_others=False), State.OK),
        (checks.keys("f", ["probe"], readable_by_others=False), State.WARN),
        (checks.keys("f", [], readable_by_others=False), State.BAD),
        (checks.keys("f", ["admin"], readable_by_others=True), State.BAD),
        (checks.clock(-1.9), State.OK),
        (checks.clock(2), State.WARN),
        (checks.clock(-60), State.BAD),
        (checks.certificate("h", 60), State.OK),
        (checks.certificate("h", 20), State.WARN),
        (checks.certificate("h", 6), State.BAD),
        (checks.disk("d", 5 * GIGABYTE, 9 * GIGABYTE), State.OK),
        (checks.disk("d", 4 * GIGABYTE, 9 * GIGABYTE), State.WARN),
        (checks.disk("d", GIGABYTE - 1, 9 * GIGABYTE), State.BAD),
    ],
)
def test_what_facts_mean(finding: Finding, state: State) -> None:
    assert finding.state is state
    assert (finding.advice == "") == (state is State.OK)


def test_only_what_is_bad_fails() -> None:
    warned = Finding("disk", State.WARN, "little")
    assert exit_code([warned]) == 0
    assert exit_code([warned, Finding("db", State.BAD, "gone")]) == 1


def test_a_key_file_with_a_bad_line_is_named_without_the_line(tmp_path: Path) -> None:
    file = tmp_path / "api_keys"
    file.write_text(f"{PLANTED}\n")
    found = looks.keys(file)
    assert (found.state, PLANTED in found.text) == (State.BAD, False)
    file.unlink()
    assert looks.keys(file).state is State.BAD
    keyfile.add(file, "operator", "admin")
    assert looks.keys(file).state is State.OK


@contextmanager
def time_server(ahead_s: float) -> Iterator[int]:
    """Answers one SNTP question; the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))

        def answer() -> None:
            _, asker = listening.recvfrom(512)
            told = time.time() + ahead_s + 2_208_988_800
            moment = struct.pack("!II", int(told), int(told % 1 * 2**32))
            listening.sendto(bytes([0x1C]) + bytes(39) + moment, asker)

        answering = threading.Thread(target=answer)
        answering.start()
        yield int(listening.getsockname()[1])
        answering.join()


@pytest.mark.parametrize(("ahead_s", "state"), [(0, State.OK), (3600, State.BAD)])
def test_the_clock_is_held_against_a_time_server(ahead_s: float, state: State) -> None:
    with time_server(ahead_s) as port:
        found = looks.clock("127.0.0.1", port)
    assert found.state is state
    assert ("behind" in found.text) or not ahead_s


def test_a_time_server_that_is_not_there_is_worth_a_look_only() -> None:
    assert looks.clock("127.0.0.1", free_port()).state is State.WARN


def test_a_name_without_an_address() -> None:
    assert looks.names("localhost").state is State.OK
    assert looks.names("a..b").state is State.BAD


@contextmanager
def tls_server(certificate: trustme.LeafCert) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            plain, _ = listening.accept()
            try:
                context.wrap_socket(plain, server_side=True).close()
            except OSError:
                plain.close()

        answering = threading.Thread(target=answer)
        answering.start()
        yield int(listening.getsockname()[1])
        answering.join()


def test_a_certificate_is_good_or_it_is_said_why_not(tmp_path: Path) -> None:
    authority, ca_file = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    with tls_server(authority.issue_cert("localhost")) as port:
        assert looks.certificate("localhost", port, ca_file).state is State.OK
    with tls_server(authority.issue_cert("elsewhere.example")) as port:
        found = looks.certificate("localhost", port, ca_file)
    assert (found.state, "mismatch" in found.text) == (State.BAD, True)
    with tls_server(authority.issue_cert("localhost")) as port:
        found = looks.certificate("localhost", port)
    assert (found.state, "issuer" in found.text) == (State.BAD, True)
    assert looks.certificate("localhost", free_port()).state is State.BAD


def test_the_database_answers_or_not(mongod: Mongod) -> None:
    there = StoreSettings(mongodb_uri=SecretStr(mongod.uri))
    assert looks.database(there).state is State.OK
    uri = f"mongodb://u:{PLANTED}@127.0.0.1:{free_port()}/?serverSelectionTimeoutMS=200"
    found = looks.database(StoreSettings(mongodb_uri=SecretStr(uri)))
    assert (found.state, PLANTED in found.text) == (State.BAD, False)


def test_mail_is_tried_as_far_as_the_login(tmp_path: Path) -> None:
    assert looks.mail(MailSettings()).text.startswith("off")
    with smtp_server(tmp_path, free_port()) as server:
        right = MailSettings(
            host=server.host,
            port=server.port,
            username=USERNAME,
            password=SecretStr(PASSWORD),
            sender="jane@example.org",
            recipient="support@isp.example",
            ca_file=server.ca_file,
        )
        assert looks.mail(right).state is State.OK
        for name, setting in {"sender": "FROM", "recipient": "TO", "password": "PASSWORD"}.items():
            lacking = looks.mail(right.model_copy(update={name: None}))
            told = f"not set: SPEEDTRAP_BOTS_MAIL_{setting}"
            assert (lacking.state, lacking.text) == (State.BAD, told)
        wrong = right.model_copy(update={"password": SecretStr(PLANTED)})
        refused = looks.mail(wrong)
        untrusted = looks.mail(right.model_copy(update={"ca_file": None}))
        assert server.letters == []
    assert (refused.state, "login" in refused.text) == (State.BAD, True)
    assert (untrusted.state, "certificate" in untrusted.text) == (State.BAD, True)
    assert PLANTED not in str([refused, untrusted])
    closed = right.model_copy(update={"port": free_port()})
    assert looks.mail(closed).state is State.BAD


def test_x_wants_all_four_keys_and_a_way_there() -> None:
    assert looks.x(TwitterSettings()).state is State.OK
    some = TwitterSettings(enabled=True, consumer_key=SecretStr(PLANTED))
    found = looks.x(some)
    assert "SPEEDTRAP_BOTS_TWITTER_ACCESS_TOKEN_SECRET" in found.text
    assert "CONSUMER_KEY" not in found.text
    secret = SecretStr(PLANTED)
    every = TwitterSettings(
        enabled=True,
        consumer_key=secret,
        consumer_secret=secret,
        access_token=secret,
        access_token_secret=secret,
    )
    assert looks.x(every, "127.0.0.1", free_port()).state is State.BAD


def test_the_whole_round_ends_in_words_advice_and_a_code(tmp_path: Path) -> None:
    with time_server(0) as port:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "speedtrap", "doctor", "--json"),
                *("--data-dir", str(tmp_path / "none"), "--time-server", f"127.0.0.1:{port}"),
            ],
            env={"SPEEDTRAP_BOTS_MAIL_PORT": "none", "SPEEDTRAP_BOTS_MAIL_PASSWORD": PLANTED},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 1, done.stderr
    found = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert [found[name]["state"] for name in ("keys", "clock", "db", "bots")] == [
        "bad", "ok", "bad", "bad",
    ]  # fmt: skip
    assert "port" in found["bots"]["text"]
    assert PLANTED not in done.stdout + done.stderr
