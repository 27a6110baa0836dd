"""A folder that a probe lives in, as another process of a user."""

import csv
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from speedtrap_probe.files.outbox import Outbox

NOWHERE = "http://127.0.0.1:1"


class Home:
    """A folder that a probe lives in, and its settings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.csv = folder / "report.csv"
        self.env = {
            **{name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
            "HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "SPEEDTRAP_PROBE_DATA_DIR": str(folder / "data"),
            "SPEEDTRAP_PROBE_NAME": "laptop",
            "SPEEDTRAP_PROBE_CHECKS": "127.0.0.1:1",
            "SPEEDTRAP_PROBE_WINDOW": "1s",
            "PYTHONWARNINGS": "error",
        }

    def argv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "speedtrap_probe", *arguments]

    def probe(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*arguments),
            env=self.env | environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.argv(*arguments),
            env=self.env,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def rows(self) -> list[dict[str, str]]:
        with self.csv.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    @property
    def outbox(self) -> Outbox:
        return Outbox(self.folder / "data" / "outbox.sqlite3")


def wait_for(condition: Callable[[], bool]) -> None:
    """Until it holds; the test's own time limit ends what never comes."""
    while not condition():
        time.sleep(0.1)
