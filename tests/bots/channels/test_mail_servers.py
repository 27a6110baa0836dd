"""Mail against the servers that providers run: Postfix and Exim, as Debian builds them."""

import asyncio
from base64 import b64encode
from collections.abc import Iterator
from email import message_from_bytes, policy
from hashlib import sha256

import dkim
import pytest
from speedtrap_bots.channels.mail import Mail, MailSettings, message_bytes, message_id
from speedtrap_bots.errors import Refused, Unavailable
from speedtrap_bots.model import Attachment, Notice, Stage

from tests.bots.builders import a_notice, allowed
from tests.bots.channels.letters import a_dkim_key, a_letter_notice
from tests.lab.faulty_smtp import faulty_smtp
from tests.lab.mongo import free_port
from tests.lab.mta import PASSWORD, SIZE_LIMIT_BYTES, USERNAME, MailServer, exim, postfix
from tests.lab.stripping import stripping_proxy

SERVERS = {"postfix": postfix, "exim": exim}


@pytest.fixture(scope="module", params=sorted(SERVERS))
def started(request: pytest.FixtureRequest) -> Iterator[MailServer]:
    with SERVERS[request.param]() as server:
        yield server


@pytest.fixture
def server(started: MailServer) -> MailServer:
    started.empty()
    return started


def settings_for(server: MailServer, **changes: object) -> MailSettings:
    values: dict[str, object] = {
        "host": "127.0.0.1",
        "port": server.port,
        "username": USERNAME,
        "password": PASSWORD,
        "sender": "Jane Doe <jane@home.example>",
        "recipient": "support@isp.example",
        "ca_file": server.ca_file,
    }
    return MailSettings.model_validate({**values, **changes})


def body_of(raw: bytes) -> bytes:
    return raw.replace(b"\r\n", b"\n").split(b"\n\n", 1)[1]


async def test_a_signed_letter_arrives_whole_by_starttls_and_login(server: MailServer) -> None:
    key, dns = a_dkim_key()
    settings = settings_for(server, dkim_domain="home.example", dkim_selector="s1", dkim_key=key)
    reference = await Mail(settings).deliver(a_letter_notice(), allowed)
    assert reference.startswith("250 ")
    [arrived] = server.arrived(1)
    assert b"esmtpsa" in arrived.lower(), "over TLS, and with a login"
    assert body_of(arrived) == body_of(message_bytes(a_letter_notice(), settings))
    # The maildir has the system's line ends, the wire had SMTP's.
    assert dkim.verify(arrived.replace(b"\n", b"\r\n"), dnsfunc=dns)
    message = message_from_bytes(arrived, policy=policy.default)
    assert message["Subject"] == a_letter_notice().subject
    assert message["To"] == "support@isp.example"
    [table] = [part for part in message.walk() if part.get_filename() == "runs.csv"]
    content = table.get_payload(decode=True)
    assert isinstance(content, bytes)
    assert sha256(content).hexdigest() in a_letter_notice().text


async def test_a_letter_arrives_over_implicit_tls(server: MailServer) -> None:
    settings = settings_for(server, tls="implicit", port=server.implicit_port)
    await Mail(settings).deliver(a_letter_notice(), allowed)
    [arrived] = server.arrived(1)
    assert b"esmtpsa" in arrived.lower()


async def test_the_letter_of_each_stage_arrives_and_answers_its_opening(
    server: MailServer,
) -> None:
    settings = settings_for(server)
    for stage in Stage:
        await Mail(settings).deliver(a_letter_notice(stage), allowed)
    bodies = {body_of(message_bytes(a_letter_notice(stage), settings)) for stage in Stage}
    arrived = server.arrived(len(Stage))
    assert {body_of(raw) for raw in arrived} == bodies
    letters = [message_from_bytes(raw, policy=policy.default) for raw in arrived]
    answers = {str(letter["Message-ID"]): letter["References"] for letter in letters}
    ids = {stage: message_id(a_letter_notice(stage), stage, settings) for stage in Stage}
    opening = ids[Stage.OPENING]
    assert answers == {
        opening: None,
        ids[Stage.REMINDER]: opening,
        ids[Stage.RECOVERY]: opening,
        ids[Stage.DIGEST]: None,
    }


