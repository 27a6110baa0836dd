"""A figure is the line's only while all connections carry it: every own client, every direction."""

import pytest
from speedtrap_probe.engine import transfer
from speedtrap_probe.engine.carrying import Look, carried
from speedtrap_probe.engine.connection.wire import Target
from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import FailureKind, Figures

from tests.lab.speed import Fault, Manners, SpeedServer, speed_server
from tests.probe.stages import CLIENTS, DOWNLOAD_ONLY, WEBSOCKET, against, tool

HTTP = [name for name in CLIENTS if name not in WEBSOCKET]
BOTH_WAYS = [(name, "download") for name in HTTP] + [
    (name, "upload") for name in HTTP if name not in DOWNLOAD_ONLY
]
CONNECTIONS = 4


def failed(name: str, server: SpeedServer, window_s: float = 1.0) -> ToolError:
    with pytest.raises(ToolError) as raised:
        tool(name).measure(against(name, server, window_s))
    return raised.value


def figure(figures: Figures, direction: str) -> float | None:
    return figures.download_mbps if direction == "download" else figures.upload_mbps


@pytest.mark.parametrize("spared", [0, CONNECTIONS - 1])
@pytest.mark.parametrize("status", [403, 429, 503])
@pytest.mark.parametrize("name", CLIENTS)
def test_a_server_that_refuses_connections_limits_us_and_no_figure_is_given(
    name: str, status: int, spared: int
) -> None:
    fault = Fault("download", status=status, spared=spared if name not in WEBSOCKET else 0)
    with speed_server(Manners(fault=fault)) as server:
        error = failed(name, server, window_s=6.0)
    # In one's own network nobody limits: there a refusal is a server that does not work.
    own = name == "lan" and status != 429
    expected = FailureKind.TOOL_FAILED if own else FailureKind.RATE_LIMITED
    assert error.failure.kind is expected
    assert f"HTTP {status}" in error.failure.message
    assert error.figures.download_mbps is None


@pytest.mark.parametrize("name", [name for name in HTTP if name not in DOWNLOAD_ONLY])
def test_a_refused_upload_connection_takes_the_upload_and_leaves_the_download(name: str) -> None:
    fault = Fault("upload", status=429, spared=CONNECTIONS - 1)
    with speed_server(Manners(fault=fault)) as server:
        error = failed(name, server)
    assert error.failure.kind is FailureKind.RATE_LIMITED
    assert error.figures.download_mbps is not None
    assert error.figures.upload_mbps is None


@pytest.mark.parametrize(("name", "direction"), BOTH_WAYS)
def test_connections_that_are_limited_in_the_middle_give_no_figure(
    name: str, direction: str
) -> None:
    fault = Fault(direction, status=429, spared=1, after=1)
    with speed_server(Manners(fault=fault, largest_post=1 << 20)) as server:
        error = failed(name, server, window_s=8.0 if direction == "download" else 1.0)
    assert error.failure.kind is FailureKind.RATE_LIMITED
    assert figure(error.figures, direction) is None


@pytest.mark.parametrize(("name", "direction"), BOTH_WAYS)
def test_a_connection_that_is_cut_gives_no_figure(name: str, direction: str) -> None:
    fault = Fault(direction, cut=True, spared=CONNECTIONS - 1)
    with speed_server(Manners(fault=fault)) as server:
        error = failed(name, server)
    assert error.failure.kind is FailureKind.TOOL_FAILED
    assert "1 of 4 connections failed" in error.failure.message
    assert figure(error.figures, direction) is None


def test_an_upload_that_one_server_thread_never_reads_gives_no_figure() -> None:
    window = transfer.Window(8.0, connections=CONNECTIONS, stall_s=1.0)
    fault = Fault("upload", hang=True, spared=CONNECTIONS - 1)
    with speed_server(Manners(fault=fault)) as server, pytest.raises(ToolError) as raised:
        transfer.upload([Target(server.url + "/speed/empty.php")], window)
    assert raised.value.failure.kind is FailureKind.TIMEOUT
    assert "1 of 4 connections of the upload" in raised.value.failure.message


@pytest.mark.parametrize("after", [0, 1])
def test_a_connection_on_which_nothing_comes_any_more_gives_no_figure(after: int) -> None:
    window = transfer.Window(8.0, connections=CONNECTIONS, stall_s=1.0)
    fault = Fault("download", hang=True, spared=CONNECTIONS - 1, after=after)
    with speed_server(Manners(fault=fault)) as server, pytest.raises(ToolError) as raised:
        transfer.download([Target(server.url + "/100mb.bin")], window)
    assert raised.value.failure.kind is FailureKind.TIMEOUT
    assert "1 of 4 connections" in raised.value.failure.message


def looks(*moved: tuple[int, int], dies_at: int | None = None) -> list[Look]:
    """Two connections, a look a second; the second one may have ended."""
    return [
        Look(float(at), pair, (True, dies_at is None or at < dies_at))
        for at, pair in enumerate(moved)
    ]


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (looks((1, 1), (2, 2), (3, 3)), [0, 1, 2]),
        (looks((1, 0), (2, 0), (3, 1), (4, 2)), [2, 3]),
        (looks((1, 1), (2, 2), (3, 2), (4, 2), dies_at=2), [0, 1]),
        (looks((1, 1), (2, 2), (3, 2), (4, 2), (5, 2)), [0, 1]),
        (looks((1, 1), (2, 2), (3, 2), (4, 3), (5, 4)), [0, 1, 2, 3, 4]),
        (looks((1, 0), (2, 0), (3, 0)), []),
        ([], []),
    ],
    ids=["all", "late", "died", "silent", "a pause", "never", "nothing"],
)
def test_what_counts_is_what_all_connections_carried(seen: list[Look], expected: list[int]) -> None:
    assert [sample.at_s for sample in carried(seen, quiet_s=2.0)] == expected
