"""Mail against a real SMTP server."""

import re
from hashlib import sha256
from pathlib import Path

import dkim
import pytest
from speedtrap_bots.channels.mail import Mail, MailSettings, message_bytes, message_id
from speedtrap_bots.delivery.lease import Lease, now_s
from speedtrap_bots.errors import ChannelError, Refused, Unavailable, Unknown
from speedtrap_bots.model import Stage

from tests.bots.builders import a_notice, allowed
from tests.bots.channels.letters import a_dkim_key, a_letter_notice
from tests.lab.mongo import free_port
from tests.lab.smtp import PASSWORD, USERNAME, Fault, SmtpServer, smtp_server

HEADERS = {
    "From", "To", "Reply-To", "Subject", "Date", "Message-ID", "In-Reply-To", "References",
    "Auto-Submitted", "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
}  # fmt: skip


def settings_for(server: SmtpServer, **changes: object) -> MailSettings:
    values: dict[str, object] = {
        "host": server.host,
        "port": server.port,
        "username": USERNAME,
        "password": PASSWORD,
        "sender": "Jane Doe <jane@home.example>",
        "recipient": "support@isp.example",
        "ca_file": server.ca_file,
        "verdict_timeout_s": 5,
    }
    return MailSettings.model_validate({**values, **changes})


async def test_a_letter_arrives_whole_over_tls(smtp: SmtpServer) -> None:
    notice = a_letter_notice()
    reference = await Mail(settings_for(smtp)).deliver(notice, allowed)
    assert reference == "250 2.0.0 queued as 1"
    [letter] = smtp.letters
    assert (letter.sender, letter.recipients) == ("jane@home.example", ("support@isp.example",))
    assert letter.over_tls
    assert letter.user == USERNAME
    message = letter.message
    assert message["Subject"] == notice.subject
    assert message["From"] == "Jane Doe <jane@home.example>"
    assert message["Reply-To"] == "Jane Doe <jane@home.example>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime == notice.approved_at
    text = message.get_body(("plain",))
    page = message.get_body(("html",))
    assert text is not None
    assert page is not None
    assert text.get_content().replace("\r\n", "\n") == notice.text
    assert page.get_content().replace("\r\n", "\n") == notice.html
    files = {part.get_filename(): part for part in message.walk() if part.get_filename()}
    assert set(files) == {"chart.png", "runs.csv"}
    assert files["chart.png"]["Content-ID"] == "<chart.png@speedtrap>"
    assert files["chart.png"].get_content_disposition() == "inline"
    assert files["runs.csv"].get_content_disposition() == "attachment"
    for name, file in zip(("chart.png", "runs.csv"), notice.attachments, strict=True):
        assert files[name].get_payload(decode=True) == file.content
    assert sha256(notice.attachments[1].content).hexdigest() in notice.text


async def test_what_arrives_is_byte_for_byte_what_was_made(smtp: SmtpServer) -> None:
    settings = settings_for(smtp)
    notice = a_letter_notice(text=".\n..two\nplain\n. \n")
    await Mail(settings).deliver(notice, allowed)
    assert smtp.letters[0].content == message_bytes(notice, settings)


def test_the_same_notice_is_the_same_bytes(smtp: SmtpServer) -> None:
    notice = a_letter_notice()
    assert message_bytes(notice, settings_for(smtp)) == message_bytes(notice, settings_for(smtp))


def test_only_known_headers_leave(smtp: SmtpServer) -> None:
    raw = message_bytes(a_letter_notice(Stage.RECOVERY), settings_for(smtp))
    head = raw.split(b"\r\n\r\n", 1)[0].decode()
    assert set(re.findall(r"^([A-Za-z-]+):", head, re.MULTILINE)) <= HEADERS
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert max(len(line) for line in raw.split(b"\r\n")) <= 998


async def test_a_recovery_answers_its_opening(smtp: SmtpServer) -> None:
    mail = Mail(settings_for(smtp))
    await mail.deliver(a_letter_notice(), allowed)
    await mail.deliver(a_letter_notice(Stage.RECOVERY), allowed)
    opening, recovery = (letter.message for letter in smtp.letters)
    assert recovery["References"] == recovery["In-Reply-To"] == opening["Message-ID"]
    assert recovery["Message-ID"] != opening["Message-ID"]


