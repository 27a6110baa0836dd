"""docs/architecture.md is true: what it names is there, and folders hold what it says."""

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGES = [
    ROOT / "graph/speedtrap_graph",
    ROOT / "web/speedtrap_web",
    ROOT / "bots/speedtrap_bots",
    ROOT / "probe/speedtrap_probe",
    ROOT / "speedtrap_up",
]
MOST_MODULES = 16


def places() -> list[str]:
    """Every path that it names: those that hold a slash or end in `.py`."""
    named = re.findall(r"`([a-z_./]+)`", TEXT)
    return sorted({name for name in named if "/" in name or name.endswith(".py")})


def test_every_path_that_the_architecture_names_is_there() -> None:
    roots = [ROOT, *PACKAGES, ROOT / "graph/speedtrap_graph/services", *PACKAGES[0].iterdir()]
    missing = [name for name in places() if not any((root / name).exists() for root in roots)]
    assert len(places()) > 30
    assert missing == []


def test_every_room_is_in_the_architecture() -> None:
    rooms = {
        folder.name
        for package in PACKAGES[:4]
        for folder in package.iterdir()
        if (folder / "__init__.py").exists()
    }
    not_named = {room for room in rooms if f"`{room}/`" not in TEXT}
    assert not_named <= {"machine", "foreign", "operations", "languages"}, "the smaller ones"


def test_no_folder_holds_more_than_sixteen_modules() -> None:
    counts = Counter(
        file.parent.relative_to(ROOT)
        for package in PACKAGES
        for file in package.rglob("*.py")
        if file.name != "__init__.py"
    )
    assert {str(folder): n for folder, n in counts.items() if n > MOST_MODULES} == {}
