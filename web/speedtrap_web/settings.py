"""What the operator may set: environment `SPEEDTRAP_WEB_<NAME>`, secrets also as `<NAME>_FILE`."""

import secrets
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from speedtrap_web.logs import LogFormat, LogLevel

MIN_SECRET_LENGTH = 32


class LogSettings(BaseSettings):
    """How the page tells what it does: read first, so that all else can be told so."""

    model_config = SettingsConfigDict(
        env_prefix="SPEEDTRAP_WEB_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    log_format: LogFormat = Field(
        default="text", description="`text` for people, `json`: one object a line, for programs."
    )
    log_level: LogLevel = Field(default="INFO", description="What is less than this is not told.")


class WebSettings(LogSettings):
    """Frozen; made by a composition root and handed down."""

    graph_url: str = Field(
        default="http://127.0.0.1:8000", description="Base URL of graph; /graphql is appended."
    )
    key: SecretStr = Field(default=SecretStr(""), description="The page's own viewer key.")
    key_file: Path | None = Field(default=None, description="A file that holds the key.")
    session_secret: SecretStr = Field(
        default=SecretStr(""),
        description="Encrypts sessions, at least 32 characters; the same in every copy. "
        "Without one, sessions end with the process.",
    )
    session_secret_file: Path | None = Field(
        default=None, description="A file that holds the session secret."
    )
    ended_sessions_file: Path | None = Field(
        default=None,
        description="Where logouts are kept for the 12 hours in which a copied cookie would work; "
        "copies may share it. Without one, they are forgotten when the process ends.",
    )
    host: str = Field(default="127.0.0.1", description="The address to listen on.")
    port: int = Field(default=8080, ge=0, le=65535, description="The port to listen on.")
    graph_timeout_s: float = Field(
        default=8, gt=0, le=120, description="How long a page waits for graph."
    )
    live_every_s: float = Field(
        default=15, ge=1, le=3600, description="How often an open page asks for news."
    )
    provider_handle: str = Field(
        default="",
        pattern=r"^@?[A-Za-z0-9_]{0,15}$",
        description="The provider's name on X, for the link with which a person may post with a "
        "mention. The bots never mention anybody.",
    )
    speed_endpoint: bool = Field(
        default=True, description="Serve /speed/ for measuring one's own network."
    )
    allowed_hosts: str = Field(
        default="",
        description="Names of this machine in a public DNS, separated by commas, under which "
        "`speedtrap up` answers; addresses and local names always work.",
    )
    explorer: bool = Field(
        default=False, description="Serve /explorer, where an admin may ask graph by hand."
    )

    @field_validator("graph_url")
    @classmethod
    def _is_a_base_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be a base URL such as http://127.0.0.1:8000")
        if parts.username or parts.password or parts.query:
            raise ValueError("must hold no user name, password or query")
        return value.rstrip("/")

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, values: dict[str, object]) -> dict[str, object]:
        """A file wins nothing: naming both the value and the file is refused as ambiguous."""
        for name in ("key", "session_secret"):
            file = values.get(f"{name}_file")
            if not file:
                continue
            if values.get(name):
                raise ValueError(f"{name} and {name}_file are both set; keep one")
            try:
                values[name] = Path(str(file)).read_text(encoding="utf-8").strip()
            except OSError as problem:
                raise ValueError(f"{name}_file: cannot read {file}: {problem.strerror}") from None
        return values

    @model_validator(mode="after")
    def _secret_is_long_enough(self) -> Self:
        length = len(self.session_secret.get_secret_value())
        if 0 < length < MIN_SECRET_LENGTH:
            raise ValueError(f"session_secret must have at least {MIN_SECRET_LENGTH} characters")
        return self

    @property
    def allowed_host_names(self) -> frozenset[str]:
        return frozenset(name.strip().lower() for name in self.allowed_hosts.split(",") if name)

    def session_secret_or_random(self) -> str:
        return self.session_secret.get_secret_value() or secrets.token_urlsafe(32)
