"""A measurement by HTTP from end to end: idle round trips, download, upload."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from speedtrap_probe import __version__
from speedtrap_probe.engine import latency, transfer
from speedtrap_probe.engine.answers import ANY_PAYLOAD, Payload
from speedtrap_probe.engine.connection.wire import Target
from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import FailureKind, Figures, Server
from speedtrap_probe.tool import Setup

TRIES = 3
VERSION = f"speedtrap {__version__}"
"""The tool version of what the engine measures."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """What a server offers. Without `upload` only the download is measured.

    `ping` answers small requests by `ping_method`; it may refuse them where that is not its duty.
    """

    download: Sequence[Target]
    ping: Target
    upload: Sequence[Target] = ()
    ping_method: str = "GET"
    must_ping: bool = True
    post_sizes: Sequence[int] = transfer.POST_SIZES
    server: Server | None = None
    payload: Payload = ANY_PAYLOAD


def measure_first(offers: Sequence[Endpoints], setup: Setup) -> Figures:
    """At the first of these servers that does not refuse, fail or limit us: a few are tried.

    Raises what the first one said, or what one said that had at least measured something.
    """
    return first_of([partial(measure, offer, setup) for offer in offers], setup)


def first_of(tries: Sequence[Callable[[], Figures]], setup: Setup) -> Figures:
    """What the first of *tries* measures that succeeds."""
    told: ToolError | None = None
    for number, one in enumerate(tries, 1):
        try:
            return one()
        except ToolError as error:
            half = told is not None and _measured(told)
            told = error if told is None or (_measured(error) and not half) else told
            # On a line that is down the other servers would not answer either; and a direction
            # that was measured is measured once more at most, for it costs data.
            down = setup.line_up is False and error.failure.kind is not FailureKind.RATE_LIMITED
            if number == TRIES or down or half or setup.deadline.passed:
                break
    if told is None:
        raise ToolError(FailureKind.TOOL_FAILED, "there is no server to measure with")
    raise told


def measure(endpoints: Endpoints, setup: Setup, connections: int = transfer.CONNECTIONS) -> Figures:
    """Idle latency, then each direction with the latency under its load.

    A ToolError carries the figures that there were before it.
    """
    idle = _idle(endpoints, setup)
    figures = Figures(
        latency_ms=idle.latency_ms if idle else None,
        jitter_ms=idle.jitter_ms if idle else None,
        server=endpoints.server,
        tool_version=VERSION,
    )
    window = transfer.Window(setup.window_s, connections)
    beside = _beside(endpoints) if idle else None
    down = transfer.download(endpoints.download, window, setup.progress, beside, endpoints.payload)
    figures = replace(
        figures,
        download_mbps=down.mbps,
        bytes_received=down.moved_bytes,
        loaded_latency_down_ms=down.loaded_latency_ms,
    )
    if not endpoints.upload:
        return figures
    beside = _beside(endpoints) if idle else None
    try:
        up = transfer.upload(endpoints.upload, window, setup.progress, beside, endpoints.post_sizes)
    except ToolError as error:
        raise ToolError(error.failure.kind, error.failure.message, figures) from error
    return replace(
        figures,
        upload_mbps=up.mbps,
        bytes_sent=up.moved_bytes,
        loaded_latency_up_ms=up.loaded_latency_ms,
    )


def _measured(error: ToolError) -> bool:
    return error.figures.download_mbps is not None


def _idle(endpoints: Endpoints, setup: Setup) -> latency.Latency | None:
    try:
        return latency.measure(endpoints.ping, endpoints.ping_method, progress=setup.progress)
    except ToolError:
        if endpoints.must_ping:
            raise
        return None


def _beside(endpoints: Endpoints) -> latency.UnderLoad:
    return latency.UnderLoad(endpoints.ping, endpoints.ping_method)
