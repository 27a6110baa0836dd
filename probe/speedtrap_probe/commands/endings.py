"""What became of runs, in words and as the exit code."""

from typing import NoReturn

import typer

from speedtrap_probe import display
from speedtrap_probe.errors import SettingsError
from speedtrap_probe.problems import Exit
from speedtrap_probe.service.submit import Delivery
from speedtrap_probe.session import Session


def delivered(session: Session) -> Delivery:
    delivery = session.deliver()
    if delivery is None:
        raise SettingsError("a key is needed: give -k, or set SPEEDTRAP_PROBE_KEY")
    return delivery


def tell(told: list[str], delivery: Delivery | None, quiet: bool) -> None:
    """Good news to stdout unless quiet; problems to stderr always."""
    for line in told:
        display.complain(line)
    if delivery is None:
        return
    troubled = delivery.problem is not None or bool(delivery.rejected)
    voice = display.complain if troubled else display.say
    if troubled or not quiet:
        for line in display.delivered(delivery):
            voice(line)


def is_rejected(delivery: Delivery | None) -> bool:
    return delivery is not None and bool(delivery.rejected)


def end(delivery: Delivery | None, *, failed: bool = False) -> NoReturn:
    ends = {
        Exit.NOT_KEPT: delivery is not None and delivery.unusable,
        Exit.FAILED: failed,
        Exit.REJECTED: is_rejected(delivery),
    }
    raise typer.Exit(next((code for code, so in ends.items() if so), Exit.GOOD))
