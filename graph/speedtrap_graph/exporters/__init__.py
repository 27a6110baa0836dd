"""Ways out for runs, one file each. A file has a value `EXPORTER`, and the folder is scanned."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Generic, TypeVar

from pydantic_settings import BaseSettings

from speedtrap_graph.services.exporting import Exporter, NotTakenError

S = TypeVar("S", bound=BaseSettings)


@dataclass(frozen=True)
class ExporterKind(Generic[S]):
    """`make` gives None where the settings ask for none."""

    name: str
    settings: type[S]
    make: Callable[[S], Exporter | None]


def secret_in(file: Path, setting: str) -> str:
    """What the file of *setting* says now. It may be away for as long as somebody changes it."""
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise NotTakenError(f"{setting} cannot be read ({error.strerror})") from None


def kinds() -> Mapping[str, ExporterKind[BaseSettings]]:
    """Every exporter in the folder, by name."""
    found: dict[str, ExporterKind[BaseSettings]] = {}
    for module in iter_modules(__path__, __name__ + "."):
        kind: ExporterKind[BaseSettings] = import_module(module.name).EXPORTER
        found[kind.name] = kind
    return found


def configured() -> list[Exporter]:
    """Those that the environment asks for; ValidationError where it does so badly."""
    made = [kind.make(kind.settings()) for kind in kinds().values()]
    return [exporter for exporter in made if exporter is not None]
