"""A signed POST to an address of the subscriber's own: their automation hears first.

The body is JSON. `X-Speedtrap-Signature` is `v1=` and the hex HMAC-SHA256, by the shared secret,
over the timestamp's text, a dot and the body; the timestamp is `X-Speedtrap-Timestamp`, seconds
since the epoch. `Idempotency-Key` is the notice's id: what comes twice is one notice.
"""

import hashlib
import hmac
import ipaddress
import json
import logging
import ssl
import time
from collections.abc import Sequence
from functools import cached_property
from urllib.parse import urlsplit

import httpx
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from speedtrap_bots.channel import Channel, ChannelKind, MaySend
from speedtrap_bots.content import Content
from speedtrap_bots.errors import Refused, Unavailable, Unknown
from speedtrap_bots.letter import note
from speedtrap_bots.model import Breach, Notice, Stage
from speedtrap_bots.settings import EnvironmentSettings

CONNECT_TIMEOUT_S = 8.0
_ENOUGH_BYTES = 1024
TIMESTAMP, SIGNATURE = "X-Speedtrap-Timestamp", "X-Speedtrap-Signature"

# They write addresses and headers, and an address may hold a token.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class WebhookSettings(EnvironmentSettings):
    """`SPEEDTRAP_BOTS_WEBHOOK_<NAME>`. Notices are posted when URL and SECRET are set."""

    model_config = SettingsConfigDict(env_prefix="SPEEDTRAP_BOTS_WEBHOOK_")

    url: SecretStr | None = Field(
        default=None, description="Where to post; https, or http to this machine itself."
    )
    secret: SecretStr | None = Field(
        default=None, description="Shared with the receiver, who checks the signature with it."
    )
    timeout_s: float = Field(default=15.0, gt=0, le=60, description="Wait for the answer.")

    @field_validator("url")
    @classmethod
    def _is_safe(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        parts = urlsplit(value.get_secret_value())
        local = parts.scheme == "http" and _is_loopback(parts.hostname or "")
        if not parts.hostname or not (parts.scheme == "https" or local):
            raise ValueError("must be an https address, or http to a loopback one")
        return value

    @field_validator("secret")
    @classmethod
    def _is_long(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 16:
            raise ValueError("must have at least 16 characters")
        return value


class Webhook(Channel):
    """Posts notices as JSON."""

    name = "webhook"
    drafts = False

    def __init__(self, settings: WebhookSettings) -> None:
        self._settings = settings

    @property
    def recipient(self) -> str:
        """The address's host: its path may be the receiver's secret."""
        s = self._settings
        return urlsplit(s.url.get_secret_value()).hostname or "" if s.url and s.secret else ""

    @property
    def timeout_s(self) -> float:
        return CONNECT_TIMEOUT_S + self._settings.timeout_s + 1

    def write(self, breach: Breach, stage: Stage, covered: Sequence[Breach] = ()) -> Content:
        del covered
        return note(breach, stage)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Made once: reading the authorities takes longer than a delivery."""
        return httpx.create_ssl_context()

    async def deliver(self, notice: Notice, may_send: MaySend) -> str:
        return await self._post(body_of(notice), notice.id, may_send)

    async def test(self) -> str:
        body = json.dumps({"stage": "TEST", "text": "This is the test you asked for."}).encode()
        return f"posted to {self.recipient}: {await self._post(body, 'test', lambda: None)}"

    async def _post(self, body: bytes, key: str, may_send: MaySend) -> str:
        s = self._settings
        if s.url is None or s.secret is None:
            raise Refused("the webhook is not configured: set SPEEDTRAP_BOTS_WEBHOOK_URL, _SECRET")
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": key,
            "Accept-Encoding": "identity",
        }
        headers |= signed(body, s.secret.get_secret_value(), int(time.time()))
        timeout = httpx.Timeout(s.timeout_s, connect=CONNECT_TIMEOUT_S)
        may_send()
        try:
            async with (
                httpx.AsyncClient(
                    timeout=timeout, follow_redirects=False, verify=self._tls
                ) as client,
                client.stream(
                    "POST", s.url.get_secret_value(), content=body, headers=headers
                ) as answer,
            ):
                return _verdict(answer, await _beginning(answer))
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Unavailable(f"the webhook cannot be reached ({type(error).__name__})") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:  # of an odd Location, too
            raise Unknown(f"no clear answer from the webhook ({type(error).__name__})") from None


def body_of(notice: Notice) -> bytes:
    """The notice as JSON; the same notice gives the same bytes."""
    document = {
        "id": notice.id,
        "stage": notice.stage,
        "reference": notice.reference,
        "subject": notice.subject,
        "text": notice.text,
        "digest": notice.digest,
        "plannedAt": notice.planned_at.isoformat(),
        "attachments": [
            {
                "name": file.name,
                "mediaType": file.media_type,
                "sha256": file.sha256,
                "contentBase64": file.content_base64,
            }
            for file in notice.attachments
        ],
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def signed(body: bytes, secret: str, timestamp_s: int) -> dict[str, str]:
    """The two headers by which the receiver knows whose this is, and how old."""
    signature = hmac.new(secret.encode(), f"{timestamp_s}.".encode() + body, hashlib.sha256)
    return {TIMESTAMP: str(timestamp_s), SIGNATURE: f"v1={signature.hexdigest()}"}


async def _beginning(answer: httpx.Response) -> bytes:
    """Enough of the body to tell what it is; the rest is not waited for. Nothing is unpacked: of a
    few kilobytes a hostile receiver makes megabytes.
    """
    async for part in answer.aiter_raw(_ENOUGH_BYTES):
        return part
    return b""


def _verdict(answer: httpx.Response, beginning: bytes) -> str:
    status = answer.status_code
    said = f"the webhook answered {status}"
    is_page = beginning.lstrip()[:20].lower().startswith((b"<!doctype", b"<html"))
    if answer.is_success and is_page and "html" in answer.headers.get("content-type", ""):
        raise Unavailable(f"{said} with an HTML page, as a login in front of it does")
    if answer.is_success:
        return said
    if status in {401, 403}:
        raise Unavailable(f"{said}: it does not take our signature", stops_channel=True)
    if status == 429 or status >= 500:
        # Whoever answers so has not taken it, and tells a second one by its Idempotency-Key.
        asked = answer.headers.get("retry-after", "")
        raise Unavailable(said, retry_after_s=float(asked) if asked.isdigit() else None)
    raise Refused(said)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


CHANNEL = ChannelKind("webhook", WebhookSettings, Webhook)
