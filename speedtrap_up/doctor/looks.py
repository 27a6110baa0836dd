"""Looks at one thing each and says what it found. None sends anything to anybody, none raises."""

import shutil
import smtplib
import socket
import ssl
import stat
import struct
import time
from pathlib import Path

from speedtrap_bots.channels.mail import MailSettings
from speedtrap_bots.channels.twitter import TwitterSettings
from speedtrap_graph import commands
from speedtrap_graph.http import keyfile
from speedtrap_graph.settings import StoreSettings
from speedtrap_graph.store.database import Store

from speedtrap_up.doctor import checks
from speedtrap_up.doctor.checks import Finding, State

WITHIN_S = 8.0
_NTP_EPOCH_S = 2_208_988_800
"""NTP counts from 1900, Unix from 1970 (RFC 5905)."""


def keys(file: Path) -> Finding:
    try:
        roles = [entry.role for entry in keyfile.read(file)]
        mode = file.stat().st_mode if file.exists() else 0
    except (keyfile.KeyFileError, OSError) as error:
        return Finding("keys", State.BAD, str(error), "mend that line, or make the key anew")
    return checks.keys(str(file), roles, readable_by_others=bool(mode & stat.S_IRWXO))


def clock(server: str, port: int) -> Finding:
    """One SNTP question (RFC 5905); the way there and back is taken for equally long."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(server, port, type=socket.SOCK_DGRAM)[
            0
        ]
        with socket.socket(family, kind, proto) as asking:
            asking.settimeout(WITHIN_S)
            asked = time.time()
            asking.sendto(b"\x1b" + bytes(47), address)
            answer = asking.recv(512)
            now = time.time()
        seconds, fraction = struct.unpack("!II", answer[40:48])
    except (OSError, UnicodeError, struct.error) as error:
        advice = "allow UDP port 123, or name a server that answers: --time-server HOST"
        return Finding("clock", State.WARN, f"{server} does not tell: {_why(error)}", advice)
    told = seconds - _NTP_EPOCH_S + fraction / 2**32
    return checks.clock((asked + now) / 2 - told)


def names(host: str) -> Finding:
    try:
        found = sorted({str(entry[4][0]) for entry in socket.getaddrinfo(host, None)})
    except (OSError, UnicodeError) as error:
        advice = "look at /etc/resolv.conf, or at the name's record where you bought it"
        return Finding("dns", State.BAD, f"{host} has no address: {_why(error)}", advice)
    return Finding("dns", State.OK, f"{host} is {', '.join(found)}")


def certificate(host: str, port: int, ca_file: Path | None = None) -> Finding:
    try:
        trusted = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
        with (
            socket.create_connection((host, port), WITHIN_S) as plain,
            trusted.wrap_socket(plain, server_hostname=host) as secured,
        ):
            until = str((secured.getpeercert() or {})["notAfter"])
    except ssl.SSLCertVerificationError as error:
        advice = "see what renews it: docker compose logs certbot"
        why = error.verify_message
        return Finding("tls", State.BAD, f"the certificate of {host} is not valid: {why}", advice)
    except (OSError, UnicodeError) as error:
        advice = "is the gateway up, and is the port open? docker compose ps"
        return Finding("tls", State.BAD, f"{host}:{port} speaks no TLS: {_why(error)}", advice)
    return checks.certificate(host, (ssl.cert_time_to_seconds(until) - time.time()) / 86_400)


def database(settings: StoreSettings) -> Finding:
    began = time.monotonic()
    try:
        commands.with_store(settings, Store.ping)
    except commands.CareError as error:
        advice = "is it up? speedtrap up, or docker compose logs db"
        return Finding("db", State.BAD, str(error), advice)
    taken_ms = 1000 * (time.monotonic() - began)
    return Finding("db", State.OK, f"{settings.database} answers in {taken_ms:.0f} ms")


def mail(settings: MailSettings) -> Finding:
    """As far as the login; no message is begun."""
    if not settings.host:
        return Finding("smtp", State.OK, "off: SPEEDTRAP_BOTS_MAIL_HOST is not set")
    missing = _missing_for_mail(settings)
    if missing:
        advice = "mail stays off until it is set"
        return Finding("smtp", State.BAD, f"not set: SPEEDTRAP_BOTS_MAIL_{missing}", advice)
    return _mail_server(settings)


def _mail_server(settings: MailSettings) -> Finding:
    port = settings.port or {"starttls": 587, "implicit": 465, "none": 25}[settings.tls]
    where = f"{settings.host}:{port}"
    try:
        _greet(settings, port)
    except ssl.SSLCertVerificationError as error:
        advice = "name the server as its certificate does, or trust it: SPEEDTRAP_BOTS_MAIL_CA_FILE"
        why = error.verify_message
        return Finding("smtp", State.BAD, f"the certificate of {where} is not valid: {why}", advice)
    except smtplib.SMTPAuthenticationError as error:
        advice = "look at SPEEDTRAP_BOTS_MAIL_USERNAME and _PASSWORD; some want an app password"
        return Finding("smtp", State.BAD, f"{where} refuses the login ({error.smtp_code})", advice)
    except smtplib.SMTPNotSupportedError as error:
        advice = "try SPEEDTRAP_BOTS_MAIL_TLS=implicit with port 465"
        return Finding("smtp", State.BAD, f"{where}: {error}", advice)
    except (OSError, UnicodeError, smtplib.SMTPException) as error:
        advice = "look at SPEEDTRAP_BOTS_MAIL_HOST and _PORT; many lines block port 25"
        return Finding("smtp", State.BAD, f"{where} does not answer: {_why(error)}", advice)
    login = " and takes the login" if settings.username else ""
    return Finding("smtp", State.OK, f"{where} answers{login}")


def _missing_for_mail(settings: MailSettings) -> str:
    if settings.username and settings.password is None:
        return "PASSWORD"
    needed = {"FROM": settings.sender, "TO": settings.recipient}
    return ", ".join(name for name, value in needed.items() if not value)


def _greet(settings: MailSettings, port: int) -> None:
    ca_file = None if settings.ca_file is None else str(settings.ca_file)
    trusted = ssl.create_default_context(cafile=ca_file)
    if settings.tls == "implicit":
        opened: smtplib.SMTP = smtplib.SMTP_SSL(
            settings.host, port, timeout=WITHIN_S, context=trusted
        )
    else:
        opened = smtplib.SMTP(settings.host, port, timeout=WITHIN_S)
    with opened as server:
        if settings.tls == "starttls":
            server.starttls(context=trusted)
        if settings.username and settings.password is not None:
            server.login(settings.username, settings.password.get_secret_value())


def x(settings: TwitterSettings, host: str = "api.x.com", port: int = 443) -> Finding:
    """Whether posting could work; nothing is posted, and no key leaves the house."""
    if not settings.enabled:
        return Finding("x", State.OK, "off: SPEEDTRAP_BOTS_TWITTER_ENABLED is not true")
    every = ("consumer_key", "consumer_secret", "access_token", "access_token_secret")
    missing = [name for name in every if not getattr(settings, name)]
    if missing:
        named = ", ".join(f"SPEEDTRAP_BOTS_TWITTER_{name.upper()}" for name in missing)
        advice = "all four are on the app's page at X, under keys and tokens"
        return Finding("x", State.BAD, f"not set: {named}", advice)
    reached = certificate(host, port)
    if reached.state is State.BAD:
        return Finding("x", State.BAD, reached.text, "can this machine reach the internet?")
    return Finding("x", State.OK, f"{host} answers; all four keys are set")


def disk(folder: Path) -> Finding:
    there = next(part for part in (folder, *folder.parents) if part.exists())
    usage = shutil.disk_usage(there)
    return checks.disk(str(folder), usage.free, usage.total)


def _why(error: BaseException) -> str:
    """Without arguments that might hold what was sent."""
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    if isinstance(error, UnicodeError):
        return "that is no name of a machine"
    return type(error).__name__
