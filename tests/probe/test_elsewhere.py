"""The probe without what only POSIX has, and without any other speedtrap package."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.lab.speed import speed_server

ROOT = Path(__file__).parents[2]
FAKED = """
import os, signal, sys, time, types
import asyncio, csv, ctypes, email, getpass, httpx, logging, plistlib, psutil, rich.progress
import sqlite3, ssl
import subprocess
import typer.testing, urllib3, platformdirs, multiprocessing, tempfile, zoneinfo  # before the fake
platform = sys.argv[1]
for name in ("fcntl", "pwd", "grp", "resource", "termios", "tty", "pty"):
    sys.modules[name] = None
for name in ("fork", "getuid", "geteuid", "killpg", "getpgid", "setsid", "uname"):
    delattr(os, name)
for name in ("SIGKILL", "SIGHUP", "SIGALRM"):
    delattr(signal, name)
for name in ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC", "clock_gettime"):
    delattr(time, name)
locks = []
sys.modules["msvcrt"] = types.SimpleNamespace(
    LK_LOCK=1, LK_NBLCK=2, LK_UNLCK=0, locking=lambda *given: locks.append(given)
)
if platform == "darwin":
    del sys.modules["fcntl"]
sys.platform = platform
import pkgutil, importlib, speedtrap_probe
for module in pkgutil.walk_packages(speedtrap_probe.__path__, "speedtrap_probe."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from speedtrap_probe.cli import app
try:
    app(["run", "--tool", "lan", "--url", sys.argv[2], "--quiet"])
finally:
    assert bool(locks) is (platform == "win32"), locks
"""


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_a_run_needs_nothing_that_only_posix_has(platform: str, tmp_path: Path) -> None:
    with speed_server() as lan:
        done = subprocess.run(
            [sys.executable, "-c", FAKED, platform, lan.url],
            cwd=tmp_path,
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": str(tmp_path),
                "SPEEDTRAP_PROBE_DATA_DIR": str(tmp_path / "data"),
                "SPEEDTRAP_PROBE_CHECKS": "127.0.0.1:1",
                "SPEEDTRAP_PROBE_WINDOW": "1s",
                "SPEEDTRAP_PROBE_LOOK": "0s",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert "lan" in (tmp_path / "report.csv").read_text()


def test_the_probe_imports_no_other_speedtrap_package() -> None:
    code = (
        "import importlib, pkgutil, sys, speedtrap_probe\n"
        "for found in pkgutil.walk_packages(speedtrap_probe.__path__, 'speedtrap_probe.'):\n"
        "    if not found.name.endswith('__main__'): importlib.import_module(found.name)\n"
        "print(*{name.partition('.')[0] for name in sys.modules if name.startswith('speedtrap')})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["speedtrap_probe"]


def needed(lock: dict[str, Any], name: str) -> set[str]:
    """What installing *name* brings, on any system."""
    packages = {package["name"]: package for package in lock["package"]}
    found: set[str] = set()
    left = [name]
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += [entry["name"] for entry in packages[one].get("dependencies", [])]
    return found - {name}


def test_every_dependency_runs_on_a_pi_without_a_compiler() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    packages = {package["name"]: package for package in lock["package"]}
    for name in needed(lock, "speedtrap-probe"):
        wheels = [wheel["url"].rpartition("/")[2] for wheel in packages[name].get("wheels", [])]
        pure = any(wheel.endswith("-none-any.whl") for wheel in wheels)
        assert pure or all(any(arch in w for w in wheels) for arch in ("armv7l", "aarch64")), name
