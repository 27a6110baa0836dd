"""Every run as a signed POST, in the bots' format.

The body is the run as JSON, named as in the schema. `X-Speedtrap-Signature` is `v1=` and the hex
HMAC-SHA256, by the shared secret, over the timestamp's text, a dot and the body; the timestamp is
`X-Speedtrap-Timestamp`, seconds since the epoch. `Idempotency-Key` is the run's id: what comes
twice is one run.
"""

import contextlib
import hashlib
import hmac
import ipaddress
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import httpx
from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from speedtrap_graph.exporters import ExporterKind, post, posting, secret_in
from speedtrap_graph.services.read.runs_export import named
from speedtrap_graph.services.upkeep.pump import NotTakenError, RefusedRunError
from speedtrap_graph.store.database import Row

_REFUSED = frozenset({400, 413, 422})
"""About this body. Any other status may be different for the same run later."""

# They write addresses, and an address may hold a token.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class WebhookSettings(BaseSettings):
    """`SPEEDTRAP_GRAPH_WEBHOOK_<NAME>`. Runs are posted when URL and SECRET are set."""

    model_config = SettingsConfigDict(
        env_prefix="SPEEDTRAP_GRAPH_", frozen=True, hide_input_in_errors=True
    )
    webhook_url: SecretStr = SecretStr("")
    webhook_url_file: Path | None = None
    webhook_secret: SecretStr = SecretStr("")
    webhook_secret_file: Path | None = None
    webhook_timeout_s: float = Field(10.0, gt=0, le=60)

    @property
    def url(self) -> str:
        return _given(self.webhook_url, self.webhook_url_file, "WEBHOOK_URL_FILE")

    @property
    def secret(self) -> str:
        return _given(self.webhook_secret, self.webhook_secret_file, "WEBHOOK_SECRET_FILE")

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        files = {"URL": self.webhook_url_file, "SECRET": self.webhook_secret_file}
        for name, file in files.items():
            if file is not None and not file.is_file():
                raise ValueError(f"SPEEDTRAP_GRAPH_WEBHOOK_{name}_FILE: there is no file {file}")
        if not self.url:
            return self
        parts = urlsplit(self.url)
        local = parts.scheme == "http" and _is_loopback(parts.hostname or "")
        if not parts.hostname or not (parts.scheme == "https" or local):
            raise ValueError(
                "SPEEDTRAP_GRAPH_WEBHOOK_URL must be an https address, or http to a loopback one"
            )
        if len(self.secret) < 16:
            raise ValueError("SPEEDTRAP_GRAPH_WEBHOOK_SECRET must have at least 16 characters")
        return self


@dataclass(frozen=True)
class Webhook:
    settings: WebhookSettings
    name: str = "webhook"

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator["_Post"]:
        async with posting(self.settings.webhook_timeout_s) as client:
            yield _Post(client, self.settings)


@dataclass(frozen=True)
class _Post:
    client: httpx.AsyncClient
    settings: WebhookSettings

    async def send(self, runs: Sequence[Row], newest: Mapping[str, datetime]) -> None:
        del newest
        for run in runs:
            await self._post(run)

    async def _post(self, run: Row) -> None:
        body = json.dumps(named(run), ensure_ascii=False, separators=(",", ":")).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": str(run["_id"])}
        headers |= signed(body, self.settings.secret, int(time.time()))
        url, timeout_s = self.settings.url, self.settings.webhook_timeout_s
        answer = await post(self.client, url, body, timeout_s, headers=headers)
        if 200 <= answer.status < 300 and not answer.is_page:
            return
        parts = urlsplit(url)
        secrets = [part for part in (url, parts.path, parts.query) if len(part) > 1]
        if answer.status in _REFUSED:
            raise RefusedRunError(answer.words(secrets))
        raise NotTakenError(answer.words(secrets))


def signed(body: bytes, secret: str, timestamp_s: int) -> dict[str, str]:
    """The two headers by which the receiver knows whose this is, and how old."""
    signature = hmac.new(secret.encode(), f"{timestamp_s}.".encode() + body, hashlib.sha256)
    return {
        "X-Speedtrap-Timestamp": str(timestamp_s),
        "X-Speedtrap-Signature": f"v1={signature.hexdigest()}",
    }


def _given(value: SecretStr, file: Path | None, setting: str) -> str:
    return secret_in(file, setting) if file else value.get_secret_value()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _make(settings: WebhookSettings) -> Webhook | None:
    return Webhook(settings) if settings.url else None


EXPORTER = ExporterKind("webhook", WebhookSettings, _make)
