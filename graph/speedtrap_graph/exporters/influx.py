"""Every run as InfluxDB line protocol, by the v2 write API (VictoriaMetrics takes it too).

Two measurements, at the moment the run started, in milliseconds: `speedtrap_run` (tag `probe`; the
best figures, the outcome and the run's id) and `speedtrap_measurement` (tags `probe` and `tool`).
What was not measured is no field. The same run written twice is the same points.
"""

import contextlib
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import httpx
from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from speedtrap_graph.exporters import ExporterKind, post, posting, secret_in
from speedtrap_graph.rules.model import Metric
from speedtrap_graph.services.judging.readings import FIGURE_KEYS
from speedtrap_graph.services.upkeep.pump import NotTakenError, RefusedRunError
from speedtrap_graph.store.database import Row

_WRITTEN = 204
"""Nothing else is a success: a login page in front of it answers 200."""
_REFUSED = frozenset({400, 413, 422})
_IN_KEYS = re.compile(r"[,= ]")
_IN_STRINGS = re.compile(r'["\\]')
_LINE_BREAKS = re.compile(r"[\r\n]+")


class InfluxSettings(BaseSettings):
    """`SPEEDTRAP_GRAPH_INFLUX_<NAME>`. Runs are written when URL is set."""

    model_config = SettingsConfigDict(
        env_prefix="SPEEDTRAP_GRAPH_", frozen=True, hide_input_in_errors=True
    )
    influx_url: str = ""
    influx_token: SecretStr = SecretStr("")
    influx_token_file: Path | None = None
    influx_org: str = ""
    influx_bucket: str = ""
    influx_timeout_s: float = Field(10.0, gt=0, le=60)

    @property
    def token(self) -> str:
        if self.influx_token_file is not None:
            return secret_in(self.influx_token_file, "INFLUX_TOKEN_FILE")
        return self.influx_token.get_secret_value()

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if not self.influx_url:
            return self
        parts = urlsplit(self.influx_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
            raise ValueError(
                "SPEEDTRAP_GRAPH_INFLUX_URL must be an http or https address without a login"
            )
        if not self.influx_bucket:
            raise ValueError("SPEEDTRAP_GRAPH_INFLUX_BUCKET is not set")
        file = self.influx_token_file
        if file is not None and not file.is_file():
            raise ValueError(f"SPEEDTRAP_GRAPH_INFLUX_TOKEN_FILE: there is no file {file}")
        return self


@dataclass(frozen=True)
class Influx:
    settings: InfluxSettings
    name: str = "influx"

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator["_Writer"]:
        token = self.settings.token
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        if token:
            headers["Authorization"] = f"Token {token}"
        async with posting(self.settings.influx_timeout_s, headers) as client:
            yield _Writer(client, self.settings)


@dataclass(frozen=True)
class _Writer:
    client: httpx.AsyncClient
    settings: InfluxSettings

    async def send(self, runs: Sequence[Row], newest: Mapping[str, datetime]) -> None:
        del newest
        if not runs:
            return
        s = self.settings
        params = {"org": s.influx_org, "bucket": s.influx_bucket, "precision": "ms"}
        body = "".join(f"{line}\n" for run in runs for line in lines_of(run))
        url = s.influx_url.rstrip("/") + "/api/v2/write"
        answer = await post(self.client, url, body.encode(), s.influx_timeout_s, params=params)
        if answer.status == _WRITTEN:
            return
        words = answer.words([s.token])
        if answer.status in _REFUSED:
            raise RefusedRunError(words)
        if answer.status < 300:
            raise NotTakenError(f"{words}, where a write is answered by {_WRITTEN}")
        raise NotTakenError(words)


def lines_of(run: Row) -> Iterator[str]:
    """The run's lines, without line ends."""
    at_ms = round(run["started_at"].timestamp() * 1000)
    best = run.get("best", {})
    figures = {FIGURE_KEYS[Metric(name)]: value for name, value in best.items()}
    told = {"outcome": run["outcome"], "run_id": str(run["_id"])}
    yield _line("speedtrap_run", {"probe": run["probe"]}, {**figures, **told}, at_ms)
    for part in run["measurements"]:
        fields: dict[str, float | str] = {
            key: part[key] for key in FIGURE_KEYS.values() if part.get(key) is not None
        }
        fields["duration_s"] = part["duration_s"]
        if part.get("failure"):
            fields["failure"] = part["failure"]["kind"]
        tags = {"probe": run["probe"], "tool": part["tool"]}
        yield _line("speedtrap_measurement", tags, fields, at_ms)


def _line(
    measurement: str, tags: Mapping[str, str], fields: Mapping[str, float | str], at_ms: int
) -> str:
    head = ",".join([measurement, *(f"{key}={_key(value)}" for key, value in tags.items())])
    return f"{head} {','.join(f'{key}={_field(value)}' for key, value in fields.items())} {at_ms}"


def _key(text: str) -> str:
    """A tag's value: commas, equals signs and spaces escaped; none may end in a backslash."""
    one_line = _LINE_BREAKS.sub(" ", text).rstrip("\\")
    return _IN_KEYS.sub(lambda found: f"\\{found[0]}", one_line)


def _field(value: float | str) -> str:
    """Every number as a float: a field that is once an integer must be so for ever."""
    if isinstance(value, str):
        escaped = _IN_STRINGS.sub(lambda found: f"\\{found[0]}", value)
        return f'"{escaped}"'
    return repr(float(value))


def _make(settings: InfluxSettings) -> Influx | None:
    return Influx(settings) if settings.influx_url else None


EXPORTER = ExporterKind("influx", InfluxSettings, _make)
