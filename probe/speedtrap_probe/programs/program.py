"""A tool that is a program: find it, run it to its deadline, read what it printed."""

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from speedtrap_probe.errors import ToolError
from speedtrap_probe.line.way import version_of
from speedtrap_probe.model import FailureKind, Figures
from speedtrap_probe.programs import command
from speedtrap_probe.tool import Option, Setup, Usable

TIMEOUT_S = 120.0
SHORT_TIMEOUT_S = 15.0  # when the line is said to be down
VERSION_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Program:
    """How to start it, and its version where it tells."""

    argv: tuple[str, ...]
    version: str | None = None


Parse = Callable[[int, bytes, bytes], Figures]
"""Exit code, stdout and stderr into figures; raises ToolError. Pure."""


@dataclass(frozen=True, slots=True)
class CommandTool:
    """A program measures; `parse` reads it.

    `locate` raises ToolError when the program is not there, its text saying how to get it.
    `own_server` names the option with which the tool does not need the internet.
    """

    name: str
    parse: Parse
    locate: Callable[[Setup], Program]
    arguments: Callable[[Setup], tuple[str, ...]] = lambda _setup: ()
    options: tuple[Option, ...] = ()
    own_server: str | None = None
    timeout_s: float = TIMEOUT_S
    internet: bool = True

    def usable(self, setup: Setup) -> Usable:
        try:
            return Usable(True, self.locate(setup).version)
        except ToolError as error:
            return Usable(False, hint=error.failure.message)

    def measure(self, setup: Setup) -> Figures:
        program = self.locate(setup)
        said = output(self.name, program, self.arguments(setup), self._timeout_s(setup), setup)
        return replace(self.parse(*said), tool_version=program.version)

    def _timeout_s(self, setup: Setup) -> float:
        local = self.own_server is not None and self.own_server in setup.options
        if setup.line_up is False and not local:
            return min(self.timeout_s, SHORT_TIMEOUT_S)
        return self.timeout_s


def output(
    name: str, program: Program, arguments: tuple[str, ...], timeout_s: float, setup: Setup
) -> tuple[int, bytes, bytes]:
    """Exit code, stdout and stderr of one execution; raises ToolError at the deadline."""
    argv = [*program.argv, *arguments]
    timeout_s = min(timeout_s, setup.deadline.left_s())
    try:
        said = command.run(argv, timeout_s, command.environment(setup.proxy))
    except OSError as error:
        raise ToolError(
            FailureKind.TOOL_MISSING, f"{name} could not be started: {error.strerror}"
        ) from error
    if said.exit_code is None:
        raise ToolError(FailureKind.TIMEOUT, f"{name} did not end within {timeout_s:g} s")
    return said.exit_code, said.stdout, said.stderr


def binding(
    setup: Setup, address: tuple[str, ...], interface: tuple[str, ...] | None
) -> tuple[str, ...]:
    """The program's own arguments for `bind`, `{}` in them being the place.

    Raises ToolError where the program cannot: a figure of another line would be worse than none.
    """
    if setup.bind is None:
        return ()
    words = address if version_of(setup.bind) else interface
    if words is None:
        message = f"cannot be bound to {setup.bind}: set bind to that interface's address"
        raise ToolError(FailureKind.SKIPPED, message)
    return tuple(word.format(setup.bind) for word in words)


def on_path(name: str) -> Iterator[Path]:
    """Every executable of that name: the first may be another program's."""
    for folder in os.get_exec_path():
        # "" and "." are the working directory, where anybody's file may lie; Windows looks there
        # whatever the folder.
        if not Path(folder).is_absolute():
            continue
        found = shutil.which(name, path=folder)
        if found is not None and Path(found).parent == Path(folder):
            yield Path(found)
    beside = shutil.which(name, path=str(Path(sys.executable).parent))
    if beside is not None:  # in our own environment, which need not be on PATH
        yield Path(beside)


def program_version(path: Path, pattern: str) -> str | None:
    """The version in what `--version` prints, or None when it is another program."""
    try:
        said = command.run([str(path), "--version"], VERSION_TIMEOUT_S, command.environment(None))
    except OSError:
        return None
    match = re.search(pattern, said.stdout.decode(errors="replace"), re.MULTILINE)
    return match[1] if match else None
