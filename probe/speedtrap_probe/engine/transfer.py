"""Throughput: a few threads move data for a window, one samples how much has arrived.

Blocking sockets in threads, because they cost a fifth to a tenth of the processor time that an
asynchronous client needs: a small board can still measure a gigabit.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from speedtrap_probe.engine import carrying, estimate
from speedtrap_probe.engine.answers import ANY_PAYLOAD, Payload, check_status
from speedtrap_probe.engine.carrying import Look
from speedtrap_probe.engine.connection.wire import CUT, Target, explained
from speedtrap_probe.engine.latency import UnderLoad
from speedtrap_probe.engine.link import Link
from speedtrap_probe.errors import ToolError
from speedtrap_probe.foreign import text
from speedtrap_probe.model import FailureKind
from speedtrap_probe.tool import WINDOW_S, Progress, silent

CONNECTIONS = 4
SAMPLE_EVERY_S = 0.1
STALL_S = 4.0
HANG_UPS = 2
LEAST_QUIET_S = 1.0  # of one connection; a busy machine may keep it from its work for less
PIECE_BYTES = 1 << 18
POST_SIZES = (64 << 20, 8 << 20, 1 << 20)  # servers limit bodies: 413 goes to the next smaller
TOO_LARGE = 413
# Between two bodies a connection idles until the server has answered: with small bodies that is a
# tenth of the time, and others have to fill it. By the largest body, how many more each one gets.
MORE_CONNECTIONS = ((1 << 21, 2), (1 << 24, 1))
# A full TLS 1.3 record carries 16,384 bytes in 16,406.
TLS_PAYLOAD_SHARE = 16_384 / 16_406


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Window:
    """How long and how wide to measure. `early`: stop when the rate has settled."""

    window_s: float = WINDOW_S
    connections: int = CONNECTIONS
    stall_s: float = STALL_S
    early: bool = True

    @property
    def enough_s(self) -> float:
        return carrying.ENOUGH_SHARE * self.window_s

    @property
    def quiet_s(self) -> float:
        """How long one connection may move nothing while others do."""
        return max(LEAST_QUIET_S, min(self.stall_s, self.enough_s))


@dataclass(frozen=True, slots=True)
class Throughput:
    """A measured direction: Mbps after the ramp, and the bytes that it cost in all."""

    mbps: float
    moved_bytes: int
    loaded_latency_ms: float | None = None


def download(
    targets: Sequence[Target],
    window: Window = Window(),
    progress: Progress = silent,
    beside: UnderLoad | None = None,
    payload: Payload = ANY_PAYLOAD,
) -> Throughput:
    """GETs again and again on every connection, the targets dealt out among them."""
    workers = _dealt(lambda target: _Downloader(target, payload), targets, window)
    return measure("download", workers, window, progress, beside)


def upload(
    targets: Sequence[Target],
    window: Window = Window(),
    progress: Progress = silent,
    beside: UnderLoad | None = None,
    sizes: Sequence[int] = POST_SIZES,
) -> Throughput:
    """POSTs on every connection, in bodies of the first size that the server takes.

    Counts acknowledged bytes where the system tells them (Linux), which is right within 0.1 %.
    Elsewhere what was handed to the system, after the ramp: up to 1 % high, because up to a
    socket buffer of it is still on its way at the end.
    """
    piece = secrets.token_bytes(PIECE_BYTES)
    workers = _dealt(lambda target: _Uploader(target, piece, sizes, twin=False), targets, window)
    return measure("upload", workers, window, progress, beside)


class Mover(Protocol):
    """What moves data in a thread of its own, and is watched by another."""

    failure: ToolError | None

    def start(self) -> None: ...

    def is_alive(self) -> bool: ...

    def moved_bytes(self) -> int:
        """Payload bytes up to now; called by the watching thread."""

    def cost_bytes(self) -> int:
        """What was moved in all, headers and what is still on its way left out."""

    def stop(self) -> None:
        """Asks for an end; the thread ends within a moment."""

    def join(self, timeout: float | None = None) -> None: ...


def measure(
    phase: str,
    movers: Sequence[Mover],
    window: Window,
    progress: Progress,
    beside: UnderLoad | None = None,
) -> Throughput:
    """Starts the movers, watches them for a window, stops them."""
    progress(phase, 0)
    for one in movers:
        one.start()
    try:
        looks = _watch(phase, movers, window, progress, beside)
    finally:
        for one in movers:
            one.stop()
        for one in movers:
            one.join(window.stall_s)
        if beside is not None and beside.ident is not None:
            beside.stop()
            beside.join(window.stall_s)
    samples = _counted(phase, movers, looks, window)
    mbps = estimate.throughput_mbps(samples)
    if mbps is None:
        raise _nothing_moved(phase, window)
    loaded_ms = beside.latency_ms(*estimate.counted_span(samples)) if beside is not None else None
    return Throughput(mbps, sum(one.cost_bytes() for one in movers), loaded_ms)


class Worker(threading.Thread):
    """Moves data on one connection until told to stop, or until it fails."""

    def __init__(self, target: Target) -> None:
        super().__init__(daemon=True)
        self.target = target
        self.stopping = False
        self.moved = 0
        self.failure: ToolError | None = None

    def run(self) -> None:
        try:
            with explained(self.target):
                self.work()
        except ToolError as error:
            if not self.stopping:  # an aborted call fails too
                self.failure = error
        except Exception as error:  # noqa: BLE001 - a thread that ends without a word looks like a server that did
            log.debug("a connection failed unexpectedly:\n%s", text.trace())
            message = f"unexpected {type(error).__name__} with {self.target.host}: {error}"
            self.failure = ToolError(FailureKind.TOOL_FAILED, message)
        finally:
            self.close()

    def work(self) -> None:
        """Until `stopping`."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def moved_bytes(self) -> int:
        return self.moved

    def cost_bytes(self) -> int:
        return self.moved


