"""Throughput: a few threads move data for a window, one samples how much has arrived.

Blocking sockets in threads, because they cost a fifth to a tenth of the processor time that an
asynchronous client needs: a small board can still measure a gigabit.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from speedtrap_probe.engine import estimate
from speedtrap_probe.engine.latency import UnderLoad
from speedtrap_probe.engine.link import Link, check_status
from speedtrap_probe.engine.wire import Target, explained
from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import FailureKind
from speedtrap_probe.tool import WINDOW_S, Progress, silent

CONNECTIONS = 4
SAMPLE_EVERY_S = 0.1
STALL_S = 4.0
PIECE_BYTES = 1 << 18
POST_SIZES = (64 << 20, 8 << 20, 1 << 20)  # servers limit bodies: 413 goes to the next smaller
TOO_LARGE = 413
# A full TLS 1.3 record carries 16,384 bytes in 16,406.
TLS_PAYLOAD_SHARE = 16_384 / 16_406


@dataclass(frozen=True, slots=True)
class Window:
    """How long and how wide to measure. `early`: stop when the rate has settled."""

    window_s: float = WINDOW_S
    connections: int = CONNECTIONS
    stall_s: float = STALL_S
    early: bool = True


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
) -> Throughput:
    """GETs again and again on every connection, the targets dealt out among them."""
    return measure("download", _dealt(_Downloader, targets, window), window, progress, beside)


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
    workers = _dealt(lambda target: _Uploader(target, piece, sizes), targets, window)
    return measure("upload", workers, window, progress, beside)


class Mover(Protocol):
    """What moves data in a thread of its own, and is watched by another."""

    failure: ToolError | None
    moved: int

    def start(self) -> None: ...

    def is_alive(self) -> bool: ...

    def moved_bytes(self) -> int:
        """Payload bytes up to now; called by the watching thread."""

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
    if beside is not None:
        beside.start()
    for one in movers:
        one.start()
    try:
        samples = _sample(phase, movers, window, progress)
    finally:
        for one in movers:
            one.stop()
        for one in movers:
            one.join(window.stall_s)
        if beside is not None:
            beside.stop()
            beside.join(window.stall_s)
    mbps = estimate.throughput_mbps(samples)
    if mbps is None:
        raise _first_failure(movers) or ToolError(
            FailureKind.TIMEOUT, f"no {phase} data moved in {window.window_s:g} s"
        )
    loaded_ms = beside.latency_ms(*estimate.counted_span(samples)) if beside is not None else None
    return Throughput(mbps, sum(one.moved for one in movers), loaded_ms)


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
        finally:
            self.close()

    def work(self) -> None:
        """Until `stopping`."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def moved_bytes(self) -> int:
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

    def stop(self) -> None:
        self.stopping = True
        self.link.abort()

    def close(self) -> None:
        self.link.close()


class _Downloader(_HttpWorker):
    def move(self) -> None:
        answer = self.link.request("GET", self.target.url)
        check_status(self.target, answer.status)
        before = self.moved
        for got in self.link.payload(answer, then=self.target.url):
            self.moved += got
            if self.stopping:
                return
        if self.moved == before:
            raise ToolError(FailureKind.TOOL_FAILED, f"{self.target.host} sent an empty file")


class _Uploader(_HttpWorker):
    def __init__(self, target: Target, piece: bytes, sizes: Sequence[int]) -> None:
        super().__init__(target)
        self._piece = piece
        self._sizes = list(sizes)
        self._payload_share = TLS_PAYLOAD_SHARE if target.secure else 1.0

    def move(self) -> None:
        try:
            answer = self.link.request(
                "POST", self.target.url, body=self._body(self._sizes[0]), length=self._sizes[0]
            )
        except (BrokenPipeError, ConnectionResetError):
            # Some servers cut the connection instead of answering 413.
            if self.stopping or len(self._sizes) == 1:
                raise
            self._smaller()
            return
        if answer.status == TOO_LARGE and len(self._sizes) > 1:
            self._smaller()
            return
        check_status(self.target, answer.status)
        for _ in self.link.payload(answer):
            pass  # a few words

    def moved_bytes(self) -> int:
        acked = self.link.acked_bytes()
        return self.moved if acked is None else int(acked * self._payload_share)

    def _body(self, size: int) -> Iterator[bytes]:
        for start in range(0, size, len(self._piece)):
            if self.stopping:
                raise BrokenPipeError
            piece = self._piece[: size - start]
            yield piece
            self.moved += len(piece)

    def _smaller(self) -> None:
        self._sizes.pop(0)
        self.link.close()


def _dealt(
    worker: Callable[[Target], _HttpWorker], targets: Sequence[Target], window: Window
) -> list[_HttpWorker]:
    return [worker(targets[number % len(targets)]) for number in range(window.connections)]


def _sample(
    phase: str, movers: Sequence[Mover], window: Window, progress: Progress
) -> list[estimate.Sample]:
    """Samples from the first byte to the end of the window, or until the rate has settled."""
    samples: list[estimate.Sample] = []
    waiting_since = time.monotonic()
    while True:
        time.sleep(SAMPLE_EVERY_S)
        alive = any(one.is_alive() for one in movers)
        now = estimate.Sample(time.monotonic(), sum(one.moved_bytes() for one in movers))
        if not alive:
            return _ended(phase, movers, samples, window)
        if not samples and not now.moved_bytes:
            if now.at_s - waiting_since > window.window_s + window.stall_s:
                return []
            continue
        samples.append(now)
        _show(phase, samples, progress)
        if estimate.stalled(samples, window.stall_s):
            raise ToolError(
                FailureKind.TIMEOUT,
                f"the {phase} stalled for {window.stall_s:g} s after {now.moved_bytes:,} bytes",
            )
        enough = window.early and estimate.settled(samples)
        if enough or now.at_s - samples[0].at_s >= window.window_s:
            return samples


def _ended(
    phase: str, movers: Sequence[Mover], samples: list[estimate.Sample], window: Window
) -> list[estimate.Sample]:
    """All ended before the window did. Half a window is a measurement if they ended in order,
    or because the server thought it enough; what a broken line delivered before is none."""
    failure = _first_failure(movers)
    in_order = failure is None or failure.failure.kind is FailureKind.RATE_LIMITED
    if in_order and samples and samples[-1].at_s - samples[0].at_s >= window.window_s / 2:
        return samples
    raise failure or ToolError(FailureKind.TOOL_FAILED, f"the {phase} ended before its time")


def _show(phase: str, samples: Sequence[estimate.Sample], progress: Progress) -> None:
    latest_mbps = estimate.throughput_mbps(samples[-10:])
    if latest_mbps is not None:
        progress(phase, latest_mbps)


def _first_failure(movers: Sequence[Mover]) -> ToolError | None:
    return next((one.failure for one in movers if one.failure is not None), None)
