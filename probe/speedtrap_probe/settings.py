"""The probe's settings, from the environment, secret files and speedtrap.toml."""

import re
import socket
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from platformdirs import user_config_path, user_data_path

from speedtrap_probe.errors import SettingsError
from speedtrap_probe.line.conditions import LOOK_S
from speedtrap_probe.line.connectivity import DEFAULT_CHECKS, Address
from speedtrap_probe.line.way import version_of
from speedtrap_probe.schedule.interval import seconds
from speedtrap_probe.tool import WINDOW_S, Option

PREFIX = "SPEEDTRAP_PROBE_"
DEFAULT_URL = "http://127.0.0.1:8080"  # where `speedtrap up` listens
DEFAULT_CSV = "report.csv"
SECRETS = Path("/run/secrets")
NAMES = (
    "url",
    "key",
    "key_file",
    "name",
    "tools",
    "data_dir",
    "csv",
    "proxy",
    "checks",
    "window",
    "deadline",
    "look",
    "ip_version",
    "bind",
    "plan_mbps",
    "retest",
    "budget",
    "outbox_size",
    "outbox_age",
    "log_format",
    "log_level",
)
IP_VERSIONS = ("any", "4", "6")
NAME_LIMIT = 64
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)  # what the service takes
WINDOW_LIMIT_S = 60
LOOK_LIMIT_S = 60
DEADLINE_LIMIT_S = 3600
INTERFACE = re.compile(r"[\w.@:-]{1,15}", re.ASCII)  # Linux: IFNAMSIZ, 15 characters
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kMGT]?)B", re.ASCII | re.IGNORECASE)
SIZES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
OUTBOX_SIZE = 64_000_000  # bytes: about 50,000 runs, or five years of one an hour
OUTBOX_SIZE_LEAST = 1_000_000
OUTBOX_AGE_S = 2 * 365 * 86_400
LOG_FORMATS = ("text", "json")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the probe can be told. Made once, at the composition root."""

    url: str
    key: str | None = field(repr=False)
    name: str
    tools: tuple[str, ...]  # empty: all there are
    data_dir: Path
    csv: Path
    proxy: str | None = field(repr=False)  # may hold a password
    checks: tuple[Address, ...]
    window_s: float
    deadline_s: float | None  # of one tool in all; None: as its windows demand
    look_s: float
    ip_version: str
    bind: str | None
    plan_mbps: float | None  # None: as the service says
    retest: float | None  # of the plan; None: as the service's rule says; 0: never
    budget_bytes: int | None  # a month
    outbox_bytes: int
    outbox_age_s: float
    options: Mapping[str, str]

    @property
    def outbox(self) -> Path:
        return self.data_dir / "outbox.sqlite3"

    @property
    def lock(self) -> Path:
        """Held while the line of this data folder is measured."""
        return self.data_dir / "run.lock"


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How the probe tells what it does: read first, so that all else can be told so."""

    form: str
    level: str


def default_config_file() -> Path:
    """speedtrap.toml in this platform's configuration folder."""
    return user_config_path("speedtrap", appauthor=False) / "speedtrap.toml"


def read(
    environ: Mapping[str, str],
    options: Sequence[Option] = (),
    config_file: Path | None = None,
    secrets: Path = SECRETS,
) -> Settings:
    """Reads the settings; *options* are those that the tools declare."""
    table = _given(environ, options, config_file)
    defaults = {option.name: option.default for option in options if option.default}
    chosen = {option.name: _text(table, option.name) for option in options if option.name in table}
    for name, value in chosen.items():
        if name.endswith("_url"):
            checked_url(name, value)
    return Settings(
        url=checked_url("url", _text(table, "url") or DEFAULT_URL),
        key=_key(environ, table, secrets),
        name=_name(_text(table, "name") or default_name()),
        tools=_list(table, "tools"),
        data_dir=_path(table, "data_dir") or user_data_path("speedtrap", appauthor=False),
        csv=_path(table, "csv") or Path(DEFAULT_CSV),
        proxy=checked_url("proxy", table["proxy"]) if table.get("proxy") else None,
        checks=tuple(_address(text) for text in _list(table, "checks") or DEFAULT_CHECKS),
        window_s=_window(_text(table, "window")),
        deadline_s=_deadline(_text(table, "deadline"), _window(_text(table, "window"))),
        look_s=_look(_text(table, "look")),
        ip_version=_ip_version(_text(table, "ip_version") or "any"),
        bind=_bind(_text(table, "bind"), _text(table, "ip_version")),
        plan_mbps=_number(table, "plan_mbps", 1_000_000),
        retest=_number(table, "retest", 1),
        budget_bytes=_size("budget", _text(table, "budget")),
        outbox_bytes=_outbox_size(_text(table, "outbox_size")),
        outbox_age_s=_age(_text(table, "outbox_age")),
        options=defaults | chosen,
    )


def read_logs(
    environ: Mapping[str, str], options: Sequence[Option] = (), config_file: Path | None = None
) -> LogSettings:
    """As `read`, of these alone: whatever is wrong with the others."""
    table = _given(environ, options, config_file)
    return LogSettings(
        _one_of("log_format", _text(table, "log_format").lower() or "text", LOG_FORMATS),
        _one_of("log_level", _text(table, "log_level").upper() or "INFO", LOG_LEVELS),
    )


def default_name() -> str:
    """This machine's name, with what the service would refuse left out."""
    host = re.sub(r"[^a-z0-9._-]+", "-", socket.gethostname().lower()).lstrip("-._")
    return host[:NAME_LIMIT] or "probe"


