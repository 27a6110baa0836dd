"""One's own network: speedtrap's `/speed/` endpoint, or any LibreSpeed-compatible server.

Tells whether the way to the gateway is the bottleneck, and is a real measurement on a machine
that has no internet at all.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from urllib.parse import urljoin

from speedtrap_probe.engine import latency, transfer
from speedtrap_probe.engine.link import Target
from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import Figures, Server
from speedtrap_probe.tool import Option, Setup, Usable

DOWNLOAD_MIB = 100
# LibreSpeed's PHP names first, which its other backends know too; then the bare ones.
SUFFIXES = (".php", "")


@dataclass(frozen=True, slots=True)
class Lan:
    """Download, upload, round trip and its variation."""

    name: str = "lan"
    internet: bool = False
    options: tuple[Option, ...] = (
        Option("lan_url", "the LibreSpeed-compatible endpoint; default: <service>/speed/"),
    )

    def usable(self, _setup: Setup) -> Usable:
        return Usable(True)

    def measure(self, setup: Setup) -> Figures:
        base = setup.options.get("lan_url") or urljoin(
            setup.service_url.rstrip("/") + "/", "speed/"
        )
        root = Target(base.rstrip("/") + "/", setup.proxy)
        suffix, idle = _round_trips(root, setup)
        window = transfer.Window(setup.window_s)
        down = transfer.download(
            root.at(f"garbage{suffix}?ckSize={DOWNLOAD_MIB}"), window, setup.progress
        )
        figures = Figures(
            download_mbps=down.mbps,
            latency_ms=idle.latency_ms if idle else None,
            jitter_ms=idle.jitter_ms if idle else None,
            bytes_received=down.moved_bytes,
            server=Server(host=root.host),
        )
        try:
            up = transfer.upload(root.at(f"empty{suffix}"), window, setup.progress)
        except ToolError as error:
            raise ToolError(error.failure.kind, error.failure.message, figures) from error
        return replace(figures, upload_mbps=up.mbps, bytes_sent=up.moved_bytes)


def _round_trips(root: Target, setup: Setup) -> tuple[str, latency.Latency | None]:
    """The suffix that this server knows, found by the latency test that comes first anyway."""
    first, *others = SUFFIXES
    try:
        return first, latency.measure(root.at(f"empty{first}"), progress=setup.progress)
    except ToolError as error:
        for suffix in others if "HTTP 404" in str(error) else ():
            with suppress(ToolError):  # the first answer is the one to report
                idle = latency.measure(root.at(f"empty{suffix}"), progress=setup.progress)
                return suffix, idle
        raise


TOOL = Lan()
