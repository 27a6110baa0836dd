"""The newest run of every probe as MQTT messages, which Home Assistant finds by itself.

    speedtrap/status                `online` or, left behind as the last will, `offline`
    speedtrap/<probe>/state         retained: outcome, start, and the best figures
    speedtrap/<probe>/<tool>/state  retained: that tool's figures, or why it has none
    speedtrap/<probe>/run           every run as in the NDJSON export, late ones too; not retained
    homeassistant/sensor/…/config   retained: what Home Assistant calls discovery

What was not measured is null, which Home Assistant shows as unknown. A run that comes late is told
under `run` and leaves the states alone: they are those of the newest.
"""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from speedtrap_graph.exporters import ExporterKind, secret_in
from speedtrap_graph.rules.model import FailureKind, Metric, Outcome
from speedtrap_graph.services.judging.readings import FIGURE_KEYS
from speedtrap_graph.services.read.runs_export import named
from speedtrap_graph.services.upkeep.pump import NotTakenError
from speedtrap_graph.store.database import Row

if TYPE_CHECKING:
    from aiomqtt import Client, MqttError

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_LOGIN_REFUSED = frozenset({134, 135})
"""Bad user name or password; not authorized."""
_QOS = 1

Payload = dict[str, Any]


class MqttSettings(BaseSettings):
    """`SPEEDTRAP_GRAPH_MQTT_<NAME>`. Runs are published when URL is set."""

    model_config = SettingsConfigDict(
        env_prefix="SPEEDTRAP_GRAPH_", frozen=True, hide_input_in_errors=True
    )
    mqtt_url: str = ""
    mqtt_username: str = ""
    mqtt_password: SecretStr = SecretStr("")
    mqtt_password_file: Path | None = None
    mqtt_ca_file: Path | None = None
    mqtt_topic: str = Field("speedtrap", pattern=r"^[A-Za-z0-9_-]{1,40}$")
    mqtt_discovery_topic: str = Field("homeassistant", pattern=r"^[A-Za-z0-9_/-]{0,60}$")
    mqtt_expire_after_s: int = Field(86_400, ge=0)
    mqtt_timeout_s: float = Field(10.0, gt=0, le=60)

    @property
    def password(self) -> str | None:
        if self.mqtt_password_file is not None:
            return secret_in(self.mqtt_password_file, "MQTT_PASSWORD_FILE")
        return self.mqtt_password.get_secret_value() or None

    @property
    def tls(self) -> ssl.SSLContext | None:
        if urlsplit(self.mqtt_url).scheme == "mqtt":
            return None
        return ssl.create_default_context(cafile=self.mqtt_ca_file)

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.mqtt_url)
        return parts.hostname or "", parts.port or _PORTS[parts.scheme]

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if not self.mqtt_url:
            return self
        parts = urlsplit(self.mqtt_url)
        if parts.scheme not in _PORTS or not parts.hostname or parts.username or parts.path:
            raise ValueError(
                "SPEEDTRAP_GRAPH_MQTT_URL must be mqtt://host or mqtts://host, with a port unless "
                "it is 1883 or 8883, and without a login"
            )
        for name, file in (("PASSWORD", self.mqtt_password_file), ("CA", self.mqtt_ca_file)):
            if file is not None and not file.is_file():
                raise ValueError(f"SPEEDTRAP_GRAPH_MQTT_{name}_FILE: there is no file {file}")
        try:
            _ = self.tls, self.address
        except (OSError, ValueError) as error:
            raise ValueError(
                f"SPEEDTRAP_GRAPH_MQTT_CA_FILE or _URL cannot be used: {error}"
            ) from None
        if find_spec("aiomqtt") is None:
            raise ValueError(
                "SPEEDTRAP_GRAPH_MQTT_URL needs aiomqtt: pip install 'speedtrap-graph[mqtt]'"
            )
        return self