@pytest.mark.parametrize(
    "subject",
    [
        "=?utf-8?q?a=0D=0ABcc:_e@e.example?=",
        "one\r\nBcc: e@e.example",
        "one\nBcc: e@e.example",
        "one\x00two",
        "one\u2028two",
    ],
)
async def test_a_subject_cannot_smuggle_a_header(smtp: SmtpServer, subject: str) -> None:
    with pytest.raises(Refused, match="subject contains"):
        await Mail(settings_for(smtp)).deliver(a_letter_notice(subject=subject), allowed)
    assert smtp.letters == []


@pytest.mark.parametrize(
    "recipient", ["", "nobody", "a@b.example, c@d.example", "a@b.example\r\nBcc: c@d.example"]
)
async def test_a_recipient_is_one_address(smtp: SmtpServer, recipient: str) -> None:
    with pytest.raises(Refused, match=r"mail address|control characters"):
        await Mail(settings_for(smtp)).deliver(a_letter_notice(recipient=recipient), allowed)


async def test_a_file_that_changed_since_it_was_frozen_is_refused(smtp: SmtpServer) -> None:
    notice = a_letter_notice()
    forged = notice.attachments[1].model_copy(update={"content_base64": "Zm9yZ2Vk"})
    with pytest.raises(Refused, match=r"runs\.csv is not what was frozen"):
        await Mail(settings_for(smtp)).deliver(a_letter_notice(attachments=(forged,)), allowed)


@pytest.mark.parametrize(
    ("fault", "error", "kept"),
    [
        ("greylisted", Unavailable, 0),
        ("unknown recipient", Refused, 0),
        ("content refused", Refused, 0),
        ("busy after the dot", Unavailable, 0),
        ("cut before the message", Unavailable, 0),
        ("cut after the dot", Unknown, 1),
        ("silent after the dot", Unknown, 1),
    ],
)
async def test_how_a_delivery_ended_is_told_apart(
    smtp: SmtpServer, fault: Fault, error: type[ChannelError], kept: int
) -> None:
    smtp.fault = fault
    with pytest.raises(ChannelError) as caught:
        await Mail(settings_for(smtp, verdict_timeout_s=0.5)).deliver(a_letter_notice(), allowed)
    assert type(caught.value) is error
    assert len(smtp.letters) == kept


async def test_a_lost_goodbye_is_a_success(smtp: SmtpServer) -> None:
    smtp.fault = "cut at quit"
    assert (await Mail(settings_for(smtp)).deliver(a_letter_notice(), allowed)).startswith("250")


async def test_a_wrong_password_stops_the_channel_and_stays_secret(smtp: SmtpServer) -> None:
    with pytest.raises(Unavailable) as caught:
        await Mail(settings_for(smtp, password="not-the-password")).deliver(
            a_letter_notice(), allowed
        )
    assert caught.value.stops_channel
    assert "not-the-password" not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert smtp.letters == []


async def test_a_server_that_is_away_is_tried_later(smtp: SmtpServer) -> None:
    with pytest.raises(Unavailable) as caught:
        await Mail(settings_for(smtp, port=free_port())).deliver(a_letter_notice(), allowed)
    assert not caught.value.stops_channel


async def test_nothing_leaves_when_starttls_was_stripped(tmp_path: Path) -> None:
    with smtp_server(tmp_path, free_port(), tls="none") as server:
        with pytest.raises(Unavailable, match="STARTTLS"):
            await Mail(settings_for(server)).deliver(a_letter_notice(), allowed)
        assert server.commands == []


async def test_nothing_leaves_to_a_server_with_a_wrong_certificate(smtp: SmtpServer) -> None:
    with pytest.raises(Unavailable, match="TLS failed"):
        await Mail(settings_for(smtp, ca_file=None)).deliver(a_letter_notice(), allowed)
    assert smtp.commands == []


async def test_implicit_tls(tmp_path: Path) -> None:
    with smtp_server(tmp_path, free_port(), tls="implicit") as server:
        settings = settings_for(server, tls="implicit")
        await Mail(settings).deliver(a_letter_notice(), allowed)
        assert [letter.over_tls for letter in server.letters] == [True]
        with pytest.raises(Unavailable):
            await Mail(settings_for(server, tls="implicit", ca_file=None)).deliver(
                a_letter_notice(), allowed
            )


async def test_clear_text_only_to_loopback_and_only_when_said(tmp_path: Path) -> None:
    with smtp_server(tmp_path, free_port(), tls="none") as server:
        settings = settings_for(server, tls="none", username="")
        await Mail(settings).deliver(a_letter_notice(), allowed)
        assert [letter.over_tls for letter in server.letters] == [False]
    with pytest.raises(ValueError, match="only allowed to a loopback"):
        Mail(MailSettings(host="mx.isp.example", tls="none"))


