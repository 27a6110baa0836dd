"""Settings of the bots: environment `SPEEDTRAP_BOTS_<NAME>`, secrets also as `..._FILE`.

A channel declares its own settings beside its code on the same base; only `cli.py` reads any.
"""

import os
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from speedtrap_bots.errors import BotsError
from speedtrap_bots.logs import LogFormat, LogLevel


class SettingsError(BotsError):
    """A setting that cannot be used; names the variable."""


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads `<VARIABLE>_FILE` for every secret, as container secrets are handed over."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        if "SecretStr" not in str(field.annotation):
            return None, field_name, False
        prefix = self.config.get("env_prefix", "")
        variable = f"{prefix}{field_name}_FILE".upper()
        path = os.environ.get(variable)
        if not path:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").strip(), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise SettingsError(f"{variable}: cannot read {path}: {reason}") from error

    def __call__(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            value, key, _ = self.get_field_value(field, name)
            if value:
                values[key] = value
        return values


class EnvironmentSettings(BaseSettings):
    """The base of every settings class here: frozen, and silent about its values in errors."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, env_ignore_empty=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic-settings passes all four by name
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _SecretFiles(settings_cls)


class LogSettings(EnvironmentSettings):
    """How the bots tell what they do: read first, so that all else can be told so."""

    model_config = SettingsConfigDict(env_prefix="SPEEDTRAP_BOTS_")

    log_format: LogFormat = Field(
        default="text", description="text for people, json (one object a line) for programs."
    )
    log_level: LogLevel = Field(
        default="INFO",
        # The second is the older one.
        validation_alias=AliasChoices("SPEEDTRAP_BOTS_LOG_LEVEL", "SPEEDTRAP_LOG_LEVEL"),
        description="What is less than this is not told.",
    )


class Settings(LogSettings):
    """What every bot needs, whatever its channel."""

    graph_url: str = Field(
        default="http://127.0.0.1:8080", description="Base URL of the service; /graphql is added."
    )
    key: SecretStr | None = Field(default=None, description="API key with the role bot.")
    poll_seconds: float = Field(
        default=2.0, gt=0, le=60, description="Pause between two looks for a notice that is due."
    )
    patrol_seconds: float = Field(
        default=300.0, gt=0, description="Pause between two looks for breaches without a notice."
    )

    retry_seconds: str = Field(
        default="300,900,3600,14400,86400",
        description="Pauses before the attempts after the first, separated by commas.",
    )
    look_again_seconds: float = Field(
        default=900.0, gt=0, description="Pause after a look-up that failed itself."
    )
    templates: Path | None = Field(
        default=None, description="Folder with templates of your own that replace ours."
    )

    @property
    def retry_ladder_s(self) -> tuple[float, ...]:
        return tuple(float(part) for part in self.retry_seconds.split(","))

    @field_validator("retry_seconds")
    @classmethod
    def _are_pauses(cls, value: str) -> str:
        try:
            pauses = [float(part) for part in value.split(",")]
        except ValueError as error:
            raise ValueError("must be seconds separated by commas, e.g. 300,900") from error
        if not all(0 < pause <= 7 * 86400 for pause in pauses):
            raise ValueError("each pause must be above 0 and at most a week")
        return value

    @field_validator("templates")
    @classmethod
    def _is_a_folder(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_dir():
            raise ValueError(f"there is no folder {value}")
        return value

    @field_validator("graph_url")
    @classmethod
    def _is_a_base_url(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value.rstrip("/").removesuffix("/graphql")
