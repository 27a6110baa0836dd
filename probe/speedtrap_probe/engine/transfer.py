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
from speedtrap_probe.engine.link import Link, Target, check_status, explained
from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import FailureKind
from speedtrap_probe.tool import WINDOW_S, Progress, silent

CONNECTIONS = 4
SAMPLE_EVERY_S = 0.1
STALL_S = 4.0
READ_BYTES = 1 << 18
PIECE_BYTES = 1 << 18
POST_SIZES = (64 << 20, 8 << 20, 1 << 20)  # servers limit bodies: 413 goes to the next smaller
TOO_LARGE = 413
# A full TLS 1.3 record carries 16,384 bytes in 16,406.
TLS_PAYLOAD_SHARE = 16_384 / 16_406


@dataclass(frozen=True, slots=True)
class Window:
    """How long and how wide to measure."""

    window_s: float = WINDOW_S
    connections: int = CONNECTIONS
    stall_s: float = STALL_S


@dataclass(frozen=True, slots=True)
class Throughput:
    """A measured direction: Mbps after the ramp, and the bytes that it cost in all."""

    mbps: float
    moved_bytes: int


def download(target: Target, window: Window = Window(), progress: Progress = silent) -> Throughput:
    """GETs *target* again and again on every connection."""
    return _measure("download", lambda: _Downloader(target), window, progress)


def upload(target: Target, window: Window = Window(), progress: Progress = silent) -> Throughput:
    """POSTs to *target* on every connection.

    Counts acknowledged bytes where the system tells them (Linux), which is right within 0.1 %.
    Elsewhere what was handed to the system, after the ramp: up to 1 % high, because up to a
    socket buffer of it is still on its way at the end.
    """
    piece = secrets.token_bytes(PIECE_BYTES)
    return _measure("upload", lambda: _Uploader(target, piece), window, progress)


class _Worker(threading.Thread):
    """Moves data on one connection until told to stop, or until it fails."""

    def __init__(self, target: Target) -> None:
        super().__init__(daemon=True)
        self.target = target
        self.link = Link(target)
        self.stopping = False
        self.moved = 0
        self.failure: ToolError | None = None

    def run(self) -> None:
        try:
            with explained(self.target):
                while not self.stopping:
                    self.move()
        except ToolError as error:
            if not self.stopping:  # an aborted call fails too
                self.failure = error
        finally:
            self.link.close()

    def move(self) -> None:
        """One request."""
        raise NotImplementedError

    def moved_bytes(self) -> int:
        """Payload bytes up to now; called by the sampling thread."""
        return self.moved

    def stop(self) -> None:
        self.stopping = True
        self.link.abort()


class _Downloader(_Worker):
    def move(self) -> None:
        answer = self.link.request("GET", self.target.url)
        check_status(self.target, answer.status)
        received = 0
        while not self.stopping and (data := answer.read1(READ_BYTES)):
            received += len(data)
            self.moved += len(data)
        if not received and not self.stopping:
            raise ToolError(FailureKind.TOOL_FAILED, f"{self.target.host} sent an empty file")


class _Uploader(_Worker):
    def __init__(self, target: Target, piece: bytes) -> None:
        super().__init__(target)
        self._piece = piece
        self._sizes = list(POST_SIZES)
        self._payload_share = TLS_PAYLOAD_SHARE if target.url.startswith("https:") else 1.0

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
        answer.drain_conn()
        if answer.status == TOO_LARGE and len(self._sizes) > 1:
            self._smaller()
            return
        check_status(self.target, answer.status)

    def moved_bytes(self) -> int:
        acked = self.link.acked_bytes()
        return self.moved if acked is None else int(acked * self._payload_share)

    def _body(self, size: int) -> Iterator[bytes]:
        for _ in range(size // len(self._piece)):
            if self.stopping:
                raise BrokenPipeError
            yield self._piece
            self.moved += len(self._piece)

    def _smaller(self) -> None:
        self._sizes.pop(0)
        self.link.close()


class _Mover(Protocol):
    failure: ToolError | None

    def moved_bytes(self) -> int: ...

    def is_alive(self) -> bool: ...


def _measure(
    phase: str, worker: Callable[[], _Worker], window: Window, progress: Progress
) -> Throughput:
    workers = [worker() for _ in range(window.connections)]
    for one in workers:
        one.start()
    try:
        samples = _sample(phase, workers, window, progress)
    finally:
        for one in workers:
            one.stop()
        for one in workers:
            one.join(window.stall_s)
    mbps = estimate.throughput_mbps(samples)
    if mbps is None:
        raise _first_failure(workers) or ToolError(
            FailureKind.TIMEOUT, f"no {phase} data moved in {window.window_s:g} s"
        )
    return Throughput(mbps, sum(one.moved for one in workers))


def _sample(
    phase: str, workers: Sequence[_Mover], window: Window, progress: Progress
) -> list[estimate.Sample]:
    """Samples from the first byte to the end of the window, or until the rate has settled."""
    samples: list[estimate.Sample] = []
    waiting_since = time.monotonic()
    while True:
        time.sleep(SAMPLE_EVERY_S)
        now = estimate.Sample(time.monotonic(), sum(one.moved_bytes() for one in workers))
        if not any(one.is_alive() for one in workers):
            raise _first_failure(workers) or ToolError(
                FailureKind.TOOL_FAILED, f"the {phase} ended before its time"
            )
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
        if now.at_s - samples[0].at_s >= window.window_s or estimate.settled(samples):
            return samples


def _show(phase: str, samples: Sequence[estimate.Sample], progress: Progress) -> None:
    latest_mbps = estimate.throughput_mbps(samples[-10:])
    if latest_mbps is not None:
        progress(phase, latest_mbps)


def _first_failure(workers: Sequence[_Mover]) -> ToolError | None:
    return next((one.failure for one in workers if one.failure is not None), None)
