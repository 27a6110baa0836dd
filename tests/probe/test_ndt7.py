"""ndt7 against a server that follows M-Lab's specification to the letter."""

import json
from pathlib import Path

import pytest
from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import FailureKind
from speedtrap_probe.tool import Setup
from speedtrap_probe.tools import ndt7

from tests.lab.ndt7 import PATHS, Habits, Ndt7Server, ndt7_server
from tests.lab.replay import replay_server
from tests.probe.certificates import Authority

UNDER_WAY = 4  # pings that may stand behind megabytes of payload when a measurement ends


def to(server: Ndt7Server, window_s: float = 1.0) -> Setup:
    return Setup("http://127.0.0.1:1", {"ndt7_url": server.url}, window_s=window_s)


def test_both_directions_are_measured_and_the_specification_is_kept() -> None:
    with ndt7_server() as server:
        figures = ndt7.TOOL.measure(to(server))
    assert figures.download_mbps is not None
    assert figures.upload_mbps is not None
    assert figures.latency_ms is not None
    assert figures.loaded_latency_down_ms is not None
    assert figures.loaded_latency_up_ms is not None
    assert figures.bytes_received
    assert figures.bytes_sent
    assert server.breaches == []
    assert sorted(server.ended) == sorted(PATHS)


def test_messages_start_small_and_double() -> None:
    with ndt7_server() as server:
        ndt7.TOOL.measure(to(server))
    assert server.sizes[:17] == [*[1 << 13] * 16, 1 << 14]
    assert server.sizes == sorted(server.sizes)


def test_the_client_names_itself_and_keeps_the_token_of_the_address() -> None:
    with ndt7_server() as server:
        with_token = ndt7.with_client(f"{server.url}{PATHS[0]}?access_token=a.b.c")
        ndt7.TOOL.measure(to(server))
    assert "access_token=a.b.c" in with_token
    assert server.queries[0]["client_name"] == "speedtrap"
    assert server.queries[0]["client_version"]


def test_it_works_over_verified_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    with ndt7_server(tls=authority.server_side("127.0.0.1")) as server:
        with pytest.raises(ToolError, match="no trusted TLS"):
            ndt7.TOOL.measure(to(server))
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        figures = ndt7.TOOL.measure(to(server))
    assert figures.download_mbps is not None
    assert figures.upload_mbps is not None
    assert server.breaches == []


def test_the_locate_service_chooses_and_a_server_that_was_doubted_is_avoided() -> None:
    def row(machine: str, url: str) -> dict[str, object]:
        urls = {f"wss://{path}": url.replace("http", "ws") + path for path in PATHS}
        return {"machine": machine, "location": {"city": "Here", "country": "XX"}, "urls": urls}

    with ndt7_server() as one, ndt7_server() as other:
        document = json.dumps({"results": [row("mlab1", one.url), row("mlab2", other.url)]})
        answers = [{"request": "GET /v2/nearest/ndt/ndt7?client_name=speedtrap*", "body": document}]
        with replay_server(answers) as locate:
            options = {"ndt7_agree": "yes", "ndt7_locate_url": f"{locate.url}/v2/nearest/ndt/ndt7"}
            setup = Setup("http://127.0.0.1:1", options, window_s=0.5, avoid=("mlab1",))
            figures = ndt7.TOOL.measure(setup)
    assert figures.server is not None
    assert (figures.server.id, figures.server.location) == ("mlab2", "Here, XX")
    assert one.queries == []


def test_a_server_that_thinks_half_the_window_enough_has_measured() -> None:
    with ndt7_server(Habits(duration_s=1.5)) as server:
        figures = ndt7.TOOL.measure(to(server, window_s=2.5))
    assert figures.download_mbps is not None


def test_measurements_that_cannot_be_read_are_ignored() -> None:
    with ndt7_server(Habits(tells='{"TCPInfo": [], "AppInfo": "many"')) as server:
        figures = ndt7.TOOL.measure(to(server))
    assert figures.download_mbps is not None
    assert figures.latency_ms is None


