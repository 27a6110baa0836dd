"""At every step of the SMTP conversation, everything that can go wrong, and what it means."""

import asyncio
from dataclasses import dataclass

import pytest
from speedtrap_bots.channels.mail import Mail, MailSettings
from speedtrap_bots.errors import ChannelError, Refused, Unavailable, Unknown

from tests.bots.builders import a_notice, allowed
from tests.lab.faulty_smtp import BEFORE_THE_DOT, Fault, every_fault, faulty_smtp
from tests.lab.mongo import free_port

TEXT = "Dear Example Cable support team,\n" + "please look.\n" * 10


@dataclass(frozen=True)
class Case:
    fault: Fault
    means: tuple[type[ChannelError] | None, ...]
    """None: it is sent."""


def the_meaning(fault: Fault) -> type[ChannelError] | None:
    """Until the dot nothing has arrived; after it, only a reply tells; a goodbye tells nothing."""
    if fault.step == "QUIT" or fault.how in {"many lines", "drips"}:
        return None
    if fault.how == "stopped":  # nobody stops us here
        return Unknown if fault.step == "DOT" and not fault.kept else None
    if fault.step == "EHLO" and fault.how in {"later", "never"}:
        return None  # an old server: HELO will do where no TLS is asked for
    if fault.how == "never" and fault.step not in {"CONNECT", "EHLO"}:
        return Refused
    if fault.step == "DOT" and fault.how not in {"later", "closing"}:
        return Unknown
    return Unavailable


REFUSALS = [Fault(step, "never") for step in (*BEFORE_THE_DOT[2:], "DOT")]
CASES = [
    # A cut in the message may be noticed before the dot is out, or after.
    Case(fault, (Unavailable, Unknown) if fault.step == "BODY" else (the_meaning(fault),))
    for fault in [*every_fault(), *REFUSALS]
    if fault.how != "killed"
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.fault))
async def test_what_went_wrong_is_told_apart(case: Case) -> None:
    with faulty_smtp(free_port()) as server:
        server.script.append(case.fault)
        settings = MailSettings(
            host="127.0.0.1",
            port=server.port,
            tls="none",
            sender="jane@home.example",
            prelude_timeout_s=0.6,
            verdict_timeout_s=0.6,
        )
        ended: type[ChannelError] | None = None
        try:
            await Mail(settings).deliver(a_notice(text=TEXT), allowed)
        except ChannelError as error:
            ended = type(error)
        await asyncio.to_thread(server.wait_until_quiet)
        assert ended in case.means
        assert server.met == [case.fault]
        kept = case.fault.kept or ended is None
        assert len(server.kept) == kept, "what is told to be sent or not is so"
