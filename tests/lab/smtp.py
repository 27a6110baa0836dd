"""A real SMTP server (aiosmtpd) with TLS and AUTH that keeps what it gets, and fails on demand."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, AnyStr, Literal, cast

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USERNAME, PASSWORD = "subscriber", "planted-smtp-password"

Fault = Literal[
    "",
    "greylisted",  # 451 to RCPT
    "unknown recipient",  # 550 to RCPT
    "content refused",  # 554 after the final dot
    "busy after the dot",  # 452 after the final dot
    "cut before the message",  # hangs up instead of 354
    "cut after the dot",  # keeps the message and hangs up without a reply
    "silent after the dot",  # keeps the message and never replies
    "cut at quit",  # replies 250, hangs up on QUIT
]


@dataclass(frozen=True)
class Letter:
    """A message as it arrived."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    over_tls: bool
    user: str

    @property
    def message(self) -> EmailMessage:
        message = message_from_bytes(self.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        return message


@dataclass
class SmtpServer:
    """`fault` may be changed at any time; `letters` is what was kept, `commands` what was said."""

    host: str
    port: int
    ca_file: Path
    fault: Fault = ""
    letters: list[Letter] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What a bot needs to send its mail here."""
        return {
            "SPEEDTRAP_BOTS_MAIL_HOST": self.host,
            "SPEEDTRAP_BOTS_MAIL_PORT": str(self.port),
            "SPEEDTRAP_BOTS_MAIL_TLS": "starttls",
            "SPEEDTRAP_BOTS_MAIL_USERNAME": USERNAME,
            "SPEEDTRAP_BOTS_MAIL_PASSWORD": PASSWORD,
            "SPEEDTRAP_BOTS_MAIL_FROM": "Jane Doe <jane@home.example>",
            "SPEEDTRAP_BOTS_MAIL_TO": "support@isp.example",
            "SPEEDTRAP_BOTS_MAIL_CA_FILE": str(self.ca_file),
        }


class _Handler:
    """aiosmtpd's hooks; their names are the library's."""

    def __init__(self, lab: SmtpServer) -> None:
        self._lab = lab

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self._lab.commands.append("RCPT")
        if self._lab.fault == "greylisted":
            return "451 4.7.1 Greylisted, try again later"
        if self._lab.fault == "unknown recipient":
            return "550 5.1.1 No such user here"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        self._lab.commands.append("DATA")
        if self._lab.fault == "content refused":
            return "554 5.7.1 We do not like it"
        if self._lab.fault == "busy after the dot":
            return "452 4.3.1 Out of room, try later"
        self._lab.letters.append(
            Letter(
                sender=str(envelope.mail_from),
                recipients=tuple(envelope.rcpt_tos),
                content=bytes(envelope.original_content or b""),
                over_tls=_socket(server).get_extra_info("sslcontext") is not None,
                user=_user(session),
            )
        )
        if self._lab.fault == "cut after the dot":
            _socket(server).abort()
        if self._lab.fault == "silent after the dot":
            _socket(server).pause_reading()
            return ""
        return f"250 2.0.0 queued as {len(self._lab.letters)}"

    async def handle_QUIT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, _session: Session, _envelope: Envelope
    ) -> str:
        if self._lab.fault == "cut at quit":
            _socket(server).abort()
        return "221 2.0.0 Bye"


class _Smtp(SMTP):
    """aiosmtpd's server, with the two things its hooks cannot do."""

    def __init__(self, lab: SmtpServer, sockets: set[asyncio.Transport], **options: Any) -> None:
        super().__init__(_Handler(lab), **options)
        self._lab = lab
        self._sockets = sockets
        self._mine: list[asyncio.Transport] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._mine.append(cast(asyncio.Transport, transport))
        self._sockets.update(self._mine)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._sockets.difference_update(self._mine)

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        if self._lab.fault == "cut before the message":
            _socket(self).abort()
            return
        await super().smtp_DATA(arg)

    async def push(self, status: AnyStr) -> None:
        if status:
            await super().push(status)


class _Thread(threading.Thread):
    """Runs the server in a loop of its own, so that synchronous tests may use it too.

    aiosmtpd's own controller leaves connections open when it stops.
    """

    def __init__(
        self, lab: SmtpServer, implicit: ssl.SSLContext | None, options: dict[str, Any]
    ) -> None:
        super().__init__(name="smtp", daemon=True)
        self._lab, self._implicit, self._options = lab, implicit, options
        self._ready = threading.Event()
        self._open: set[asyncio.Transport] = set()
        self._error: OSError | None = None

    def run(self) -> None:
        asyncio.run(self._serve())

    def start(self) -> None:
        super().start()
        self._ready.wait()
        if self._error:
            raise self._error

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self.join()

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        try:
            server = await self._loop.create_server(
                lambda: _Smtp(self._lab, self._open, loop=self._loop, **self._options),
                self._lab.host,
                self._lab.port,
                ssl=self._implicit,
            )
        except OSError as error:
            self._error = error
            return
        finally:
            self._ready.set()
        await self._stopping.wait()
        server.close()
        while self._open:
            for transport in tuple(self._open):
                transport.abort()
            await asyncio.sleep(0.005)


@contextmanager
def smtp_server(
    folder: Path,
    port: int,
    *,
    tls: Literal["starttls", "implicit", "none"] = "starttls",
    host: str = "127.0.0.1",
) -> Iterator[SmtpServer]:
    """Serves on *port* of *host* (loopback, or where containers reach it) until the block ends.

    `tls="none"` does not offer STARTTLS: also what a client sees when somebody strips it.
    """
    authority = trustme.CA()
    ca_file = folder / "smtp-ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host, "localhost").configure_cert(context)
    lab = SmtpServer(host=host, port=port, ca_file=ca_file)

    def authenticate(_s: SMTP, _n: Session, _e: Envelope, _m: str, data: object) -> AuthResult:
        lab.commands.append("AUTH")
        right = isinstance(data, LoginPassword) and data == LoginPassword(
            USERNAME.encode(), PASSWORD.encode()
        )
        return AuthResult(success=right, handled=False, auth_data=data)

    thread = _Thread(
        lab,
        context if tls == "implicit" else None,
        {
            "tls_context": context if tls == "starttls" else None,
            "require_starttls": tls == "starttls",
            "auth_require_tls": tls == "starttls",
            "authenticator": authenticate,
            "enable_SMTPUTF8": True,
            "hostname": "mx.isp.example",
        },
    )
    thread.start()
    try:
        yield lab
    finally:
        thread.stop()


def _socket(server: SMTP) -> asyncio.Transport:
    return cast(asyncio.Transport, server.transport)


def _user(session: Session) -> str:
    login: bytes = getattr(session.auth_data, "login", b"")
    return login.decode()