@pytest.mark.parametrize(
    ("habits", "kind", "said"),
    [
        (Habits(refuses=503), FailureKind.RATE_LIMITED, "HTTP 503"),
        (Habits(refuses=429), FailureKind.RATE_LIMITED, "limits requests"),
        (Habits(cuts_after_bytes=100_000), FailureKind.TOOL_FAILED, "cut"),
        (Habits(duration_s=0.2), FailureKind.TOOL_FAILED, "ended before its time"),
    ],
)
def test_a_server_that_fails_is_a_failure(habits: Habits, kind: FailureKind, said: str) -> None:
    with ndt7_server(habits) as server, pytest.raises(ToolError, match=said) as raised:
        ndt7.TOOL.measure(to(server))
    assert raised.value.failure.kind is kind


def test_payload_in_an_upload_ends_it_and_the_download_is_kept() -> None:
    with (
        ndt7_server(Habits(sends_payload_in_uploads=True)) as server,
        pytest.raises(ToolError, match="payload during an upload") as raised,
    ):
        ndt7.TOOL.measure(to(server))
    assert raised.value.figures.download_mbps is not None
    assert raised.value.figures.upload_mbps is None


def test_without_consent_nothing_is_asked_of_m_lab() -> None:
    usable = ndt7.TOOL.usable(Setup("http://127.0.0.1:1"))
    assert not usable.ok
    assert "IP address" in (usable.hint or "")


def test_every_ping_of_the_server_is_answered_while_data_moves() -> None:
    with ndt7_server() as server:
        ndt7.TOOL.measure(to(server))
    for path in PATHS:
        pongs = [pong.is_set() for pong in server.pings[path]]
        answered = sum(pongs)
        assert answered
        assert pongs == [True] * answered + [False] * (len(pongs) - answered)
        assert len(pongs) - answered <= UNDER_WAY  # these met the goodbye


def test_an_upload_goes_on_while_the_server_is_in_the_middle_of_a_ping() -> None:
    """Who waits for the end of a frame sends nothing meanwhile: 0.0009 Mbps on a good line."""
    with ndt7_server(Habits(keeps_half_a_ping=True)) as server:
        figures = ndt7.TOOL.measure(to(server))
    assert figures.upload_mbps is not None
    assert figures.download_mbps is not None
    assert figures.upload_mbps > figures.download_mbps / 100


@pytest.mark.parametrize("habits", [Habits(duration_s=2.2), Habits(duration_s=2.2, hangs_up=True)])
def test_a_server_that_ends_after_half_the_window_has_measured(habits: Habits) -> None:
    with ndt7_server(habits) as server:
        figures = ndt7.TOOL.measure(to(server, window_s=2.5))
    assert figures.download_mbps is not None
    assert figures.upload_mbps is not None


def test_a_server_that_hangs_up_at_once_has_measured_nothing() -> None:
    with (
        ndt7_server(Habits(duration_s=0.2, hangs_up=True)) as server,
        pytest.raises(ToolError, match="cut") as raised,
    ):
        ndt7.TOOL.measure(to(server))
    assert raised.value.failure.kind is FailureKind.TOOL_FAILED


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([(0, 0), (1, 1_000_000), (3, 3_000_000), (5, 5_000_000)], 8.0),
        ([(0, 0), (1, 1_000_000)], None),
        ([], None),
    ],
)
def test_where_the_system_does_not_tell_the_servers_tcp_counts_the_upload(
    texts: list[tuple[int, int]], expected: float | None
) -> None:
    """As M-Lab's server sends them: BytesReceived of TCPInfo, and no AppInfo."""
    heard = ndt7.Heard()
    for at_s, received in texts:
        tcp = {"BytesReceived": received, "ElapsedTime": at_s * 1_000_000 + 1}
        heard.read(json.dumps({"TCPInfo": tcp}))
    got = ndt7.received_mbps(heard.received, payload_share=1.0, enough_s=4.0)
    assert got == (pytest.approx(expected, rel=1e-3) if expected else None)


def test_locate_s_204_says_that_no_server_is_free() -> None:
    with pytest.raises(ToolError, match="no server free") as raised:
        ndt7.places(b"")
    assert raised.value.failure.kind is FailureKind.RATE_LIMITED