@dataclass(frozen=True)
class Mqtt:
    """`known` is the newest run of each probe: a broker that forgot is told again."""

    settings: MqttSettings
    name: str = "mqtt"
    known: dict[str, Row] = field(default_factory=dict)

    @property
    def identifier(self) -> str:
        return f"speedtrap-{self.settings.mqtt_topic}"

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator["_Publisher"]:
        # An extra: whoever exports nothing by MQTT need not have it.
        from aiomqtt import MqttError  # noqa: PLC0415 - for that reason

        try:
            async with self._client() as client:
                listening = asyncio.create_task(_until_lost(client))
                publisher = _Publisher(client, self.settings, self.known, listening)
                try:
                    await publisher.begin()
                    yield publisher
                finally:
                    try:
                        # The last will is for those who can no longer say good-bye.
                        with contextlib.suppress(MqttError):
                            await publisher.end()
                    finally:
                        listening.cancel()
                        await asyncio.gather(listening, return_exceptions=True)
        except MqttError as error:
            raise NotTakenError(_told(error)) from None

    def _client(self) -> "Client":
        from aiomqtt import Client, Will  # noqa: PLC0415 - as above

        s = self.settings
        host, port = s.address
        return Client(
            host,
            port,
            username=s.mqtt_username or None,
            password=s.password,
            # One for all copies: a broker that sees it again ends the session of the copy before,
            # whose will can then not come after our `online`.
            identifier=self.identifier,
            will=Will(_status(s), "offline", _QOS, retain=True),
            tls_context=s.tls,
            timeout=s.mqtt_timeout_s,
        )


@dataclass(frozen=True)
class _Publisher:
    """`announced`: the discovery that this connection has carried, by topic."""

    client: "Client"
    settings: MqttSettings
    known: dict[str, Row]
    listening: asyncio.Task[None]
    announced: dict[str, str] = field(default_factory=dict)

    async def begin(self) -> None:
        await self._publish(_status(self.settings), "online", retain=True)
        for run in list(self.known.values()):
            await self._show(run)

    async def end(self) -> None:
        await self._publish(_status(self.settings), "offline", retain=True)

    async def send(self, runs: Sequence[Row], newest: Mapping[str, datetime]) -> None:
        if self.listening.done():
            raise NotTakenError("the connection to the broker was lost")
        for run in runs:
            told = json.dumps(named(run), ensure_ascii=False, separators=(",", ":"))
            await self._publish(f"{self.settings.mqtt_topic}/{run['probe']}/run", told)
        for run in _newest(runs, newest):
            await self._show(run)
            self.known[run["probe"]] = run

    async def _show(self, run: Row) -> None:
        if self.settings.mqtt_discovery_topic:
            for topic, config in configs(run, self.settings):
                payload = json.dumps(config, ensure_ascii=False)
                if self.announced.get(topic) != payload:
                    await self._publish(topic, payload, retain=True)
                    self.announced[topic] = payload
        for topic, state in states(run, self.settings):
            await self._publish(topic, json.dumps(state), retain=True)

    async def _publish(self, topic: str, payload: str, *, retain: bool = False) -> None:
        """Returns once the broker has it."""
        await self.client.publish(topic, payload, qos=_QOS, retain=retain)


@dataclass(frozen=True, slots=True)
class _Kind:
    """How Home Assistant is to show a figure. Its units are those of the device class."""

    name: str
    unit: str
    device_class: str | None
    factor: float = 1.0


_KINDS = {
    Metric.DOWNLOAD: _Kind("download", "Mbit/s", "data_rate"),
    Metric.UPLOAD: _Kind("upload", "Mbit/s", "data_rate"),
    Metric.LATENCY: _Kind("latency", "ms", "duration"),
    Metric.JITTER: _Kind("jitter", "ms", "duration"),
    Metric.PACKET_LOSS: _Kind("packet loss", "%", None, factor=100.0),
    Metric.LOADED_LATENCY_DOWN: _Kind("latency during download", "ms", "duration"),
    Metric.LOADED_LATENCY_UP: _Kind("latency during upload", "ms", "duration"),
}
_OUTCOMES = [outcome.value.lower() for outcome in Outcome]
_RESULTS = ["measured", *(kind.value.lower() for kind in FailureKind)]


def states(run: Row, settings: MqttSettings) -> Iterator[tuple[str, Payload]]:
    """The topics of the line and of each tool, and what they say of *run*."""
    base = f"{settings.mqtt_topic}/{run['probe']}"
    yield (
        f"{base}/state",
        {
            "outcome": run["outcome"].lower(),
            "started_at": run["started_at"].isoformat(),
            **_state(_best(run)),
        },
    )
    for part in run["measurements"]:
        failure = part.get("failure")
        result = "measured" if not failure else failure["kind"].lower()
        yield f"{base}/{part['tool']}/state", {"result": result, **_state(_figures(part))}


