"""`turnkey` and `lan` through the engine, against servers of the lab."""

import socket
from pathlib import Path

import pytest
from speedtrap_probe.engine import transfer
from speedtrap_probe.engine.connection.wire import Target, explained
from speedtrap_probe.engine.link import Link
from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import FailureKind
from speedtrap_probe.tool import Setup
from speedtrap_probe.tools import lan, turnkey

from tests.lab.speed import Manners, SpeedServer, speed_server
from tests.probe.certificates import Authority

SHORT = transfer.Window(window_s=1.0, connections=2, stall_s=1.0)


def to(server: SpeedServer, line_up: bool | None = None) -> Setup:
    options = {"turnkey_url": server.url + "/100mb.bin"}
    return Setup(server.url, options, window_s=1.0, line_up=line_up)


@pytest.mark.parametrize("suffix", [".php", ""])
def test_lan_measures_download_upload_latency_and_jitter(suffix: str) -> None:
    with speed_server(Manners(suffix=suffix)) as server:
        figures = lan.TOOL.measure(to(server))
    assert None not in (
        figures.download_mbps,
        figures.upload_mbps,
        figures.latency_ms,
        figures.jitter_ms,
        figures.bytes_received,
    )
    assert figures.bytes_sent is not None
    assert figures.bytes_sent >= server.received > 0


def test_lan_keeps_the_download_when_the_upload_is_refused() -> None:
    with (
        speed_server(Manners(refuses_uploads=True)) as server,
        pytest.raises(ToolError) as raised,
    ):
        lan.TOOL.measure(to(server))
    assert raised.value.figures.download_mbps is not None
    assert raised.value.figures.upload_mbps is None


def test_uploads_shrink_to_what_the_server_takes() -> None:
    with speed_server(Manners(largest_post=1 << 20)) as server:
        got = transfer.upload([Target(server.url + "/speed/empty.php")], SHORT)
    assert got.mbps > 0
    assert server.received >= 1 << 20


@pytest.mark.parametrize(("largest_post", "least"), [(None, 4), (8 << 20, 8), (1 << 20, 12)])
def test_small_bodies_are_sent_on_more_connections(largest_post: int | None, least: int) -> None:
    """Between two bodies a connection idles; the others have to fill the line meanwhile."""
    manners = Manners(largest_post=largest_post, post_ms=20)
    with speed_server(manners) as server:
        transfer.upload([Target(server.url + "/speed/empty.php")], transfer.Window(1.0))
    assert server.accepted_from() == least


def test_a_document_that_comes_a_byte_at_a_time_has_a_deadline() -> None:
    with speed_server(Manners(drips=True)) as server:
        link = Link(Target(server.url + "/servers.php"))
        with pytest.raises(ToolError) as raised, explained(link.target), link.within(0.5):
            link.request("GET", link.target.url).read()
        link.close()
    assert raised.value.failure.kind is FailureKind.TIMEOUT


def test_turnkey_downloads_over_several_connections_and_counts_bytes() -> None:
    with speed_server() as server:
        figures = turnkey.TOOL.measure(to(server))
    assert figures.download_mbps is not None
    assert figures.upload_mbps is None
    assert figures.latency_ms is not None
    assert figures.bytes_received
    assert server.connections >= transfer.CONNECTIONS


def test_turnkey_is_measured_though_the_line_is_said_to_be_down() -> None:
    with speed_server() as server:
        assert turnkey.TOOL.measure(to(server, line_up=False)).download_mbps is not None


@pytest.mark.parametrize(
    ("configured", "expected"),
    [
        ("https://files.example", "https://files.example/100mb.bin"),
        ("https://files.example/speed/", "https://files.example/speed/100mb.bin"),
        ("https://files.example/1000mb.bin", "https://files.example/1000mb.bin"),
    ],
)
def test_turnkey_takes_a_file_or_its_folder(configured: str, expected: str) -> None:
    assert turnkey.address(configured) == expected


@pytest.mark.parametrize(
    ("manners", "kind", "said"),
    [
        (Manners(status=404), FailureKind.TOOL_FAILED, "HTTP 404"),
        (Manners(status=429), FailureKind.RATE_LIMITED, "limits requests"),
        (Manners(status=503), FailureKind.RATE_LIMITED, "HTTP 503"),
        (Manners(empty=True), FailureKind.TOOL_FAILED, "empty file"),
        (Manners(redirect="/100mb.bin"), FailureKind.TOOL_FAILED, "in a circle"),
    ],
)
def test_a_bad_answer_is_a_failure(manners: Manners, kind: FailureKind, said: str) -> None:
    with speed_server(manners) as server, pytest.raises(ToolError, match=said) as raised:
        turnkey.TOOL.measure(to(server))
    assert raised.value.failure.kind is kind


def test_a_redirect_is_followed() -> None:
    with (
        speed_server() as files,
        speed_server(Manners(redirect=files.url + "/100mb.bin")) as server,
    ):
        figures = turnkey.TOOL.measure(to(server))
    assert figures.download_mbps is not None


def test_a_transfer_that_stalls_is_a_timeout_and_no_figure() -> None:
    with (
        speed_server(Manners(stalls_after=100_000)) as server,
        pytest.raises(ToolError, match=r"stalled for 1 s after 200,000 bytes") as raised,
    ):
        transfer.download(
            [Target(server.url + "/100mb.bin")], transfer.Window(5.0, connections=2, stall_s=1.0)
        )
    assert raised.value.failure.kind is FailureKind.TIMEOUT


def test_a_closed_port_and_an_unknown_name_are_no_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    for url in (closed, "http://no-such-host.invalid/"):
        with pytest.raises(ToolError) as raised:
            turnkey.TOOL.measure(Setup("http://127.0.0.1:1", {"turnkey_url": url}))
        assert raised.value.failure.kind is FailureKind.NO_NETWORK


def test_tls_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    with speed_server(tls=authority.server_side("127.0.0.1")) as server:
        with pytest.raises(ToolError, match="no trusted TLS"):
            turnkey.TOOL.measure(to(server))
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        assert turnkey.TOOL.measure(to(server)).download_mbps is not None
        assert lan.TOOL.measure(to(server)).upload_mbps is not None


def test_another_hosts_certificate_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with (
        speed_server(tls=authority.server_side("other.example")) as server,
        pytest.raises(ToolError, match="no trusted TLS"),
    ):
        turnkey.TOOL.measure(to(server))


def test_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with speed_server() as server:
        assert turnkey.TOOL.measure(to(server)).download_mbps is not None


def test_a_proxy_that_was_asked_for_is_used() -> None:
    with speed_server() as proxy:
        setup = Setup(
            "http://127.0.0.1:1",
            {"turnkey_url": "http://files.invalid/100mb.bin"},
            proxy=proxy.url,
            window_s=1.0,
        )
        assert turnkey.TOOL.measure(setup).download_mbps is not None


def test_progress_is_told_in_mbps() -> None:
    told: list[tuple[str, float]] = []
    with speed_server() as server:
        transfer.download(
            [Target(server.url + "/100mb.bin")], SHORT, lambda *phase: told.append(phase)
        )
    assert {phase for phase, _ in told} == {"download"}
    first, *later = told
    assert list(first) == ["download", 0]  # it begins
    assert all(mbps > 0 for _, mbps in later)
