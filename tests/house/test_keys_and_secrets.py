"""`speedtrap keys` and `speedtrap secrets`, called as a person calls them."""

import subprocess
import sys
from pathlib import Path

import pytest
from speedtrap_graph.http import keyfile
from speedtrap_graph.http.callers import parse_keys


def speedtrap(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "speedtrap", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "api_keys"


def test_a_key_is_shown_once_and_works_where_graph_reads_it(file: Path) -> None:
    added = speedtrap("keys", "add", "pi-attic", "--role", "probe", "--file", str(file))
    key = added.stdout.strip()
    assert added.returncode == 0
    assert len(key) >= 40
    (caller,) = parse_keys(file.read_text()).values()
    assert (caller.name, caller.role.value) == ("pi-attic", "PROBE")
    listed = speedtrap("keys", "list", "--file", str(file))
    assert listed.stdout.split() == ["pi-attic", "probe"]
    assert key not in listed.stdout + listed.stderr


def test_the_file_is_for_its_owner_only_and_has_nginx_map_form(file: Path) -> None:
    entry = keyfile.add(file, "laptop", "viewer")
    assert file.stat().st_mode & 0o777 == 0o600
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    assert lines == [f'"{entry.key}" "laptop:viewer";']
    assert entry.key not in repr(entry)


def test_a_mode_that_the_operator_gave_the_file_is_kept(file: Path) -> None:
    keyfile.add(file, "one", "viewer")
    file.chmod(0o640)
    keyfile.add(file, "two", "viewer")
    assert file.stat().st_mode & 0o777 == 0o640


def test_a_revoked_key_is_gone_and_the_others_stay(file: Path) -> None:
    gone, stays = keyfile.add(file, "gone", "bot"), keyfile.add(file, "stays", "bot")
    assert speedtrap("keys", "revoke", "gone", "--file", str(file)).returncode == 0
    assert gone.key not in file.read_text()
    assert [entry.key for entry in keyfile.read(file)] == [stays.key]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("add", "Laptop", "--role", "probe"), "name: 'Laptop' is not allowed; small letters"),
        (("add", 'a";evil', "--role", "probe"), "is not allowed"),
        (("add", "a" * 65, "--role", "probe"), "at most 64"),
        (("add", "laptop", "--role", "king"), "'king' is not one of probe, viewer, bot, admin"),
        (("add", "taken", "--role", "probe"), "'taken' has a key already"),
        (("revoke", "nobody"), "'nobody' has no key"),
    ],
)
def test_bad_input_is_named_without_a_traceback(
    file: Path, arguments: tuple[str, ...], words: str
) -> None:
    keyfile.add(file, "taken", "viewer")
    done = speedtrap("keys", *arguments, "--file", str(file))
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_malformed_key_file_is_named_by_its_line_and_never_rewritten(file: Path) -> None:
    file.write_text('"0123456789abcdef" "laptop:probe"\n')
    done = speedtrap("keys", "add", "pi", "--role", "probe", "--file", str(file))
    assert done.returncode == 1
    assert "line 1" in done.stderr
    assert "0123456789abcdef" not in done.stderr
    assert file.read_text() == '"0123456789abcdef" "laptop:probe"\n'


def test_of_many_commands_at_once_none_undoes_another(file: Path) -> None:
    """Once a revoked admin key came back by an `add` that had read the file before."""
    for number in range(8):
        keyfile.add(file, f"old-{number}", "admin")
    script = "import sys; from pathlib import Path; from speedtrap_graph.http import keyfile; "
    changes = [
        *(f"keyfile.revoke(Path(sys.argv[1]), 'old-{number}')" for number in range(8)),
        *(f"keyfile.add(Path(sys.argv[1]), 'new-{number}', 'viewer')" for number in range(8)),
    ]
    commands = [
        subprocess.Popen([sys.executable, "-c", script + change, str(file)]) for change in changes
    ]
    assert [command.wait(timeout=60) for command in commands] == [0] * 16
    assert sorted(entry.name for entry in keyfile.read(file)) == [f"new-{n}" for n in range(8)]


def test_secrets_are_made_once_and_never_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    assert speedtrap("secrets", "init", "--dir", str(folder)).returncode == 0
    made = {file.name: file.read_text() for file in folder.iterdir()}
    for name in (
        "speedtest-db_root_username",
        "speedtest-db_root_password",
        "speedtest-db_api_username",
        "speedtest-db_api_password",
        "api_keys",
    ):
        assert made[name].strip()
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    again = speedtrap("secrets", "init", "--dir", str(folder))
    assert "Nothing to do" in again.stdout
    assert {file.name: file.read_text() for file in folder.iterdir()} == made


def test_secrets_init_prints_no_secret(tmp_path: Path) -> None:
    done = speedtrap("secrets", "init", "--dir", str(tmp_path / "secrets"))
    for file in (tmp_path / "secrets").iterdir():
        for word in file.read_text().split():
            assert len(word) < 20 or word not in done.stdout


def test_the_keys_of_secrets_init_are_the_ones_in_api_keys(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    speedtrap("secrets", "init", "--dir", str(folder))
    known = {entry.key: entry.role for entry in keyfile.read(folder / "api_keys")}
    for name, role in (
        ("admin_key", "admin"),
        ("web_key", "viewer"),
        ("bots_key", "bot"),
        ("probe_key", "probe"),
    ):
        assert known[(folder / name).read_text().strip()] == role


def test_a_secret_that_the_operator_wrote_stays(tmp_path: Path) -> None:
    (tmp_path / "speedtest-db_root_username").write_text("mine")
    speedtrap("secrets", "init", "--dir", str(tmp_path))
    assert (tmp_path / "speedtest-db_root_username").read_text() == "mine"
