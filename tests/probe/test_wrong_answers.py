"""An answer with 200 that is not what was asked for is a failure, never a slow line."""

import pytest
from speedtrap_probe.engine import transfer
from speedtrap_probe.engine.answers import Payload
from speedtrap_probe.engine.connection.wire import Target
from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import FailureKind

from tests.lab.speed import PIECE, Manners, speed_server
from tests.probe.stages import CLIENTS, DOWNLOAD_ONLY, WEBSOCKET, against, tool

SOURCE = b"<?php\nheader('Content-Type: application/octet-stream');\n" + b"// garbage\n" * 150
PORTAL = b"<!DOCTYPE html><html><title>Welcome to our network</title>" + b"<p>Accept.</p>" * 400
WRONG = {
    "source text": (SOURCE, "text/plain"),
    "source text without a type of its own": (SOURCE, "application/octet-stream"),
    "a program": (SOURCE, "application/x-httpd-php"),
    "a login page": (PORTAL, "text/html; charset=utf-8"),
    "a login page of many megabytes": (PORTAL * 1000, "text/html"),
    "an error as JSON": (b'{"error": "try later"}', "application/json"),
    "an error as a problem document": (b'{"title": "no"}', "application/problem+json"),
    "a few bytes": (PIECE[:1000], "application/octet-stream"),
    "nothing": (b"", "application/octet-stream"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("name", CLIENTS)
def test_a_download_of_something_else_is_a_failure(name: str, wrong: tuple[bytes, str]) -> None:
    with (
        speed_server(Manners(instead=wrong)) as server,
        pytest.raises(ToolError) as raised,
    ):
        tool(name).measure(against(name, server))
    assert raised.value.failure.kind is FailureKind.TOOL_FAILED
    assert raised.value.figures.download_mbps is None


@pytest.mark.parametrize(
    "name", [name for name in CLIENTS if name not in DOWNLOAD_ONLY | WEBSOCKET]
)
def test_an_upload_that_is_accepted_before_it_has_come_is_a_failure(name: str) -> None:
    with speed_server(Manners(early=True)) as server, pytest.raises(ToolError) as raised:
        tool(name).measure(against(name, server))
    assert raised.value.failure.kind is FailureKind.TOOL_FAILED
    assert raised.value.figures.download_mbps is not None
    assert raised.value.figures.upload_mbps is None


@pytest.mark.parametrize("media_type", ["text/html", "text/plain", "application/json"])
def test_data_that_a_server_only_calls_a_page_is_measured(media_type: str) -> None:
    window = transfer.Window(0.5, connections=1)
    with speed_server(Manners(instead=(PIECE * 20, media_type))) as server:
        got = transfer.download([Target(server.url + "/100mb.bin")], window)
    assert got.mbps > 0


@pytest.mark.parametrize(
    ("size", "asked"), [(4 << 20, 100 << 20), (4 << 20, None), (600_000, 25_000_000)]
)
def test_a_download_that_is_shorter_but_long_enough_is_measured(
    size: int, asked: int | None
) -> None:
    """LibreSpeed's servers send 4 MiB where they overlook the size that was asked for."""
    answer = (PIECE * (size // len(PIECE) + 1), "application/octet-stream")
    window = transfer.Window(0.5, connections=1)
    with speed_server(Manners(instead=answer)) as server:
        got = transfer.download([Target(server.url + "/100mb.bin")], window, payload=Payload(asked))
    assert got.mbps > 0
