"""One's own network: speedtrap's `/speed/` endpoint, or any LibreSpeed-compatible server.

Tells whether the way to the gateway is the bottleneck, and is a real measurement on a machine
that has no internet at all.
"""

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from speedtrap_probe.engine import http, librespeed
from speedtrap_probe.engine.connection.wire import Target
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

    def usable(self, setup: Setup) -> Usable:
        # Measured over the internet, the line would be taken for one's own network.
        if "lan_url" in setup.options or in_own_network(urlsplit(setup.service_url).hostname or ""):
            return Usable(True, http.VERSION)
        return Usable(False, hint="the service is not in this network: set LAN_URL to what is")

    def measure(self, setup: Setup) -> Figures:
        url = setup.options.get("lan_url") or librespeed.below(setup.service_url, "speed")
        root = Target.of(librespeed.folder(url), setup, internet=False)
        return http.measure(librespeed.endpoints(root), setup)


def in_own_network(host: str) -> bool:
    """By its address, or by a name that no public resolver knows."""
    try:
        return ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith(OWN_NAMES)


OWN_NAMES = (".local", ".lan", ".home", ".internal", ".home.arpa")
TOOL = Lan()
