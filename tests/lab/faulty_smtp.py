"""A raw SMTP server that goes wrong at any step, in any way, and knows exactly what it has kept.

It speaks in clear text, to loopback. Each connection meets the next fault of `script`, or none.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

Step = Literal["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "BODY", "DOT", "QUIT"]
How = Literal[
    "cut",  # hangs up without a word
    "half",  # hangs up in the middle of the reply
    "later",  # 4xx
    "never",  # 5xx
    "closing",  # 421, and hangs up
    "slow",  # the reply comes when the client has given up
    "garbage",  # no reply of SMTP
    "many lines",  # a good reply of three lines
    "drips",  # a good reply, byte by byte
    "killed",  # the client dies here
    "stopped",  # the client sleeps here, longer than its lease
    "late",  # of DOT: is kept once the client has hung up
]

BEFORE_THE_DOT: tuple[Step, ...] = ("CONNECT", "EHLO", "MAIL", "RCPT", "DATA")
GOOD: dict[Step, str] = {
    "CONNECT": "220 mx.isp.example ESMTP",
    "EHLO": "250 mx.isp.example",
    "MAIL": "250 2.1.0 OK",
    "RCPT": "250 2.1.5 OK",
    "DATA": "354 go on",
    "DOT": "250 2.0.0 kept",
    "QUIT": "221 2.0.0 bye",
}
PATIENCE_S = 30.0
LATE_BY_S = 0.7


@dataclass(frozen=True)
class Fault:
    """`kept` is whether the message counts as accepted before it goes wrong: of DOT only."""

    step: Step
    how: How
    kept: bool = False

    def __str__(self) -> str:
        return f"{self.step} {self.how}{' kept' if self.kept else ''}"


def every_fault() -> list[Fault]:
    """At every step everything that can be gone on from: nothing that refuses a letter for good."""
    before: tuple[How, ...] = (
        "cut", "half", "later", "closing", "slow", "garbage", "many lines", "drips", "killed",
        "stopped",
    )  # fmt: skip
    found = [Fault(step, how) for step in BEFORE_THE_DOT for how in before]
    found += [Fault(step, "never") for step in ("CONNECT", "EHLO")]  # of the server, not the letter
    found += [Fault("BODY", how) for how in ("cut", "killed", "stopped")]
    after: tuple[How, ...] = ("cut", "half", "slow", "garbage", "killed", "stopped")
    found += [Fault("DOT", how, kept) for how in after for kept in (True, False)]
    found += [Fault("DOT", "later"), Fault("DOT", "closing"), Fault("DOT", "late", kept=True)]
    found += [Fault("DOT", how, kept=True) for how in ("many lines", "drips")]
    found += [Fault("QUIT", how) for how in ("cut", "slow", "garbage", "killed", "stopped")]
    return found


@dataclass
class FaultySmtp:
    """`kept` has the recipient and the bytes of every message that was accepted, in order.

    `refuses_at` says at which step a recipient is refused for ever.
    `disturb` is told the client's port when that client is to be "killed" or "stopped".
    """

    port: int
    script: deque[Fault] = field(default_factory=deque)
    kept: list[tuple[str, bytes]] = field(default_factory=list)
    met: list[Fault] = field(default_factory=list)
    refuses_at: dict[str, Step] = field(default_factory=dict)
    disturb: Callable[[int, str], None] = lambda _port, _how: None
    open_conversations: int = 0

    @property
    def environment(self) -> dict[str, str]:
        """What a bot needs to send its mail here."""
        return {
            "SPEEDTRAP_BOTS_MAIL_HOST": "127.0.0.1",
            "SPEEDTRAP_BOTS_MAIL_PORT": str(self.port),
            "SPEEDTRAP_BOTS_MAIL_TLS": "none",
            "SPEEDTRAP_BOTS_MAIL_FROM": "Jane Doe <jane@home.example>",
            "SPEEDTRAP_BOTS_MAIL_TO": "support@isp.example",
        }

    def wait_until_quiet(self) -> None:
        """Until no conversation goes on: what comes in late is kept by then."""
        while self.open_conversations:
            time.sleep(0.01)

    def copies(self, recipient: str) -> int:
        return sum(1 for whom, _ in self.kept if whom == recipient)


class _Over(Exception):  # noqa: N818 - the conversation's end, not an error
    """This side has hung up."""


class _Conversation:
    def __init__(
        self, lab: FaultySmtp, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._lab, self._reader, self._writer = lab, reader, writer
        self._fault = lab.script.popleft() if lab.script else None
        self._recipient = ""

    async def hold(self) -> None:
        await self._step("CONNECT")
        while command := await self._line():
            verb = command.split(b" ")[0].strip().upper()
            match verb:
                case b"EHLO" | b"HELO":
                    await self._step("EHLO")
                case b"MAIL":
                    await self._step("MAIL")
                case b"RCPT":
                    self._recipient = command.split(b"<")[1].split(b">")[0].decode()
                    await self._step("RCPT")
                case b"DATA":
                    await self._step("DATA")
                    await self._message()
                case b"QUIT":
                    await self._step("QUIT")
                    return
                case _:
                    await self._say("502 5.5.1 what?")

    async def _message(self) -> None:
        lines: list[bytes] = []
        while (line := await self._line()) != b".\r\n":
            if not line:
                return  # cut in the message: nobody delivers that
            lines.append(line[1:] if line.startswith(b"..") else line)
            if len(lines) == 5:
                await self._step("BODY")
        fault = self._fault if self._fault and self._fault.step == "DOT" else None
        refused = self._lab.refuses_at.get(self._recipient) == "DOT"
        if not refused and (fault is None or fault.kept):
            if fault and fault.how == "late":
                await self._until_hung_up()
                await asyncio.sleep(LATE_BY_S)
            self._lab.kept.append((self._recipient, b"".join(lines)))
        await self._step("DOT")

    async def _step(self, step: Step) -> None:
        """Replies well, or in the way of the fault that is due here."""
        fault = self._fault if self._fault and self._fault.step == step else None
        if fault is None:
            if self._lab.refuses_at.get(self._recipient) == step:
                await self._say("550 5.7.1 never to this one")
            elif step != "BODY":
                await self._say(GOOD[step])
            return
        self._fault = None
        self._lab.met.append(fault)
        # Whoever has not kept it never says so, however soon the client may wake up.
        untrue = step == "DOT" and not fault.kept
        await self._go_wrong(fault.how, GOOD.get(step, ""), untrue)

    async def _go_wrong(self, how: How, good: str, untrue: bool) -> None:
        replies = {
            "later": "451 4.3.0 try again later",
            "never": "554 5.3.2 not in service",
            "garbage": "HTTP/1.1 200 OK",
            "many lines": f"{good[:3]}-one\r\n{good[:3]}-two\r\n{good}",
        }
        if how in replies:
            return await self._say(replies[how])
        if how == "drips":
            return await self._drip(good)
        if how in {"killed", "stopped"}:
            port = self._writer.get_extra_info("peername")[1]
            await asyncio.to_thread(self._lab.disturb, port, how)
            if how == "stopped" and good and not untrue:
                return await self._say(good)
        elif how in {"slow", "late"}:
            await self._until_hung_up()
        elif how in {"half", "closing"}:
            await self._send(good[:5].encode() if how == "half" else b"421 4.3.2 closing\r\n")
        raise _Over

    async def _drip(self, good: str) -> None:
        for byte in f"{good}\r\n".encode():
            await self._send(bytes([byte]))
            await asyncio.sleep(0.005)

    async def _until_hung_up(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while await self._reader.read(4096):
                continue

    async def _line(self) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.readline()

    async def _say(self, text: str) -> None:
        await self._send(f"{text}\r\n".encode())

    async def _send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


async def _serve(
    lab: FaultySmtp, ready: threading.Event, stopping: asyncio.Event, errors: list[OSError]
) -> None:
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lab.open_conversations += 1
        try:
            await _Conversation(lab, reader, writer).hold()
        except (_Over, OSError, TimeoutError):
            pass
        finally:
            lab.open_conversations -= 1
            writer.transport.abort()

    try:
        server = await asyncio.start_server(converse, "127.0.0.1", lab.port, limit=1 << 24)
    except OSError as error:
        errors.append(error)
        return
    finally:
        ready.set()
    await stopping.wait()
    server.close()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextmanager
def faulty_smtp(port: int) -> Iterator[FaultySmtp]:
    """Serves on loopback *port* until the block ends."""
    lab, ready, errors = FaultySmtp(port), threading.Event(), list[OSError]()
    loop = asyncio.new_event_loop()
    stopping = asyncio.Event()
    thread = threading.Thread(
        target=lambda: loop.run_until_complete(_serve(lab, ready, stopping, errors)),
        name="faulty-smtp",
        daemon=True,
    )
    thread.start()
    ready.wait()
    if errors:
        raise errors[0]
    try:
        yield lab
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join()
        loop.close()