def configs(run: Row, settings: MqttSettings) -> Iterator[tuple[str, Payload]]:
    """Home Assistant's discovery of what *run* shows."""
    base = f"{settings.mqtt_topic}/{run['probe']}"
    found = _Discovery(settings, run["probe"])
    yield found.sensor(f"{base}/state", "", "outcome", _enum(_OUTCOMES))
    at = {"device_class": "timestamp"}
    yield found.sensor(f"{base}/state", "", "started_at", at, "newest run")
    yield from found.figures(f"{base}/state", "", _best(run))
    for part in run["measurements"]:
        topic = f"{base}/{part['tool']}/state"
        yield found.sensor(topic, part["tool"], "result", _enum(_RESULTS))
        yield from found.figures(topic, part["tool"], _figures(part))


def _best(run: Row) -> dict[Metric, float]:
    return {Metric(name): value for name, value in run.get("best", {}).items()}


def _figures(measurement: Mapping[str, Any]) -> dict[Metric, float]:
    return {metric: measurement[key] for metric, key in FIGURE_KEYS.items() if key in measurement}


@dataclass(frozen=True)
class _Discovery:
    settings: MqttSettings
    probe: str

    def figures(
        self, topic: str, tool: str, figures: Mapping[Metric, float]
    ) -> Iterator[tuple[str, Payload]]:
        """Of what has been measured: a figure that a tool never gives is no sensor."""
        for metric, kind in _KINDS.items():
            if metric in figures:
                shown: Payload = {
                    "unit_of_measurement": kind.unit,
                    "state_class": "measurement",
                    "suggested_display_precision": 1,
                }
                if kind.device_class is not None:
                    shown["device_class"] = kind.device_class
                yield self.sensor(topic, tool, _key(metric), shown, kind.name)

    def sensor(
        self, topic: str, tool: str, key: str, shown: Payload, name: str = ""
    ) -> tuple[str, Payload]:
        s, probe = self.settings, self.probe
        device = f"{s.mqtt_topic}_{_id(probe)}"
        entity = f"{_id(tool)}-{key}" if tool else key
        payload = {
            "name": f"{tool} {name or key}".strip(),
            "unique_id": f"{device}-{entity}",
            "state_topic": topic,
            # Null is written as None, which Home Assistant takes for unknown.
            "value_template": f"{{{{ value_json.{key} }}}}",
            "availability": [{"topic": _status(s)}],
            "qos": _QOS,
            "device": {
                "identifiers": [device],
                "name": f"speedtrap {probe}",
                "manufacturer": "speedtrap",
                "model": "probe",
            },
            "origin": {"name": "speedtrap", "sw_version": version("speedtrap-graph")},
            **shown,
        }
        if s.mqtt_expire_after_s:
            payload["expire_after"] = s.mqtt_expire_after_s
        return f"{s.mqtt_discovery_topic}/sensor/{device}/{entity}/config", payload


def _enum(options: Sequence[str]) -> Payload:
    return {"device_class": "enum", "options": list(options)}


def _state(figures: Mapping[Metric, float]) -> Payload:
    """Every figure: one that is left out would stay what it was in Home Assistant."""
    return {
        _key(metric): None if (value := figures.get(metric)) is None else value * kind.factor
        for metric, kind in _KINDS.items()
    }


def _key(metric: Metric) -> str:
    return "packet_loss_percent" if metric is Metric.PACKET_LOSS else FIGURE_KEYS[metric]


def _id(name: str) -> str:
    """Discovery's ids have no dots; two names never become one."""
    return name.replace("_", "__").replace(".", "_d")


def _newest(runs: Sequence[Row], newest: Mapping[str, datetime]) -> list[Row]:
    """One a probe at most, and none that came late."""
    found: dict[str, Row] = {}
    for run in sorted(runs, key=lambda run: (run["started_at"], run["_id"])):
        if run["started_at"] >= newest.get(run["probe"], run["started_at"]):
            found[run["probe"]] = run
    return list(found.values())


def _status(settings: MqttSettings) -> str:
    return f"{settings.mqtt_topic}/status"


async def _until_lost(client: "Client") -> None:
    """Ends with the connection, at once and not with the next run."""
    async for _ in client.messages:
        pass


def _told(error: "MqttError") -> str:
    code = getattr(getattr(error, "rc", None), "value", None)
    if code in _LOGIN_REFUSED:
        return "the broker refuses the login: look at MQTT_USERNAME and MQTT_PASSWORD"
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return f"the broker's certificate is not to be trusted, or MQTT_CA_FILE is wrong ({error})"
    return f"no broker ({error})"


def _make(settings: MqttSettings) -> Mqtt | None:
    return Mqtt(settings) if settings.mqtt_url else None


EXPORTER = ExporterKind("mqtt", MqttSettings, _make)
