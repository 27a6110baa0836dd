"""Where each of the probe's own clients can measure: against one of the lab's servers, or several.

The clients are found by what they import; one that has no stage here fails every table.
"""

import importlib
from pathlib import Path
from pkgutil import iter_modules

import speedtrap_probe.tools
from speedtrap_probe.tool import Setup, Tool

from tests.lab.speed import SpeedServer

FOLDER = Path(*speedtrap_probe.tools.__path__)
CLIENTS = [
    entry.name.replace("_", "-")
    for entry in iter_modules(speedtrap_probe.tools.__path__)
    if "speedtrap_probe.engine" in (FOLDER / f"{entry.name}.py").read_text(encoding="utf-8")
]
"""Every tool that measures by the engine."""

OPTIONS = {
    "cloudflare": {"cloudflare_url": "{url}/cf/"},
    "fast": {
        "fast_command": "none",
        "fast_url": "{url}/fast/",
        "fast_api_url": "{url}/fast/api",
    },
    "lan": {"lan_url": "{url}/speed/"},
    "librespeed": {"librespeed_url": "{url}/speed/"},
    "ndt7": {"ndt7_url": "{url}"},
    "turnkey": {"turnkey_url": "{url}/100mb.bin"},
}
DOWNLOAD_ONLY = frozenset({"turnkey"})
WEBSOCKET = frozenset({"ndt7"})
"""Of the server of `tests/lab/speed.py` these only see how it refuses."""


def tool(name: str) -> Tool:
    found: Tool = importlib.import_module(f"speedtrap_probe.tools.{name.replace('-', '_')}").TOOL
    return found


def against(name: str, server: SpeedServer, window_s: float = 1.0) -> Setup:
    options = {key: text.replace("{url}", server.url) for key, text in OPTIONS[name].items()}
    return Setup("http://127.0.0.1:1", options, window_s=window_s)
