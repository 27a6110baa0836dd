"""Mail by aiosmtplib, the SMTP conversation driven step by step.

Only so can "not accepted", "refused" and "may have arrived" be told apart: until the final
dot has left, nothing can have been delivered; after it, only a reply tells.
"""

import asyncio
import hashlib
import ipaddress
import re
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from email import policy
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from functools import cached_property
from pathlib import Path
from typing import Literal

import dkim
from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPException,
    SMTPNotSupported,
    SMTPResponseException,
    SMTPServerDisconnected,
)
from dkim.crypto import UnparsableKeyError, parse_pem_private_key
from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from speedtrap_bots.channel import Channel, ChannelKind, MaySend
from speedtrap_bots.content import Content
from speedtrap_bots.errors import ChannelError, Refused, Unavailable, Unknown, said
from speedtrap_bots.letter import letter
from speedtrap_bots.model import Attachment, Breach, Notice, Stage
from speedtrap_bots.settings import EnvironmentSettings

STEP_TIMEOUT_S = 10.0
QUIT_TIMEOUT_S = 2.0
FLUSH_POLL_S = 0.005
FINAL_DOT = b".\r\n"
SIGNED_HEADERS = (
    b"from", b"to", b"reply-to", b"subject", b"date", b"message-id", b"in-reply-to", b"references",
    b"auto-submitted", b"mime-version", b"content-type",
)  # fmt: skip
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LINE_END = re.compile(rb"\r\n|\r|\n")


class MailSettings(EnvironmentSettings):
    """`SPEEDTRAP_BOTS_MAIL_<NAME>`. Mail is sent when HOST, FROM and TO are set."""

    model_config = SettingsConfigDict(env_prefix="SPEEDTRAP_BOTS_MAIL_", validate_by_name=True)

    host: str = Field(default="", description="The SMTP server that takes our mail.")
    port: int | None = Field(
        default=None, ge=1, le=65535, description="Default: 587 (starttls), 465 (implicit), 25."
    )
    tls: Literal["starttls", "implicit", "none"] = Field(
        default="starttls", description="none (clear text) is only allowed to loopback."
    )
    username: str = Field(default="", description="For AUTH; empty: no AUTH.")
    password: SecretStr | None = Field(default=None, description="For AUTH.")
    sender: str = Field(
        default="",
        validation_alias=AliasChoices("SPEEDTRAP_BOTS_MAIL_FROM", "sender"),
        description="Who writes, e.g. Jane Doe <jane@example.org>; the name signs the letter.",
    )
    recipient: str = Field(
        default="",
        validation_alias=AliasChoices("SPEEDTRAP_BOTS_MAIL_TO", "recipient"),
        description="Whom to write to: one address.",
    )
    reply_to: str = Field(default="", description="Where a person reads answers; default: FROM.")
    ca_file: Path | None = Field(
        default=None, description="PEM file of a private certificate authority to trust."
    )

    dkim_domain: str = Field(
        default="", description="Sign with DKIM for this domain; KEY and SELECTOR go with it."
    )
    dkim_selector: str = Field(
        default="", description="Under which the public key is in the DNS, e.g. speedtrap."
    )
    dkim_key: SecretStr | None = Field(
        default=None, description="The RSA private key in PEM; best as a file."
    )
    prelude_timeout_s: float = Field(
        default=20.0,
        gt=0,
        le=20,
        description="From the connection until the server takes the message; nothing has left"
        " until then.",
    )
    verdict_timeout_s: float = Field(
        default=60.0,
        gt=0,
        le=90,
        description="Wait for the reply to the whole message: giving up means not knowing, and"
        " longer than this would outlive the ledger's lease.",
    )

    @field_validator("dkim_key")
    @classmethod
    def _is_a_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            try:
                parse_pem_private_key(value.get_secret_value().encode())
            except UnparsableKeyError:
                # Its text holds the key.
                raise ValueError("must be an RSA private key in PEM") from None
        return value

    @property
    def is_signed(self) -> bool:
        return self.dkim_key is not None and bool(self.dkim_domain and self.dkim_selector)

    @field_validator("sender", "recipient", "reply_to")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if value:
            parse_address(value)
        return value


def parse_address(text: str) -> Address:
    """*text* ("name <user@host>" or bare) as one address; ValueError when it is none."""
    if _CONTROLS.search(text) or "=?" in text:
        raise ValueError("must not contain control characters or encoded words")
    name, bracket, rest = text.rpartition("<")
    spec = rest.removesuffix(">") if bracket else text
    try:
        address = Address(name.strip().strip('"'), addr_spec=spec.strip())
    except (ValueError, IndexError, HeaderParseError) as error:
        raise ValueError("must be one mail address, e.g. Jane Doe <jane@example.org>") from error
    if not address.username or not address.domain:
        raise ValueError("must be one mail address, e.g. Jane Doe <jane@example.org>")
    return address