async def test_a_wrong_password_stops_the_channel(server: MailServer) -> None:
    with pytest.raises(Unavailable, match="does not accept the name or password") as caught:
        await Mail(settings_for(server, password="not-it")).deliver(a_letter_notice(), allowed)
    assert caught.value.stops_channel
    assert server.inbox() == []


async def test_an_unknown_recipient_is_refused(server: MailServer) -> None:
    notice = a_letter_notice(recipient="nobody@isp.example")
    with pytest.raises(Refused, match="550"):
        await Mail(settings_for(server)).deliver(notice, allowed)


async def test_what_is_too_large_is_refused_before_it_is_sent(server: MailServer) -> None:
    with pytest.raises(Refused, match="552") as caught:
        await Mail(settings_for(server)).deliver(a_large_notice(), allowed)
    assert "size" in str(caught.value).lower()
    assert server.inbox() == []


async def test_an_address_beyond_ascii_gets_its_letter(server: MailServer) -> None:
    notice = a_letter_notice(recipient="support@b\u00fccher.example")
    await Mail(settings_for(server)).deliver(notice, allowed)
    [arrived] = server.arrived(1)
    assert "b\u00fccher.example" in arrived.decode()


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize("wrong", ["authority", "name"])
async def test_a_wrong_certificate_gets_neither_password_nor_letter(
    server: MailServer, tls: str, wrong: str
) -> None:
    # The certificate is for 127.0.0.1: by its other name, the machine is somebody else.
    changes: dict[str, object] = (
        {"ca_file": None} if wrong == "authority" else {"host": "localhost"}
    )
    port = server.implicit_port if tls == "implicit" else server.port
    with pytest.raises(Unavailable, match=r"[Cc]ertificate|CERTIFICATE"):
        await Mail(settings_for(server, tls=tls, port=port, **changes)).deliver(
            a_letter_notice(), allowed
        )
    assert server.inbox() == []


async def test_nothing_leaves_in_clear_when_starttls_is_stripped(server: MailServer) -> None:
    with stripping_proxy(server.port) as middle, pytest.raises(Unavailable, match="STARTTLS"):
        await Mail(settings_for(server, port=middle.port)).deliver(a_letter_notice(), allowed)
    assert middle.offers_hidden == 1
    words = {line.split(b" ")[0].upper() for line in middle.heard.splitlines()}
    assert words <= {b"EHLO", b"HELO", b"QUIT"}, "no AUTH, no MAIL, no letter"
    assert server.inbox() == []


async def test_a_greylisted_letter_is_taken_later() -> None:
    """By Postgrey behind Postfix, as providers have it."""
    with postfix() as server:
        notice = a_letter_notice(recipient="grey@isp.example")
        mail = Mail(settings_for(server))
        with pytest.raises(Unavailable, match=r"450.*Greylisted") as caught:
            await mail.deliver(notice, allowed)
        assert not caught.value.stops_channel
        await deliver_in_the_end(mail, notice)
        assert len(server.arrived(1)) == 1


async def test_a_server_without_smtputf8_is_not_given_such_an_address() -> None:
    with faulty_smtp(free_port()) as server:
        settings = MailSettings(
            host="127.0.0.1", port=server.port, tls="none", sender="jane@home.example"
        )
        with pytest.raises(Refused, match="SMTPUTF8"):
            await Mail(settings).deliver(a_notice(recipient="x@b\u00fccher.example"), allowed)


async def deliver_in_the_end(mail: Mail, notice: Notice) -> None:
    """Whoever comes too early is deferred again."""
    while True:
        try:
            await mail.deliver(notice, allowed)
        except Unavailable:
            await asyncio.sleep(0.1)
        else:
            return


def a_large_notice() -> Notice:
    content = b"x" * SIZE_LIMIT_BYTES
    file = Attachment(
        name="runs.csv",
        media_type="text/csv",
        alt_text=None,
        sha256=sha256(content).hexdigest(),
        content_base64=b64encode(content).decode(),
    )
    return a_letter_notice(attachments=(file,))
