"""How the command ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import typer

from speedtrap_probe import display
from speedtrap_probe.errors import NotKeptError, ProbeError, SettingsError


class Exit(IntEnum):
    """Exit codes."""

    GOOD = 0  # measured, and delivered or queued
    FAILED = 1  # every tool failed, or nothing could be read
    USAGE = 2
    REJECTED = 3  # the service did not take a run: it is set aside, and `flush` lists it
    NOT_KEPT = 4  # neither the CSV nor the outbox took the run, or the outbox cannot be used
    ASIDE = 5  # another run measures this line now
    STUCK = 6  # another run holds this line for longer than a run can take


@contextmanager
def problems() -> Iterator[None]:
    """A problem is a sentence on stderr and an exit code, never a traceback."""
    try:
        yield
    except SettingsError as error:
        display.complain(str(error), style="red")
        raise typer.Exit(Exit.USAGE) from error
    except NotKeptError as error:
        display.complain(str(error), style="red")
        raise typer.Exit(Exit.NOT_KEPT) from error
    except ProbeError as error:
        display.complain(str(error), style="red")
        raise typer.Exit(Exit.FAILED) from error
