"""How a channel is, as graph is told by its worker, and the tests that people ask of it."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from speedtrap_bots.channel import Channel
from speedtrap_bots.delivery.lease import now_s
from speedtrap_bots.errors import ChannelError, Refused, Unavailable, Unknown, one_line
from speedtrap_bots.ledger import Ledger
from speedtrap_bots.logs import About
from speedtrap_bots.model import ChannelState, SettleOutcome

log = logging.getLogger(__name__)

REPORT_EVERY_S = 20.0
"""graph takes a channel for dead after three of these."""
Ended = tuple[str, SettleOutcome, str]


class Presence:
    """Of one worker. `stopped_why` is what stopped its channel: it sends nothing until then."""

    def __init__(
        self, ledger: Ledger, channel: Channel, name: str, clock: Callable[[], datetime]
    ) -> None:
        self._ledger = ledger
        self._channel = channel
        self._log = About(log, {"channel": channel.name})
        self._name = name
        self._clock = clock
        self._said: tuple[ChannelState, str | None] | None = None
        self._said_at_s = 0.0
        self._unsettled: Ended | None = None
        self.stopped_why: str | None = None

    def stop(self, error: ChannelError) -> None:
        """No other notice would fare better until a person acts: says so once."""
        if self.stopped_why is None:
            self._log.error(
                "%s: stopped until the next start, or until a test of it succeeds: %s",
                self._channel.name,
                error,
            )
        self.stopped_why = str(error)

    async def attend(self) -> None:
        """Tells graph how this channel is, where that is news, and sends the test it asks for."""
        is_old = now_s() - self._said_at_s >= REPORT_EVERY_S
        if is_old or self._state() != self._said:
            await self.report()
        if self._unsettled is None:
            test = await self._ledger.claim_test(self._channel.name, self._name)
            if test is None:
                return
            outcome, why = await self._test()
            self._unsettled = (test, outcome, why)
        # Kept until graph has heard it: nobody else knows.
        test, outcome, why = self._unsettled
        await self._ledger.settle_test(self._channel.name, test, outcome, why)
        self._unsettled = None
        facts = {"outcome": outcome}
        self._log.info(
            "%s: the test ended as %s (%s)", self._channel.name, outcome, why, extra=facts
        )
        await self.report()

    async def report(self, state: ChannelState | None = None) -> None:
        said = self._state() if state is None else (state, None)
        await self._ledger.report(
            self._channel.name, self._name, said[0], self._channel.recipient, said[1]
        )
        self._said, self._said_at_s = said, now_s()

    def _state(self) -> tuple[ChannelState, str | None]:
        if self.stopped_why is not None:
            return ChannelState.STOPPED, self.stopped_why
        if not self._channel.recipient:
            return ChannelState.UNCONFIGURED, None
        if quiet := self._channel.quiet_until(self._clock()):
            return ChannelState.QUIET, f"until {quiet:%H:%M %Z}"
        return ChannelState.READY, None

    async def _test(self) -> tuple[SettleOutcome, str]:
        timeout_s = self._channel.timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                where = await self._channel.test()
        except Refused as error:
            return SettleOutcome.REFUSED, str(error)
        except Unavailable as error:
            if error.stops_channel:
                self.stop(error)
            return SettleOutcome.UNAVAILABLE, str(error)
        except Unknown as error:
            return SettleOutcome.UNKNOWN, str(error)
        except TimeoutError:
            return SettleOutcome.UNKNOWN, f"no end after {timeout_s:.0f} s"
        except Exception as error:  # noqa: BLE001 - whatever the other side made a library raise
            return SettleOutcome.UNKNOWN, f"a {type(error).__name__}"
        if self.stopped_why is not None:
            self._log.info("%s: goes on, for a test of it succeeded", self._channel.name)
            self.stopped_why = None
        return SettleOutcome.SENT, one_line(where)
