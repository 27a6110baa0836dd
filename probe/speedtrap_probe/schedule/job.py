"""What is to be done how often, and what it takes to have a system do it."""

from dataclasses import dataclass
from pathlib import Path

NAME = "speedtrap-probe"


@dataclass(frozen=True, slots=True)
class Job:
    """A command every so many seconds, each time up to `jitter_s` later."""

    argv: tuple[str, ...]
    every_s: int
    jitter_s: int = 0

    def delayed(self) -> tuple[str, ...]:
        """For schedulers without a random delay of their own: the command waits itself."""
        return (*self.argv, "--delay", f"{self.jitter_s}s") if self.jitter_s else self.argv


@dataclass(frozen=True, slots=True)
class File:
    """To be written as it stands."""

    path: Path
    content: bytes


@dataclass(frozen=True, slots=True)
class Command:
    """`may_fail`: when there is nothing to undo."""

    argv: tuple[str, ...]
    stdin: bytes | None = None
    may_fail: bool = False


@dataclass(frozen=True, slots=True)
class Recipe:
    """Files are written before `install` and deleted after `remove`; then `forget`."""

    files: tuple[File, ...]
    install: tuple[Command, ...]
    remove: tuple[Command, ...]
    status: Command
    forget: tuple[Command, ...] = ()
    note: str | None = None