class Mail(Channel):
    """Sends letters to one recipient."""

    name = "mail"
    stages = frozenset(Stage)

    def __init__(self, settings: MailSettings) -> None:
        self._settings = settings
        if settings.tls == "none" and settings.host and not _is_loopback(settings.host):
            raise ValueError(
                "SPEEDTRAP_BOTS_MAIL_TLS: none sends in clear text and is only allowed to a"
                " loopback SPEEDTRAP_BOTS_MAIL_HOST; use starttls or implicit"
            )

        signing = (settings.dkim_domain, settings.dkim_selector, settings.dkim_key)
        if any(signing) and not all(signing):
            raise ValueError(
                "SPEEDTRAP_BOTS_MAIL_DKIM_DOMAIN, _DKIM_SELECTOR and _DKIM_KEY go together:"
                " set all three, or none"
            )

    @property
    def timeout_s(self) -> float:
        s = self._settings
        return s.prelude_timeout_s + s.verdict_timeout_s + QUIT_TIMEOUT_S + 1

    @property
    def recipient(self) -> str:
        s = self._settings
        return parse_address(s.recipient).addr_spec if s.host and s.sender and s.recipient else ""

    def write(self, breach: Breach, stage: Stage, covered: Sequence[Breach] = ()) -> Content:
        s = self._settings
        sender = parse_address(s.sender).display_name if s.sender else ""
        contact = s.reply_to or s.sender
        return letter(
            breach,
            stage,
            sender=sender,
            contact=parse_address(contact).addr_spec if contact else "",
            covered=covered,
        )

    async def test(self) -> str:
        """A mail to the address where answers are read, never to the ISP."""
        s = self._settings
        if not (s.host and s.sender):
            raise Refused("mail is not configured: set SPEEDTRAP_BOTS_MAIL_HOST and _FROM")
        owner = parse_address(s.reply_to or s.sender).addr_spec
        now = datetime.now(UTC)
        notice = Notice(
            id=f"test-{now:%Y%m%dT%H%M%S%f}",
            reference=f"TEST-{now:%H%M%S}",
            stage=Stage.OPENING,
            channel=self.name,
            recipient=owner,
            status="SENDING",
            subject="speedtrap can send mail",
            text="This is the test you asked for. Complaints would go to "
            f"{self.recipient or 'nobody yet: SPEEDTRAP_BOTS_MAIL_TO is not set'}.\n",
            planned_at=now,
        )
        return f"sent to {owner}: {await self.deliver(notice, lambda: None)}"

    async def deliver(self, notice: Notice, may_send: MaySend) -> str:
        """One transaction; returns the server's final reply."""
        message = message_bytes(notice, self._settings)
        client = SMTP(
            hostname=self._settings.host,
            port=self._settings.port,
            use_tls=self._settings.tls == "implicit",
            start_tls=self._settings.tls == "starttls",
            tls_context=self._tls,
            timeout=STEP_TIMEOUT_S,
            local_hostname=_helo_name(self._settings.sender),
        )
        try:
            async with asyncio.timeout(self._settings.prelude_timeout_s):
                await self._open(client)
                await self._envelope(client, notice.recipient, len(message))
                await _ask_for_the_message(client)
        except TimeoutError as error:
            _hang_up(client)
            raise Unavailable("the mail server is too slow to take a message") from error
        except BaseException:
            _hang_up(client)
            raise
        try:
            reply = await _hand_over(client, message, self._settings.verdict_timeout_s, may_send)
            await _say_goodbye(client)
            return reply
        finally:
            _hang_up(client)

    @cached_property
    def _tls(self) -> ssl.SSLContext | None:
        if self._settings.tls == "none":
            return None
        return ssl.create_default_context(cafile=self._settings.ca_file)

    async def _open(self, client: SMTP) -> None:
        """Connects, enforces TLS and logs in. Whatever fails here, no notice has left."""
        try:
            await client.connect()
            if self._settings.username:
                password = self._settings.password
                await client.login(
                    self._settings.username, password.get_secret_value() if password else ""
                )
        except SMTPAuthenticationError as error:
            raise Unavailable(
                f"the mail server does not accept the name or password ({error.code})",
                # 454 and the like are the server's trouble; 535 is ours.
                stops_channel=error.code >= 500,
            ) from None  # the chain would hold the server's echo of what was sent
        except ssl.SSLError as error:
            raise Unavailable(f"TLS failed: {_reason(error)}") from error
        except (SMTPException, OSError) as error:
            raise Unavailable(f"no mail server session: {_reason(error)}") from error

    async def _envelope(self, client: SMTP, recipient: str, size_bytes: int) -> None:
        sender = parse_address(self._settings.sender).addr_spec
        # A server that takes less says so now, and not after megabytes.
        options = [f"SIZE={size_bytes}"] if client.supports_extension("size") else []
        if not (sender + recipient).isascii():
            if not client.supports_extension("smtputf8"):
                raise Refused("the address needs SMTPUTF8, which the mail server does not offer")
            options += ["SMTPUTF8", "BODY=8BITMIME"]
        encoding = "ascii" if (sender + recipient).isascii() else "utf-8"
        try:
            await client.mail(sender, options=options, encoding=encoding)
            await client.rcpt(recipient, encoding=encoding)
        except SMTPResponseException as error:
            raise _answer(error.code, error.message) from error
        except SMTPNotSupported as error:
            raise Refused(_reason(error)) from error
        except (SMTPException, OSError) as error:
            raise Unavailable(f"cut before the message: {_reason(error)}") from error


