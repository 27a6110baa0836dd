"""Measuring clients of others, from npm: exactly those that clients/package-lock.json names."""

import hashlib
import importlib.util
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = Path(__file__).parent / "clients"
INSTALLED = Path(sys.prefix) / "npm-clients"


def client(package: str) -> Path:
    """The package's folder; brings all of them when they are not there, or not in this version."""
    digest = hashlib.sha256((NAMED / "package-lock.json").read_bytes()).hexdigest()
    folder = INSTALLED / digest[:16]
    if not folder.is_dir():
        INSTALLED.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=INSTALLED) as work:
            fresh = Path(work) / "fresh"
            shutil.copytree(NAMED, fresh)
            _npm_ci(fresh)
            # Another process may have been first.
            if not folder.is_dir():
                fresh.rename(folder)
    return folder / "node_modules" / package


def _npm_ci(folder: Path) -> None:
    """As the page's libraries are brought: `web/vendor.py` stands outside of all packages."""
    spec = importlib.util.spec_from_file_location("web_vendor", ROOT / "web" / "vendor.py")
    assert spec is not None
    assert spec.loader is not None
    vendor = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(vendor)
    vendor.npm_ci(folder)
