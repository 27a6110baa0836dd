"""What is published installs and runs away from the repository, on every Python there is here."""

import json
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UV = ROOT / ".venv/bin/uv"
SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
WORKFLOW = ROOT / ".github/workflows/release.yaml"


def run(*argv: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if "SPEEDTRAP" not in name}
    kept.pop("VIRTUAL_ENV", None)
    done = subprocess.run(
        [str(word) for word in argv],
        cwd=cwd,
        env={**kept, "UV_PYTHON_DOWNLOADS": "never", "HOME": str(cwd)}
        | {"UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache/uv"))},
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
    run(UV, "build", "--quiet", "--out-dir", folder, ROOT / "probe", cwd=folder)
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


def test_what_is_published_holds_code_and_licence_and_no_tests(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    (source,) = built.glob("*.tar.gz")
    names = zipfile.ZipFile(wheel).namelist()
    with tarfile.open(source) as archive:
        names += archive.getnames()
    assert not [name for name in names if "/tests/" in name or "captures" in name]
    assert [name for name in names if name.endswith("submit_runs.graphql")]


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