def message_bytes(notice: Notice, settings: MailSettings) -> bytes:
    """What goes over the wire: a pure function of the frozen notice and our own addresses."""
    try:
        return _signed(_flat(_message(notice, settings)), settings)
    except (ValueError, LookupError, HeaderParseError) as error:
        raise Refused(f"the notice cannot be made into a mail: {error}") from error


def _flat(message: EmailMessage) -> bytes:
    """The library folds a long subject before its first word, which some programs show.

    So a header of ASCII stays one line; encoded words must be short ones (RFC 2047, 2).
    """
    if all(str(value).isascii() for value in message.values()):
        return message.as_bytes(policy=message.policy.clone(max_line_length=998))
    return message.as_bytes()


def _signed(message: bytes, settings: MailSettings) -> bytes:
    """With a DKIM signature in front, when that is configured; the rest stays as it is."""
    if not settings.is_signed or settings.dkim_key is None:
        return message
    signature: bytes = dkim.sign(
        message,
        selector=settings.dkim_selector.encode(),
        domain=settings.dkim_domain.encode("idna"),
        privkey=settings.dkim_key.get_secret_value().encode(),
        canonicalize=(b"relaxed", b"simple"),
        include_headers=SIGNED_HEADERS,
    )
    return signature + message


def message_id(notice: Notice, stage: Stage, settings: MailSettings) -> str:
    """The same for the same letter to the same person: a recovery refers to its opening's."""
    whom = hashlib.sha256(notice.recipient.encode()).hexdigest()[:16]
    reference = re.sub(r"[^A-Za-z0-9-]", "", notice.reference)
    domain = parse_address(settings.sender).domain
    domain = domain if domain.isascii() else domain.encode("idna").decode()
    return f"<{reference}.{stage.lower()}.{whom}@{domain}>"


def _message(notice: Notice, settings: MailSettings) -> EmailMessage:
    recipient = parse_address(notice.recipient)
    sender = parse_address(settings.sender)
    for text in (notice.subject, notice.reference):
        if _CONTROLS.search(text) or "=?" in text:
            raise ValueError("the subject contains control characters or an encoded word")
    in_utf8 = not (sender.addr_spec + recipient.addr_spec).isascii()
    message = EmailMessage(policy=policy.SMTPUTF8 if in_utf8 else policy.SMTP)
    message["From"] = sender
    message["To"] = recipient
    message["Reply-To"] = parse_address(settings.reply_to) if settings.reply_to else sender
    message["Subject"] = notice.subject
    message["Date"] = format_datetime(notice.approved_at or notice.planned_at)
    message["Message-ID"] = message_id(notice, notice.stage, settings)
    if notice.stage in {Stage.RECOVERY, Stage.REMINDER}:
        opening = message_id(notice, Stage.OPENING, settings)
        message["In-Reply-To"] = opening
        message["References"] = opening
    message["Auto-Submitted"] = "auto-generated"
    _fill(message, notice)
    _name_boundaries(message, notice)
    return message


def _fill(message: EmailMessage, notice: Notice) -> None:
    message.set_content(notice.text, cte="quoted-printable")
    files = list(notice.attachments)
    if notice.html is not None:
        message.add_alternative(notice.html, subtype="html", cte="quoted-printable")
        html = message.get_payload(1)
        for image in [file for file in files if f"cid:{file.name}@speedtrap" in notice.html]:
            files.remove(image)
            main, sub = _media_type(image)
            html.add_related(  # type: ignore[union-attr]  # an alternative's parts are messages
                _checked(image),
                maintype=main,
                subtype=sub,
                cid=f"<{image.name}@speedtrap>",
                filename=_file_name(image.name),
                disposition="inline",
            )
    for file in files:
        main, sub = _media_type(file)
        message.add_attachment(
            _checked(file), maintype=main, subtype=sub, filename=_file_name(file.name)
        )