class _HttpWorker(Worker):
    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.link = Link(target)

    def work(self) -> None:
        while not self.stopping:
            self.move()

    def move(self) -> None:
        """One request."""
        raise NotImplementedError

    def has_to_stop(self) -> bool:
        """`stopping`, of which mypy thinks that no other thread sets it."""
        return self.stopping

    def stop(self) -> None:
        self.stopping = True
        self.link.abort()

    def close(self) -> None:
        self.link.close()


class _Downloader(_HttpWorker):
    def __init__(self, target: Target, payload: Payload) -> None:
        super().__init__(target)
        self._payload = payload

    def move(self) -> None:
        answer = self.link.request("GET", self.target.url)
        check_status(self.target, answer.status, answer.headers)
        if answer.length is not None:
            self._payload.check_size(self.target, answer.length)
        before, checked = self.moved, False
        for got in self.link.payload(answer, then=self.target.url):
            if not checked:
                self._payload.check_kind(self.target, answer.headers, self.link.beginning)
                checked = True
            self.moved += got
            if self.stopping:
                return
        self._payload.check_size(self.target, self.moved - before)


class _Uploader(_HttpWorker):
    """`twins` work beside it while the server takes small bodies only; none of them has others."""

    def __init__(self, target: Target, piece: bytes, sizes: Sequence[int], *, twin: bool) -> None:
        super().__init__(target)
        self._piece = piece
        self._sizes = list(sizes)
        self._payload_share = TLS_PAYLOAD_SHARE if target.secure else 1.0
        self._taken = False  # the latest body
        self._bodies = self._hang_ups = 0
        self._may_have_twins = not twin
        self._twins: list[_Uploader] = []

    def move(self) -> None:
        try:
            answer = self.link.request(
                "POST", self.target.url, body=self._body(self._sizes[0]), length=self._sizes[0]
            )
        except CUT:
            if not self._goes_on():
                raise
            return
        if answer.status == TOO_LARGE and len(self._sizes) > 1:
            self._smaller()
            return
        check_status(self.target, answer.status, answer.headers)
        self.link.finish(answer)
        self._taken = True
        self._bodies += 1
        self._be_more()

    def moved_bytes(self) -> int:
        acked = self.link.acked_bytes()
        own = self.moved if acked is None else int(acked * self._payload_share)
        return own + sum(twin.moved_bytes() for twin in self._twins)

    def cost_bytes(self) -> int:
        return self.moved + sum(twin.cost_bytes() for twin in self._twins)

    def stop(self) -> None:
        super().stop()
        for twin in self._twins:
            twin.stop()

    def _body(self, size: int) -> Iterator[bytes]:
        for start in range(0, size, len(self._piece)):
            if self.stopping:
                raise BrokenPipeError
            piece = self._piece[: size - start]
            yield piece
            self.moved += len(piece)

    def _goes_on(self) -> bool:
        """After a cut. A server may hang up between two bodies; some do it instead of a 413.

        Who hangs up after every body has not read them, but answered before they came.
        """
        if self._taken:
            self._taken = False
            self._hang_ups += 1
            if self._hang_ups > HANG_UPS and self._hang_ups > self._bodies / 2:
                return False
            self.link.close()
        elif len(self._sizes) > 1:
            self._smaller()
        else:
            return False
        return not self.stopping

    def _smaller(self) -> None:
        self._sizes.pop(0)
        self.link.close()

    def _be_more(self) -> None:
        """Once a body was taken. That a twin is refused changes nothing: it is one too many."""
        size = self._sizes[0]
        more = next((count for largest, count in MORE_CONNECTIONS if size <= largest), 0)
        while self._may_have_twins and len(self._twins) < more and not self.stopping:
            twin = _Uploader(self.target, self._piece, [size], twin=True)
            self._twins.append(twin)
            twin.start()
            if self.has_to_stop():  # meanwhile, unseen by `stop`
                twin.stop()


