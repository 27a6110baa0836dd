"""Does what a recipe says."""

import subprocess

from speedtrap_probe.errors import ProbeError
from speedtrap_probe.schedule.job import Command, Recipe

TIMEOUT_S = 60.0


def install(recipe: Recipe) -> None:
    for file in recipe.files:
        try:
            file.path.parent.mkdir(parents=True, exist_ok=True)
            file.path.write_bytes(file.content)
        except OSError as error:
            raise ProbeError(f"{file.path} cannot be written: {error.strerror}") from error
    for command in recipe.install:
        run(command)


def remove(recipe: Recipe) -> None:
    for command in recipe.remove:
        run(command)
    for file in recipe.files:
        try:
            file.path.unlink(missing_ok=True)
        except OSError as error:
            raise ProbeError(f"{file.path} cannot be deleted: {error.strerror}") from error
    for command in recipe.forget:
        run(command)


def run(command: Command) -> str:
    """What it printed; raises ProbeError with its own words when it fails."""
    try:
        done = subprocess.run(
            command.argv,
            # An empty input, unless there is something to say: nothing here asks a person.
            input=command.stdin or b"",
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        if command.may_fail:
            return ""
        raise ProbeError(f"{command.argv[0]} cannot be run: {error}") from error
    said = (done.stdout + done.stderr).decode(errors="replace").strip()
    if done.returncode and not command.may_fail:
        raise ProbeError(f"{' '.join(command.argv)} failed: {said}")
    return said
