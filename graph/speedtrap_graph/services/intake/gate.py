"""Where a run's texts are held to the gate for foreign text (`text`), field by field."""

from typing import Any

from speedtrap_graph.services.intake import text
from speedtrap_graph.store.database import Row

_NAME, _LINK, _MESSAGE = 200, 500, 2000
_DEEPEST = 8  # a run has four levels


def measurement(row: Row) -> Row:
    """Of a dictionary that was made by the check, and is nobody else's."""
    if "tool_version" in row:
        _keep(row, "tool_version", text.version(row["tool_version"], _NAME))
    if "result_url" in row:
        _keep(row, "result_url", text.link(row["result_url"], _LINK))
    if "server" in row:
        server = row["server"]
        for name in list(server):
            _keep(server, name, text.named(server[name], _NAME))
    if "failure" in row:
        row["failure"]["message"] = text.passed(row["failure"]["message"], _MESSAGE)
    return row


def conditions(row: Row) -> Row:
    """Notes are sentences; the system and the probe name their versions."""
    row["notes"] = [text.passed(note, _NAME) for note in row["notes"]]
    for name in ("platform", "probe_version"):
        if name in row:
            _keep(row, name, text.version(row[name], _NAME))
    if "public_ip_hash" in row and text.is_address(row["public_ip_hash"]):
        del row["public_ip_hash"]
    return row


def mended(value: Any, depth: int = 0) -> Any:
    """The same with U+FFFD where a text holds half of a character (a lone surrogate)."""
    if isinstance(value, str):
        return text.valid(value)
    if depth < _DEEPEST and isinstance(value, list):
        return [mended(one, depth + 1) for one in value]
    if depth < _DEEPEST and isinstance(value, dict):
        return {mended(key): mended(one, depth + 1) for key, one in value.items()}
    return value


def _keep(row: Row, name: str, value: str | None) -> None:
    if value is None:
        del row[name]
    else:
        row[name] = value