async def test_an_address_beyond_ascii(smtp: SmtpServer) -> None:
    await Mail(settings_for(smtp)).deliver(
        a_letter_notice(recipient="hilfe@b\u00fccher.example"), allowed
    )
    assert smtp.letters[0].recipients == ("hilfe@b\u00fccher.example",)


def test_without_host_sender_and_recipient_nobody_is_written_to() -> None:
    assert Mail(MailSettings()).recipient == ""
    assert Mail(MailSettings(host="mx.example", sender="a@b.example")).recipient == ""
    whole = MailSettings(host="mx.example", sender="a@b.example", recipient="c@d.example")
    assert Mail(whole).recipient == "c@d.example"


def test_message_ids_differ_by_person_and_stage() -> None:
    settings = MailSettings(sender="jane@home.example")
    ids = {
        message_id(a_notice(recipient=recipient), stage, settings)
        for recipient in ("a@b.example", "c@d.example")
        for stage in (Stage.OPENING, Stage.RECOVERY)
    }
    assert len(ids) == 4
    assert all(re.fullmatch(r"<[A-Za-z0-9.-]+@home\.example>", id_) for id_ in ids)


async def test_a_worker_that_slept_over_its_lease_ends_no_message(smtp: SmtpServer) -> None:
    """The gate is before the final dot: until then the server delivers nothing."""
    lease = Lease(now_s() - 60, 30)
    with pytest.raises(Unavailable, match="its lease is over"):
        await Mail(settings_for(smtp)).deliver(a_letter_notice(), lease.may_send)
    assert smtp.letters == []


async def test_dkim_is_verified_on_arrival_and_changes_nothing_else(smtp: SmtpServer) -> None:
    pem, dns = a_dkim_key()
    signing = {"dkim_domain": "home.example", "dkim_selector": "s1", "dkim_key": pem}
    await Mail(settings_for(smtp, **signing)).deliver(a_letter_notice(), allowed)
    [letter] = smtp.letters
    assert dkim.verify(letter.content, dnsfunc=dns)
    unsigned = message_bytes(a_letter_notice(), settings_for(smtp))
    assert letter.content.rstrip().endswith(unsigned.rstrip())
    assert not dkim.verify(letter.content.replace(b"940", b"490"), dnsfunc=dns)


def test_half_a_dkim_is_refused_and_a_bad_key_is_not_shown(smtp: SmtpServer) -> None:
    with pytest.raises(ValueError, match="go together"):
        Mail(settings_for(smtp, dkim_domain="home.example"))
    with pytest.raises(ValueError, match="RSA private key in PEM") as caught:
        settings_for(smtp, dkim_key="planted-dkim-key")
    assert "planted-dkim-key" not in str(caught.value)


async def test_the_test_mail_goes_to_the_owner_and_never_to_the_isp(smtp: SmtpServer) -> None:
    said = await Mail(settings_for(smtp)).test()
    assert [letter.recipients for letter in smtp.letters] == [("jane@home.example",)]
    assert "jane@home.example" in said


@pytest.mark.parametrize("stage", [Stage.REMINDER, Stage.DIGEST])
async def test_later_letters_arrive(smtp: SmtpServer, stage: Stage) -> None:
    await Mail(settings_for(smtp)).deliver(a_letter_notice(stage), allowed)
    message = smtp.letters[0].message
    assert (message["References"] is not None) == (stage is Stage.REMINDER)


@pytest.mark.parametrize("name", ["Jane Doe", "Jos\u00e9 Mart\u00ednez"])
def test_no_line_is_longer_than_mail_may_have_and_a_subject_begins_on_its_own(name: str) -> None:
    settings = MailSettings(host="mx.example", sender=f"{name} <jane@home.example>")
    notice = a_letter_notice(Stage.RECOVERY)
    head, _, body = message_bytes(notice, settings).partition(b"\r\n\r\n")
    for part in (head, body):
        assert max(len(line) for line in part.split(b"\r\n")) < 200, "RFC 5322: 998 at most"
    text = body.partition(b"\r\n\r\n")[2].partition(b"\r\n\r\n")[2].partition(b"--=_")[0]
    assert max(len(line) for line in text.split(b"\r\n")) <= 78
    if name.isascii():
        assert f"\r\nSubject: {notice.subject}\r\n".encode() in head
