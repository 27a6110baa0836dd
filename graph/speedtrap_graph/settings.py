"""The settings of graph: `SPEEDTRAP_GRAPH_<NAME>`, or `<NAME>_FILE` for what is secret."""

from math import ceil
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from speedtrap_graph.api.guards.bounds import Limits
from speedtrap_graph.http.callers import Role
from speedtrap_graph.http.trusted import read_documents
from speedtrap_graph.logs import LogFormat, LogLevel


class LogSettings(BaseSettings):
    """How the service tells what it does: read first, so that all else can be told so."""

    model_config = SettingsConfigDict(
        env_prefix="SPEEDTRAP_GRAPH_", frozen=True, hide_input_in_errors=True
    )

    log_format: LogFormat = "text"
    """`text` for people, `json`: one object a line, for programs."""
    log_level: LogLevel = "INFO"


class StoreSettings(BaseSettings):
    """Where the database is: all that a backup needs to know."""

    model_config = LogSettings.model_config

    mongodb_uri: SecretStr = SecretStr("mongodb://127.0.0.1:27017/?replicaSet=speedtrap")
    mongodb_uri_file: Path | None = None
    mongodb_username: str = ""
    mongodb_username_file: Path | None = None
    mongodb_password: SecretStr = SecretStr("")
    mongodb_password_file: Path | None = None
    database: str = Field("speedtrap", pattern=r"^[A-Za-z0-9_-]{1,60}$")

    @property
    def uri(self) -> str:
        return _first_line(self.mongodb_uri_file) or self.mongodb_uri.get_secret_value()

    @property
    def username(self) -> str:
        return _first_line(self.mongodb_username_file) or self.mongodb_username

    @property
    def password(self) -> str:
        return _first_line(self.mongodb_password_file) or self.mongodb_password.get_secret_value()

    @field_validator("mongodb_uri_file", "mongodb_username_file", "mongodb_password_file")
    @classmethod
    def _is_readable(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_file():
            raise ValueError(f"there is no file {path}")
        return path


class GraphSettings(StoreSettings, LogSettings):
    """Frozen, built once by the composition root and handed down."""

    keys_file: Path | None = None
    """NGINX map lines, `"<key>" "<name>:<role>";`. Needed with `callers=keys`."""
    callers: Literal["keys", "gateway"] = "keys"
    """`keys`: graph reads the key file. `gateway`: it trusts the caller header, which only the
    gateway may be able to send."""
    gateway_secret: SecretStr = SecretStr("")
    """With it graph trusts that header only beside this secret."""
    gateway_secret_file: Path | None = None
    host: str = "127.0.0.1"
    port: int = Field(8081, ge=0, le=65535)
    auto_approve: str = ""
    """Channels whose notices need no person's approval, separated by commas."""
    owner_channels: str = "apprise,webhook"
    """Channels that lead to the subscriber: no approval is needed, and other limits apply."""
    claim_lease_seconds: float = Field(120, ge=1, le=3600)
    """How long a bot may hold a notice before it begins to send it."""
    sending_lease_seconds: float = Field(300, ge=1, le=3600)
    """How long a sending may take before its outcome counts as unknown."""
    check_after_seconds: float = Field(60, ge=0.1, le=3600)
    """How long to wait before, and between, looking up whether something arrived."""
    max_body_bytes: int = Field(8 * 1024 * 1024, ge=1024)
    max_cost: int = Field(50_000, ge=100)
    """Documents that one operation may read, by the estimate made before it runs."""
    operation_timeout_s: float = Field(45, gt=0, le=3600)
    """For queries and mutations; subscriptions may last."""
    requests_per_minute: str = "probe=600,viewer=3000,bot=3000,admin=3000"
    """By role, for each key and each copy of the service. `off`, or a role left out: no limit."""
    socket_patience_s: float = Field(20, gt=0, le=600)
    """How long a WebSocket's client may take no data, or answer no ping, before it is dropped."""
    drain_s: float = Field(10, ge=0, le=600)
    """How long what runs may go on once the process has been asked to end; then it is cut off."""
    silence_watch_s: float = Field(30, gt=0, le=3600)
    """How often to look for probes that fell silent."""
    metrics_probes: int = Field(100, ge=0, le=10_000)
    """Of how many probes `/metrics` tells, in the order of their names."""
    metrics_timeout_s: float = Field(5, gt=0, le=60)
    """How long `/metrics` waits for MongoDB; then it tells what it knows."""
    trusted_documents: Path | None = None
    """What `speedtrap-web documents` printed: a viewer's key may then run nothing else."""

    @property
    def limits(self) -> Limits:
        return Limits(self.max_cost, self.operation_timeout_s, self.drain_s)

    @property
    def longest_stop_s(self) -> int:
        """For the server: a little longer than what it serves takes to end by itself."""
        return ceil(self.drain_s) + 2

    @property
    def known_gateway_secret(self) -> str:
        """Empty: whoever reaches this port counts as the gateway."""
        return _first_line(self.gateway_secret_file) or self.gateway_secret.get_secret_value()

    @property
    def quotas(self) -> dict[Role, int]:
        return _quotas(self.requests_per_minute)

    @property
    def auto_approve_channels(self) -> frozenset[str]:
        return _names(self.auto_approve)

    @property
    def owner_channel_names(self) -> frozenset[str]:
        return _names(self.owner_channels)

    @field_validator("gateway_secret_file")
    @classmethod
    def _holds_a_secret(cls, path: Path | None) -> Path | None:
        if path is not None and not (path.is_file() and _first_line(path)):
            raise ValueError(f"there is no secret in {path}")
        return path

    @field_validator("trusted_documents")
    @classmethod
    def _is_a_list_of_documents(cls, path: Path | None) -> Path | None:
        if path is not None:
            read_documents(path)
        return path

    @field_validator("requests_per_minute")
    @classmethod
    def _is_a_list_of_quotas(cls, text: str) -> str:
        _quotas(text)
        return text

    @model_validator(mode="after")
    def _keys_need_a_file(self) -> Self:
        if self.callers == "keys" and self.keys_file is None:
            raise ValueError(
                "SPEEDTRAP_GRAPH_KEYS_FILE is not set: name the key file, "
                "or set SPEEDTRAP_GRAPH_CALLERS=gateway behind the gateway"
            )
        return self


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def _first_line(path: Path | None) -> str:
    return "" if path is None else path.read_text(encoding="utf-8").strip()


def _quotas(text: str) -> dict[Role, int]:
    """`probe=600,viewer=3000`: requests a minute by role."""
    if text.strip().lower() == "off":
        return {}
    quotas: dict[Role, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = part.partition("=")
        role = Role.__members__.get(name.strip().upper())
        if role is None or not number.strip().isdigit() or int(number) < 1:
            roles = ", ".join(role.lower() for role in Role)
            raise ValueError(f"{part!r} is not of the form role=number; the roles are {roles}")
        quotas[role] = int(number)
    return quotas
