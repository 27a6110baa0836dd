"""What is published installs and runs away from the repository, on every Python there is here."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import httpx
import pytest

from tests.lab.mongo import free_port

ROOT = Path(__file__).resolve().parents[2]
UV = ROOT / ".venv/bin/uv"
SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
COMMANDS = ("speedtrap", "speedtrap-probe", "speedtrap-graph", "speedtrap-bots", "speedtrap-web")
WORKFLOW = ROOT / ".github/workflows/release.yaml"


def environment(home: Path) -> dict[str, str]:
    """Nothing of this checkout or of its virtual environment."""
    kept = {name: value for name, value in os.environ.items() if "SPEEDTRAP" not in name}
    kept.pop("VIRTUAL_ENV", None)
    kept.setdefault("UV_CACHE_DIR", str(Path.home() / ".cache/uv"))
    tools = {"UV_TOOL_DIR": str(home / "tools"), "UV_TOOL_BIN_DIR": str(home / "bin")}
    return kept | tools | {"UV_PYTHON_DOWNLOADS": "never", "HOME": str(home)}


def run(*argv: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(word) for word in argv],
        cwd=cwd,
        env=environment(cwd),
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def pythons() -> dict[str, Path]:
    """Of the supported ones those that are installed here, by their versions."""
    places = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep)]
    places += sorted((Path.home() / ".pyenv/versions").glob("*/bin"))
    found: dict[str, Path] = {}
    for version in SUPPORTED:
        for place in places:
            python = place / f"python{version}"
            asked = [str(python), "-c", "import ssl, venv"]
            # pyenv's shims exist also for versions that they cannot run.
            if (
                python.exists()
                and subprocess.run(asked, capture_output=True, check=False).returncode == 0
            ):
                found.setdefault(version, python)
    return found


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    # Each wheel is made of its source distribution, so that both are tried.
    run(UV, "build", "--quiet", "--all-packages", "--out-dir", folder, ROOT, cwd=folder)
    return folder


def test_the_probes_wheel_runs_outside_the_repository_on_every_python_here(
    built: Path, tmp_path: Path
) -> None:
    (wheel,) = built.glob("speedtrap_probe-*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    found = pythons()
    assert "3.11" in found
    for version, python in found.items():
        place = tmp_path / version
        run(UV, "venv", "--quiet", "--python", python, place, cwd=tmp_path)
        inside = place / "bin/python"
        run(UV, "pip", "install", "--quiet", "--python", inside, wheel, cwd=tmp_path)
        said = run(place / "bin/speedtrap-probe", "tools", cwd=tmp_path).stdout
        assert "ookla" in said, version
        assert (
            f"{ROOT}/"
            not in run(
                inside,
                "-c",
                "import speedtrap_probe; print(speedtrap_probe.__file__)",
                cwd=tmp_path,
            ).stdout
        )


@pytest.mark.parametrize(
    ("distribution", "carries"),
    [
        ("speedtrap_probe", "submit_runs.graphql"),
        ("speedtrap_graph", "api/schema.py"),
        ("speedtrap_bots", "letter/templates/"),
        ("speedtrap_web", "vendor/uPlot.iife.min.js"),
        ("speedtrap", "speedtrap_up/operations/"),
    ],
)
def test_what_is_published_holds_code_and_licence_and_no_tests(
    built: Path, distribution: str, carries: str
) -> None:
    (wheel,) = built.glob(f"{distribution}-*.whl")
    (source,) = built.glob(f"{distribution}-*.tar.gz")
    with tarfile.open(source) as archive:
        both = [zipfile.ZipFile(wheel).namelist(), archive.getnames()]
    for names in both:
        assert not [name for name in names if "/tests/" in name or "captures" in name]
        assert [name for name in names if carries in name]
        assert [name for name in names if name.endswith("LICENSE")]
    assert wheel.name.endswith("-py3-none-any.whl")


@pytest.fixture(scope="module")
def tool(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`uv tool install` of the whole, with the versions of the lock; its home."""
    home = tmp_path_factory.mktemp("home")
    versions = home / "versions.txt"
    locked = ["--quiet", "--frozen", "--all-packages", "--no-dev", "--no-hashes"]
    locked += ["--no-emit-workspace", "--extra", "embedded", "--project", str(ROOT)]
    run(UV, "export", *locked, "--output-file", versions, cwd=home)
    from_here = ["--quiet", "--python", sys.executable, "--find-links", str(built)]
    run(UV, "tool", "install", *from_here, "-c", versions, "speedtrap[embedded]", cwd=home)
    return home


def test_every_command_says_what_it_is_away_from_the_repository(tool: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for command in COMMANDS:
        program = tool / "tools/speedtrap/bin" / command
        assert run(program, "--version", cwd=tool).stdout == f"{command} {version}\n"
    assert "Usage: speedtrap" in run(tool / "bin/speedtrap", "--help", cwd=tool).stdout


def test_every_part_carries_the_licence_of_the_whole() -> None:
    licence = (ROOT / "LICENSE").read_text()
    for part in ("probe", "graph", "bots", "web"):
        assert (ROOT / part / "LICENSE").read_text() == licence


@pytest.mark.system
def test_up_runs_from_what_was_installed_in_an_empty_folder(tool: Path) -> None:
    port, folder = free_port(), tool / "empty"
    folder.mkdir()
    argv = [str(tool / "bin/speedtrap"), "up", "--port", str(port), "--data-dir", "data"]
    with subprocess.Popen(
        [*argv, "--no-probe"], cwd=folder, env=environment(tool), stdout=subprocess.PIPE, text=True
    ) as up:
        assert up.stdout is not None
        assert any("The page" in line for line in up.stdout)
        page = httpx.get(f"http://127.0.0.1:{port}/", timeout=30)
        ready = httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=30)
        up.send_signal(signal.SIGINT)
        up.communicate()
    assert (page.status_code, ready.json()) == (200, {"ready": True})
    assert "<main" in page.text


def test_the_list_of_parts_names_what_is_installed(tmp_path: Path) -> None:
    file = tmp_path / "sbom.json"
    words = ["--quiet", "--frozen", "--all-packages", "--no-dev", "--format", "cyclonedx1.5"]
    run(UV, "export", *words, "--project", ROOT, "--output-file", file, cwd=tmp_path)
    parts = {part["name"] for part in json.loads(file.read_text())["components"]}
    assert {"httpx", "pymongo", "strawberry-graphql", "starlette", "aiosmtplib"} <= parts
    assert "pytest" not in parts


def test_the_release_tries_every_python_that_is_promised() -> None:
    text = WORKFLOW.read_text()
    assert text.count(json.dumps(list(SUPPORTED))) == 2
    assert "linux/amd64,linux/arm64" in text
    assert "id-token: write" in text
