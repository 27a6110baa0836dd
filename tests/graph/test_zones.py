"""One table of time zones for all figures, whatever the machine has."""

import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

ASK = """
from datetime import datetime
from zoneinfo import ZoneInfo
{start}
print(ZoneInfo("America/Mexico_City").utcoffset(datetime(2026, 7, 1)))
"""
STARTS = {
    "graph": """
from speedtrap_graph.app import create_app
from speedtrap_graph.settings import GraphSettings
create_app(GraphSettings(callers="gateway"))
""",
    "web": """
from speedtrap_web.app import create_app
from speedtrap_web.settings import WebSettings
create_app(WebSettings())
""",
}


@pytest.mark.parametrize("service", STARTS)
def test_an_outdated_zone_table_of_the_machine_is_not_read(service: str, tmp_path: Path) -> None:
    outdated = tmp_path / "America" / "Mexico_City"
    outdated.parent.mkdir()
    # As it was until 2022, with an hour of daylight saving time.
    with_summer_time = files("tzdata") / "zoneinfo" / "America" / "Chicago"
    outdated.write_bytes(with_summer_time.read_bytes())
    assert asked("", tmp_path) == "-1 day, 19:00:00"
    assert asked(STARTS[service], tmp_path) == "-1 day, 18:00:00"


def asked(start: str, zones: Path) -> str:
    environment = {"PYTHONTZPATH": str(zones), "HOME": str(zones)}
    told = subprocess.run(
        [sys.executable, "-c", ASK.format(start=start)],
        env=environment, cwd=zones, capture_output=True, check=True, text=True, timeout=120,
    )  # fmt: skip
    return told.stdout.strip()
