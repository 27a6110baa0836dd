"""One's own network: speedtrap's `/speed/` endpoint, or any LibreSpeed-compatible server.

Tells whether the way to the gateway is the bottleneck, and is a real measurement on a machine
that has no internet at all.
"""

from dataclasses import dataclass

from speedtrap_probe.engine import http, librespeed
from speedtrap_probe.engine.wire import Target
from speedtrap_probe.model import Figures
from speedtrap_probe.tool import Option, Setup, Usable


@dataclass(frozen=True, slots=True)
class Lan:
    """Download, upload, round trips idle and under load."""

    name: str = "lan"
    internet: bool = False
    options: tuple[Option, ...] = (
        Option("lan_url", "the LibreSpeed-compatible endpoint; default: <service>/speed/"),
    )

    def usable(self, _setup: Setup) -> Usable:
        return Usable(True, http.VERSION)

    def measure(self, setup: Setup) -> Figures:
        url = setup.options.get("lan_url") or librespeed.below(setup.service_url, "speed")
        root = Target.of(librespeed.folder(url), setup, internet=False)
        return http.measure(librespeed.endpoints(root), setup)


TOOL = Lan()