def _dealt(
    worker: Callable[[Target], _HttpWorker], targets: Sequence[Target], window: Window
) -> list[_HttpWorker]:
    return [worker(targets[number % len(targets)]) for number in range(window.connections)]


def _watch(
    phase: str,
    movers: Sequence[Mover],
    window: Window,
    progress: Progress,
    beside: UnderLoad | None,
) -> list[Look]:
    """Looks from the first byte to the end of the window, until the rate has settled, or until one
    of the connections has ended or fallen silent."""
    looks: list[Look] = []
    waiting_since = time.perf_counter()
    while True:
        time.sleep(SAMPLE_EVERY_S)
        alive = tuple(one.is_alive() for one in movers)
        moved = tuple(one.moved_bytes() for one in movers)
        now = Look(time.perf_counter(), moved, alive)
        if looks or any(moved):
            looks.append(now)
        if all(moved) and beside is not None and beside.ident is None:
            beside.start()  # last: a server that allows so many connections and no more has room
        samples = [look.sample for look in looks]
        if looks:
            _show(phase, samples, progress)
            _check_stall(phase, samples, window)
        elif now.at_s - waiting_since > window.window_s + window.stall_s:
            return looks
        if not all(alive) or _over(looks, window):
            return looks


def _over(looks: Sequence[Look], window: Window) -> bool:
    """Whether there is enough, or never will be."""
    if not looks:
        return False
    counted = carrying.carried(looks, window.quiet_s)
    if not counted:
        return looks[-1].at_s - looks[0].at_s >= window.stall_s
    if window.early and estimate.settled(counted):
        return True
    whole = counted[-1].at_s - counted[0].at_s >= window.window_s
    return whole or bool(carrying.silent(looks, window.quiet_s))


def _check_stall(phase: str, samples: Sequence[estimate.Sample], window: Window) -> None:
    if estimate.stalled(samples, window.stall_s):
        moved = samples[-1].moved_bytes
        message = f"the {phase} stalled for {window.stall_s:g} s after {moved:,} bytes"
        raise ToolError(FailureKind.TIMEOUT, message)


def _counted(
    phase: str, movers: Sequence[Mover], looks: Sequence[Look], window: Window
) -> list[estimate.Sample]:
    """What all connections carried. Half a window is a measurement if they ended in order, or
    because the server thought it enough; what a broken line delivered before is none."""
    samples = carrying.carried(looks, window.quiet_s)
    ended = bool(looks) and not all(looks[-1].alive)
    failure = _failure(movers)
    in_order = failure is None or failure.failure.kind is FailureKind.RATE_LIMITED
    if in_order and samples and samples[-1].at_s - samples[0].at_s >= window.enough_s:
        return samples
    if failure is not None:
        raise failure
    if ended:
        raise ToolError(FailureKind.TOOL_FAILED, f"the {phase} ended before its time")
    raise _silence(phase, looks, window) if looks else _nothing_moved(phase, window)


def _failure(movers: Sequence[Mover]) -> ToolError | None:
    """Of those that failed: that a server limits us tells most."""
    failures = [one.failure for one in movers if one.failure is not None]
    if not failures:
        return None
    limited = [one for one in failures if one.failure.kind is FailureKind.RATE_LIMITED]
    told = (limited or failures)[0].failure
    if not any(one.moved_bytes() for one in movers if one.failure is None):
        return ToolError(told.kind, told.message)
    # The others got through, so there is a network.
    lost = told.kind is FailureKind.NO_NETWORK
    kind = FailureKind.TOOL_FAILED if lost else told.kind
    return ToolError(kind, f"{len(failures)} of {len(movers)} connections failed: {told.message}")


def _silence(phase: str, looks: Sequence[Look], window: Window) -> ToolError:
    never = sum(not moved for moved in looks[-1].moved_bytes)
    silent = never or len(carrying.silent(looks, window.quiet_s))
    did = "never began" if never else "moved nothing any more"
    count = len(looks[-1].moved_bytes)
    message = f"{silent} of {count} connections of the {phase} {did}"
    return ToolError(FailureKind.TIMEOUT, message)


def _nothing_moved(phase: str, window: Window) -> ToolError:
    message = f"no {phase} data moved in {window.window_s:g} s"
    return ToolError(FailureKind.TIMEOUT, message)


def _show(phase: str, samples: Sequence[estimate.Sample], progress: Progress) -> None:
    latest_mbps = estimate.throughput_mbps(samples[-10:])
    if latest_mbps is not None:
        progress(phase, latest_mbps)