def _given(
    environ: Mapping[str, str], options: Sequence[Option], config_file: Path | None
) -> dict[str, Any]:
    """What was set anywhere, by its name; the environment comes first."""
    known = (*NAMES, *(option.name for option in options))
    table = _table(config_file or default_config_file(), known)
    return table | {
        name: environ[variable] for name in known if environ.get(variable := PREFIX + name.upper())
    }


def _one_of(name: str, value: str, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise SettingsError(f"{name} must be one of {', '.join(allowed)}: {value!r}")
    return value


def _table(path: Path, known: Sequence[str]) -> dict[str, Any]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is no valid TOML: {error}") from error
    table = document.get("probe", {})
    if not isinstance(table, dict):
        raise SettingsError(f"{path}: probe must be a table: [probe]")
    if unknown := sorted(set(table) - set(known)):
        raise SettingsError(f"{path}: no setting {unknown[0]!r}; known: {', '.join(known)}")
    return table


def _key(environ: Mapping[str, str], table: Mapping[str, Any], secrets: Path) -> str | None:
    """Environment, then a key file named there, then /run/secrets, then speedtrap.toml."""
    if key := environ.get(PREFIX + "KEY"):
        return key.strip()
    if path := environ.get(PREFIX + "KEY_FILE"):
        return _key_from(Path(path))
    if (secret := secrets / "speedtrap_probe_key").exists():
        return _key_from(secret)
    if table.get("key"):
        return _text(table, "key")
    return _key_from(Path(_text(table, "key_file"))) if table.get("key_file") else None


def _key_from(path: Path) -> str:
    try:
        key = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"the key file {path} cannot be read: {error.strerror}") from error
    if not key or "\n" in key:
        raise SettingsError(f"the key file {path} must hold one line, the key")
    return key


def _text(table: Mapping[str, Any], name: str) -> str:
    value = table.get(name, "")
    if not isinstance(value, str):
        raise SettingsError(f"{name} must be text, not {value!r}")
    return value.strip()


def _list(table: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = table.get(name, "")
    entries = value.split(",") if isinstance(value, str) else value
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise SettingsError(f"{name} must be a list of texts, or one with commas")
    return tuple(entry.strip() for entry in entries if entry.strip())


def _path(table: Mapping[str, Any], name: str) -> Path | None:
    text = _text(table, name)
    return Path(text).expanduser() if text else None


def checked_url(name: str, value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SettingsError(f"{name} must be an http:// or https:// address")
    return value


def _name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise SettingsError(
            f"name must be 1 to {NAME_LIMIT} characters: a to z, 0 to 9, dot, hyphen and "
            f"underscore, not starting with a sign: {value[: NAME_LIMIT + 1]!r}"
        )
    return value


def _window(text: str) -> float:
    """How long a direction is measured at most: longer costs data, shorter costs accuracy."""
    window_s = float(seconds(text)) if text else WINDOW_S
    if not 1 <= window_s <= WINDOW_LIMIT_S:
        raise SettingsError(f"window must be 1s to {WINDOW_LIMIT_S}s: {text!r}")
    return window_s


def _deadline(text: str, window_s: float) -> float | None:
    """How long one tool may take in all: both directions have to fit."""
    if not text:
        return None
    deadline_s = float(seconds(text))
    if not 3 * window_s <= deadline_s <= DEADLINE_LIMIT_S:
        raise SettingsError(f"deadline must be three windows ({3 * window_s:g}s) to 1h: {text!r}")
    return deadline_s


def _look(text: str) -> float:
    """How long the line is watched before a run; 0s: not at all."""
    look_s = float(seconds(text)) if text else LOOK_S
    if look_s > LOOK_LIMIT_S:
        raise SettingsError(f"look must be 0s to {LOOK_LIMIT_S}s: {text!r}")
    return look_s


def _number(table: Mapping[str, Any], name: str, greatest: float) -> float | None:
    value = table.get(name, "")
    if value == "":
        return None
    try:
        number = float(value) if not isinstance(value, bool) else -1.0
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number <= greatest:
        raise SettingsError(f"{name} must be a number from 0 to {greatest:,g}: {value!r}")
    return number


def _size(name: str, text: str) -> int | None:
    if not text:
        return None
    match = SIZE.fullmatch(text)
    if match is None:
        raise SettingsError(f"{name} must be a size such as 500MB or 50GB: {text!r}")
    return int(float(match[1]) * SIZES[match[2].upper()])


def _outbox_size(text: str) -> int:
    size = _size("outbox_size", text) or OUTBOX_SIZE
    if size < OUTBOX_SIZE_LEAST:
        raise SettingsError(f"outbox_size must be at least 1MB: {text!r}")
    return size


def _age(text: str) -> float:
    age_s = float(seconds(text)) if text else float(OUTBOX_AGE_S)
    if age_s <= 0:
        raise SettingsError(f"outbox_age must be more than 0s: {text!r}")
    return age_s


def _ip_version(text: str) -> str:
    if text not in IP_VERSIONS:
        raise SettingsError(f"ip_version must be any, 4 or 6: {text!r}")
    return text


def _bind(text: str, ip_version: str) -> str | None:
    """Its form only: an interface may come and go."""
    if not text:
        return None
    version = version_of(text)
    if version is None and not INTERFACE.fullmatch(text):
        raise SettingsError(
            f"bind must be an interface such as eth0, or one of this machine's addresses: {text!r}"
        )
    if version is not None and ip_version in {"4", "6"} and version != ip_version:
        raise SettingsError(
            f"bind is an IPv{version} address, but ip_version is {ip_version}: {text!r}"
        )
    return text


def _address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise SettingsError(f"checks: {text!r} is no host:port")
    return Address(host.strip("[]"), int(port))
