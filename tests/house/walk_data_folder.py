"""Every single file of a real data folder lost, empty, cut in half, or of another owner, in turn.

    make walk

It takes many minutes: not part of `make test`, which has the kinds in test_home.py and
test_embedded.py.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.lab.mongo import free_port
from tests.system.house import a_house, eventually

NOBODY = 65_534
AS_OTHERS_ARE = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner,-chown"]
"""Root may read whatever belongs to whomever. Without these it may read its own files, as every
user: so the walk needs no second user who can reach Python and mongod.
"""
OF_USE_FOR_A_MOMENT = re.compile(
    r"logs/|keys/(admin|bots|probe|web)$|mongo/(port|ready)$|mongo/db/|running\.json$|up\.lock$|probe_name$|probe/.*(lock|-shm|-wal)$"
)
"""What a start may write anew. The rest must still be there byte for byte, by whatever name."""


def lost(file: Path) -> None:
    file.unlink()


def empty(file: Path) -> None:
    file.write_bytes(b"")


def cut_in_half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def of_another_owner(file: Path) -> None:
    os.chown(file, NOBODY, NOBODY)
    file.chmod(0o600)


AT_A_TIME = 3
"""Each start waits more than it works."""
HARM = [lost, empty, cut_in_half, *([of_another_owner] if os.geteuid() == 0 else [])]
"""Only root can give a file away."""


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """After a first start and one run."""
    place = Path(tempfile.mkdtemp())
    with a_house(place, "--every", "1h", SPEEDTRAP_PROBE_TOOLS="lan") as house:
        eventually(lambda: house.ask("{ runs { nodes { id } } }")["runs"]["nodes"])
    try:
        yield place / "data"
    finally:
        shutil.rmtree(place)


def files_of(folder: Path) -> list[Path]:
    return sorted(f.relative_to(folder) for f in folder.rglob("*") if f.is_file())


def contents(folder: Path) -> dict[Path, bytes]:
    return {name: (folder / name).read_bytes() for name in files_of(folder)}


def as_a_person(arguments: list[str], folder: Path) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if "SPEEDTRAP" not in name}
    return subprocess.Popen(
        [
            *(AS_OTHERS_ARE if os.geteuid() == 0 else []),
            sys.executable,
            "-P",
            "-m",
            "speedtrap",
            *arguments,
        ],
        env=kept | {"HOME": str(folder.parent), "SPEEDTRAP_PROBE_TOOLS": "lan"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder.parent,
    )


def start(folder: Path, name: Path) -> tuple[bool, str]:
    """Whether it started, and what was said. A command that starts the database alone is enough
    for its files."""
    data = ["--data-dir", str(folder)]
    if name.parts[0] == "mongo":
        process = as_a_person(["backup", str(folder.parent / "b.gz"), *data], folder)
        said, _ = process.communicate(timeout=170)
        return process.returncode == 0, said
    alone = [] if name.parts[0] in {"probe", "report.csv"} else ["--no-probe"]
    with as_a_person(["up", "--port", str(free_port()), *alone, *data], folder) as process:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if "Ctrl-C stops" in line:
                process.terminate()
                rest, _ = process.communicate(timeout=60)
                return True, said + rest
        process.wait(timeout=60)
        return False, said


@pytest.mark.parametrize("harm", HARM)
def walk_over_every_file(made: Path, harm: Callable[[Path], None]) -> None:
    only = os.environ.get("SPEEDTRAP_WALK", "")
    names = [name for name in files_of(made) if re.search(only, str(name))]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        found = list(pool.map(lambda name: step(made, name, harm), names))
    assert [problem for problems in found for problem in problems] == []


def step(made: Path, name: Path, harm: Callable[[Path], None]) -> list[str]:
    began = time.monotonic()
    how, problems = harmed(made, name, harm)
    took = f"{time.monotonic() - began:.1f} s"
    print(f"{harm.__name__}: {name}: {how} ({took})", *problems, sep="\n    ", flush=True)  # noqa: T201 - its report
    return [f"{harm.__name__}: {name}: {problem}" for problem in problems]


def harmed(made: Path, name: Path, harm: Callable[[Path], None]) -> tuple[str, list[str]]:
    place = Path(tempfile.mkdtemp())
    folder = place / "data"
    try:
        shutil.copytree(made, folder)
        harm(folder / name)
        before = contents(folder)
        started, said = start(folder, name)
        after = contents(folder)
    finally:
        shutil.rmtree(place)
    problems = []
    if "Traceback" in said:
        problems.append(f"a traceback: {said[-1500:]}")
    if not started and not re.search(
        r"put it|put the file back|move it away|Give it back|restore", said
    ):
        problems.append(f"no advice: {said[-1500:]}")
    kept = set(after.values())
    for file, content in before.items():
        grown = after.get(file, b"").startswith(content)
        if not OF_USE_FOR_A_MOMENT.search(str(file)) and content not in kept and not grown:
            problems.append(f"{file} is gone or changed")
    if not started and name.parts[:2] == ("mongo", "db") and name not in after and harm is not lost:
        problems.append(f"{name} is gone")
    last = said.strip().splitlines()[-1:] or [""]
    return ("starts" if started else f"says: {last[0][:200]}"), problems
