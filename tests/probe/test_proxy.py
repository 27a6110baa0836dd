"""A proxy that wants a user name and a password, in front of every own client."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import FailureKind
from speedtrap_probe.tool import Setup

from tests.lab.ndt7 import ndt7_server
from tests.lab.proxy import PASSWORD, password_proxy
from tests.lab.speed import speed_server
from tests.probe.certificates import Authority
from tests.probe.stages import CLIENTS, WEBSOCKET, against, tool


@contextmanager
def stage(name: str, authority: Authority | None) -> Iterator[tuple[Setup, list[str]]]:
    """A setup, and the header names that the server will have seen."""
    tls = authority.server_side("127.0.0.1") if authority else None
    seen: list[str] = []
    if name in WEBSOCKET:
        with ndt7_server(tls=tls) as server:
            yield Setup("http://127.0.0.1:1", {"ndt7_url": server.url}, window_s=0.5), seen
            seen += server.headers
    else:
        with speed_server(tls=tls) as speed:
            yield against(name, speed, window_s=0.5), seen
            seen += [header for _path, headers in speed.asked for header in headers]


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("name", CLIENTS)
def test_the_proxy_is_told_its_password_and_the_server_is_not(
    name: str, secure: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path) if secure else None
    if authority:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with password_proxy() as proxy, stage(name, authority) as (setup, seen):
        figures = tool(name).measure(replace(setup, proxy=proxy.url_with_password))
    assert figures.download_mbps is not None
    assert proxy.refused == 0
    tunneled = secure or name in WEBSOCKET
    assert {method == "CONNECT" for method, _place in proxy.asked} == {tunneled}
    assert seen
    assert not [header for header in seen if header.lower().startswith("proxy")]


@pytest.mark.parametrize("name", CLIENTS)
def test_a_proxy_that_wants_another_password_is_named_as_the_reason(name: str) -> None:
    with password_proxy() as proxy, stage(name, None) as (setup, _seen):
        wrong = replace(setup, proxy=proxy.url.replace("//", "//me:another@"))
        with pytest.raises(ToolError, match=r"password of PROXY \(HTTP 407\)") as raised:
            tool(name).measure(wrong)
    assert raised.value.failure.kind is FailureKind.TOOL_FAILED
    assert PASSWORD not in raised.value.failure.message
    assert "another" not in raised.value.failure.message