def _checked(file: Attachment) -> bytes:
    content = file.content
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise ValueError(f"{file.name} is not what was frozen")
    return content


def _media_type(file: Attachment) -> tuple[str, str]:
    """No parameter: CPython before 3.11.10 would decode an encoded word in it (CVE-2024-6923)."""
    found = re.fullmatch(
        r"(application|image|text)/([a-z0-9][a-z0-9.+-]{0,60})", file.media_type, re.ASCII
    )
    if found is None:
        raise ValueError("the type of an attachment is not a plain media type")
    return found[1], found[2]


def _file_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise ValueError("an attachment's name is not a plain file name")
    return name


def _name_boundaries(message: EmailMessage, notice: Notice) -> None:
    """The library's boundaries are random; ours follow from the notice."""
    seed = hashlib.sha256(f"{notice.id} {notice.digest} {notice.text}".encode()).hexdigest()[:32]
    for number, part in enumerate(message.walk()):
        if part.is_multipart():
            part.set_boundary(f"=_{seed}.{number}")


async def _ask_for_the_message(client: SMTP) -> None:
    try:
        reply = await client.execute_command(b"DATA")
    except (SMTPException, OSError) as error:
        raise Unavailable(f"cut before the message: {_reason(error)}") from error
    if reply.code != 354:
        raise _answer(reply.code, reply.message)


async def _hand_over(client: SMTP, message: bytes, timeout_s: float, may_send: MaySend) -> str:
    """The message, the final dot, and the reply to it."""
    protocol = client.protocol
    if protocol is None:
        raise Unavailable("cut before the message")
    try:
        # Everything but the dot: until that is out, no server may deliver anything.
        async with asyncio.timeout(timeout_s):
            await _flush(client, _dotted(message))
    except (SMTPException, OSError) as error:  # TimeoutError is one
        raise Unavailable(f"cut in the message, before its end: {_reason(error)}") from error
    may_send()
    try:
        # aiosmtplib's own data() does this and the DATA before it in one call, and there a
        # timeout before the 354 and one after the dot look alike.
        protocol.write(FINAL_DOT)
        reply = await protocol.read_response(timeout=timeout_s)
    except (SMTPException, OSError) as error:
        raise Unknown(f"no reply to the message: {_reason(error)}") from error
    text = said(f"{reply.code} {reply.message}")
    if 200 <= reply.code < 300:
        return text
    if 400 <= reply.code < 600:
        raise _answer(reply.code, reply.message)
    raise Unknown(f"the reply to the message makes no sense: {text}")


async def _flush(client: SMTP, data: bytes) -> None:
    """Writes *data* and waits until it has left for the kernel, or the server hung up."""
    protocol, transport = client.protocol, client.transport
    if protocol is None or not isinstance(transport, asyncio.WriteTransport):
        raise SMTPServerDisconnected("no connection")
    protocol.write(data)
    while transport.get_write_buffer_size():
        if transport.is_closing():
            raise SMTPServerDisconnected("the server hung up")
        await asyncio.sleep(FLUSH_POLL_S)


def _dotted(message: bytes) -> bytes:
    """RFC 5321, 4.5.2: a line that starts with a dot gets a second one; a lone dot ends."""
    lines = _LINE_END.split(message.rstrip(b"\r\n"))
    return b"\r\n".join(b"." + line if line[:1] == b"." else line for line in lines) + b"\r\n"


async def _say_goodbye(client: SMTP) -> None:
    """The message is accepted: whatever happens to the QUIT changes nothing."""
    try:
        async with asyncio.timeout(QUIT_TIMEOUT_S):
            await client.quit()
    except (SMTPException, OSError, TimeoutError):
        return


def _hang_up(client: SMTP) -> None:
    """Lets go at once: a polite close of TLS would wait for a server that may be hung."""
    transport = client.transport
    client.close()
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()


def _answer(code: int, message: str) -> ChannelError:
    text = said(f"the mail server said {code} {message}")
    if 500 <= code < 600:
        return Refused(text)
    # 4xx, and whatever is no reply to what was asked: not accepted.
    return Unavailable(text)


def _reason(error: Exception) -> str:
    return said(f"{type(error).__name__}: {error}")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _helo_name(sender: str) -> str:
    """Our domain: looking the machine's own name up can hang, and tells it to the world."""
    domain = parse_address(sender).domain
    return domain if domain.isascii() else domain.encode("idna").decode()


CHANNEL = ChannelKind("mail", MailSettings, Mail)
