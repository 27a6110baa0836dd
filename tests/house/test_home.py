"""The data folder, with each of its files lost, empty, cut off, or not to be opened, in turn."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from speedtrap_graph.http import keyfile

from speedtrap_up.errors import UpError
from speedtrap_up.home import Home


def begin(home: Home) -> tuple[str, list[str]]:
    """What `speedtrap up` does with its folder before it starts the parts."""
    home.make()
    with home.held("http://127.0.0.1:1"):
        name = home.probe_name(None)
        return name, home.ensure_keys(name)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "data")
    made.make()
    assert made.probe_name("laptop") == "laptop"
    assert made.ensure_keys("laptop") == []
    made.report.write_text("timestamp\n")
    (made.folder / "probe" / "outbox.sqlite3").write_bytes(b"runs")
    return made


def lost(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut_in_half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def garbage(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00 nothing")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "something").write_text("of somebody")


SMALL = ["keys/admin", "keys/probe", "keys/bots", "keys/web", "keys/session_secret", "probe_name"]
HARM = [lost, empty, cut_in_half, garbage, a_folder]


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("name", [*SMALL, "api_keys", "report.csv", "probe/outbox.sqlite3"])
def test_with_any_file_damaged_it_starts_or_says_in_a_sentence_what_to_do(
    home: Home, name: str, harm: Callable[[Path], None]
) -> None:
    keys = {part: home.key(part).read_text() for part in ("admin", "probe", "bots", "web")}
    before = {
        file: file.read_bytes() for file in home.folder.rglob("*") if file.is_file()
    }  # fmt: skip
    harm(home.folder / name)
    try:
        probe, _ = begin(home)
    except UpError as error:
        told = str(error)
        assert str(home.folder / name) in told
        assert "move it away" in told
        (home.folder / name).rename(home.folder / "moved away")
        probe, _ = begin(home)
    assert probe == "laptop"
    entries = {entry.name: entry.key for entry in keyfile.read(home.keys_file)}
    for part in ("admin", "bots", "web"):
        assert home.key(part).read_text().strip() == entries[part]
    assert home.key("probe").read_text().strip() == entries["laptop"]
    if name != "api_keys":
        assert {part: home.key(part).read_text() for part in keys} == keys
    for file in (home.report, home.folder / "probe" / "outbox.sqlite3"):
        if file != home.folder / name:
            assert file.read_bytes() == before[file]
    assert len(home.session_secret.read_text().strip()) >= 32


@pytest.mark.parametrize("harm", [lost, empty])
def test_where_all_keys_are_lost_new_ones_are_made_and_said(
    home: Home, harm: Callable[[Path], None]
) -> None:
    harm(home.keys_file)
    (said,) = begin(home)[1]
    assert f"{home.keys_file} was missing or empty: new keys were made" in said
    assert begin(home)[1] == []


@pytest.mark.parametrize("harm", [empty, cut_in_half, garbage])
def test_a_session_secret_that_was_cut_off_is_kept_beside_the_new_one(
    home: Home, harm: Callable[[Path], None]
) -> None:
    harm(home.session_secret)
    damaged = home.session_secret.read_bytes()
    begin(home)
    (aside,) = home.session_secret.parent.glob("session_secret.damaged-*")
    assert aside.read_bytes() == damaged


def test_a_key_file_with_a_cut_line_is_left_as_it_is_and_the_advice_works(home: Home) -> None:
    home.keys_file.write_bytes(home.keys_file.read_bytes()[:-20])
    cut = home.keys_file.read_bytes()
    with pytest.raises(UpError, match="move it away") as refused:
        begin(home)
    assert home.keys_file.read_bytes() == cut
    found = re.search(r"mv (\S+) (\S+)\)", str(refused.value))
    assert found is not None
    Path(found[1]).rename(found[2])
    begin(home)
    assert Path(found[2]).read_bytes() == cut
    assert len(keyfile.read(home.keys_file)) == 4


@pytest.mark.parametrize("folder", ["keys", "logs", "probe"])
def test_a_file_in_the_place_of_a_folder_is_named(home: Home, folder: str) -> None:
    lost(home.folder / folder)
    (home.folder / folder).write_text("of somebody")
    with pytest.raises(UpError, match=f"{home.folder / folder} cannot be used"):
        begin(home)
    assert (home.folder / folder).read_text() == "of somebody"


def test_root_does_not_start_in_the_folder_of_another_user(home: Home) -> None:
    if os.geteuid() == 0:
        os.chown(home.folder, 65534, 65534)
        with pytest.raises(UpError, match="belongs to nobody"):
            home.make()
        with pytest.raises(UpError, match="belongs to nobody"), home.held():
            pass
    with pytest.raises(UpError, match=r"start it as \S+ \(`sudo -u "):
        home.check_owner(0)
    home.check_owner(home.folder.stat().st_uid)
    Home(home.folder / "new").check_owner(0)
