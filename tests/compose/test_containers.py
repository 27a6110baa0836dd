"""What the containers may, and that no secret is where everybody looks."""

import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.hardening import PINNED, check
from tests.compose.images import asked_for, docker
from tests.compose.stack import ROOT, STRAY, Stack
from tests.lab.smtp import PASSWORD

pytestmark = pytest.mark.system

SERVICES = {"gateway", "certbot", "graph", "web", "bot-mail", "bot-twitter", "db"}
SECRETS = (
    "admin_key",
    "web_key",
    "bots_key",
    "probe_key",
    "gateway_secret",
    "web_session_secret",
    "grafana_password",
    "speedtest-db_root_password",
    "speedtest-db_api_password",
    "speedtest-db_keyfile",
)


@pytest.fixture(scope="module")
def planted(stack: Stack, probe_key: str) -> list[str]:
    """Every secret there is, after each was used."""
    stack.graphql(probe_key, "{ me { name } }")
    return [*(stack.secret(name) for name in SECRETS), probe_key, PASSWORD]


def test_every_container_is_locked_down(stack: Stack) -> None:
    checked = {check(stack, one["ID"]) for one in stack.containers()}
    assert checked == SERVICES


def test_every_image_is_named_with_its_version(stack: Stack) -> None:
    named = asked_for(stack.folder)
    assert len(named) >= 6
    assert [image for image in named if not PINNED.fullmatch(image)] == []


def test_secrets_are_readable_by_their_service_alone(stack: Stack) -> None:
    code = (
        "import pathlib\n"
        "for file in pathlib.Path('/run/speedtrap').iterdir():\n"
        "    print(file.stat().st_uid, oct(file.stat().st_mode & 0o777))"
    )
    for service in ("graph", "web", "bot-mail", "bot-twitter"):
        assert set(stack.python_in(service, code).splitlines()) == {"10001 0o400"}
    look = ("stat", "-c", "%U %a", "/run/speedtrap/speedtest-db_keyfile")
    assert stack.compose("exec", "--no-TTY", "db", *look).strip() == "mongodb 400"


def test_no_secret_is_in_inspect_history_logs_or_environment(
    stack: Stack, planted: list[str]
) -> None:
    told = stack.compose("logs", "--no-color")
    for one in stack.containers():
        told += json.dumps(stack.inspect(one["ID"]))
        told += stack.run("docker", "history", "--no-trunc", stack.inspect(one["ID"])["Image"])
        told += stack.run("docker", "top", one["ID"], "-eo", "pid,args")
    assert [secret for secret in planted if secret in told] == []


def test_no_secret_no_history_and_no_test_is_in_any_layer_of_any_image(
    stack: Stack, planted: list[str], tmp_path: Path
) -> None:
    """They were built in a folder where somebody had left a secret here and there."""
    stack.build("probe")
    words = [secret.encode() for secret in (*planted, STRAY)]
    tests = tracked("tests/")
    found, files = [], 0
    for path, content in files_of_images(stack, tmp_path / "images.tar"):
        files += 1
        found += [path for word in words if word in content]
        if ".git/" in path or path.endswith(tests) or "secrets/" in path.removeprefix("run/"):
            found.append(path)
    assert files > 5000
    assert found == []


def tracked(folder: str) -> tuple[str, ...]:
    """Deep enough not to be found in other projects as well."""
    listed = subprocess.run(
        ["git", "ls-files", folder],  # noqa: S607 - whichever made this clone
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return tuple(f"/{path}" for path in listed if path.count("/") >= 2)


def files_of_images(stack: Stack, archive: Path) -> Iterator[tuple[str, bytes]]:
    """Path and content of every file in every layer, those that a later layer hides too."""
    images = docker("images", "--quiet", f"{stack.project}-*").stdout.split()
    assert len(images) >= 6
    saved = docker("save", "--output", str(archive), *sorted(set(images)))
    assert saved.returncode == 0, saved.stderr
    with tarfile.open(archive) as outer:
        for entry in outer:
            blob = outer.extractfile(entry)
            if blob is None:
                continue
            try:
                layer = tarfile.open(fileobj=blob)  # noqa: SIM115 - closed by the block below
            except tarfile.ReadError:
                # Not a layer: the image's own description, which `inspect` shows.
                blob.seek(0)
                yield entry.name, blob.read()
                continue
            with layer:
                for file in layer:
                    content = layer.extractfile(file) if file.isfile() else io.BytesIO()
                    yield file.name, content.read() if content else b""
    archive.unlink()
