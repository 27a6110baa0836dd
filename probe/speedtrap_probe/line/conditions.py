"""What a run is made under: seen before it, while it measures, and after it.

Every condition that can make a figure doubtful is kept as it was; what it means is the service's to
say. Cross traffic is what this machine's interface moved and no tool of ours did: other devices of
the household are not seen. Each direction is counted on its own, for a line's are rarely alike.
"""

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from speedtrap_probe import __version__
from speedtrap_probe.line import connectivity
from speedtrap_probe.line.connectivity import Address, Connectivity
from speedtrap_probe.line.way import ANY_WAY, Way, version_of
from speedtrap_probe.machine import Machine, here, local_address
from speedtrap_probe.machine.waiting import Waiting
from speedtrap_probe.model import Conditions, Figures, Measurement
from speedtrap_probe.tool import Tool

LOOK_S = 1.0  # how long the line and the processors are watched before a run
# Headers, acknowledgements and TLS on top of the payload that a tool counts: 1514/1448 for the
# frames, up to 3 % for the acknowledgements, about 1 % for TLS and what a tool asks beforehand.
OVERHEAD = 1.10
# What a tool moves and does not count: configuration pages, latency tests.
UNCOUNTED_BYTES = 500_000
# The same for one direction: the frames and TLS, and acknowledgements of what the other one moves.
FRAMES, ACKNOWLEDGEMENTS = 1.07, 0.04


@dataclass(slots=True)
class _Load:
    """What was seen over some stretches of time. `foreign` are the bytes of others: in all, down
    and up, each over the seconds in which it could be counted."""

    foreign: dict[str, tuple[float, float]] = field(default_factory=dict)
    busy: float = 0.0
    all: float = 0.0
    wanted_s: float = 0.0
    waited_s: float = 0.0

    def add_foreign(self, way: str, moved: float, seconds: float) -> None:
        count, so_far_s = self.foreign.get(way, (0.0, 0.0))
        self.foreign[way] = count + max(0.0, moved), so_far_s + seconds

    def traffic_mbps(self, way: str) -> float | None:
        count, seconds = self.foreign.get(way, (0.0, 0.0))
        return round(count * 8 / 1e6 / seconds, 3) if seconds > 0 else None

    @property
    def cpu_percent(self) -> float | None:
        return round(100 * self.busy / self.all, 1) if self.all > 0 else None

    @property
    def cpu_wait_percent(self) -> float | None:
        return round(100 * self.waited_s / self.wanted_s, 1) if self.wanted_s > 0 else None


@dataclass(frozen=True, slots=True)
class Own:
    """What a tool moved itself at most, headers and all."""

    all: float = 0
    down: float = 0
    up: float = 0


@dataclass(frozen=True, slots=True)
class _Sample:
    at_s: float
    moved_bytes: int | None
    by_direction: tuple[int, int] | None
    cpu: tuple[float, float] | None


@dataclass(slots=True)
class Witness:
    """Watches one run. `before`, then `around` each tool, then `after`.

    Through a proxy a failed connectivity check proves nothing, so then the line is unknown, not
    down.
    """

    checks: Sequence[Address]
    through_proxy: bool = False
    timeout_s: float = connectivity.TIMEOUT_S
    look_s: float = LOOK_S
    way: Way = ANY_WAY
    machine: Machine = field(default_factory=here)
    _interface: str | None = None
    _first: Conditions = field(default_factory=Conditions)
    _during: _Load = field(default_factory=_Load)

    def before(self) -> Conditions:
        """Looks at the line and the machine: about a second, a little more when it is down."""
        self._interface = self._way_out()
        seen = connectivity.check(self.checks, self.timeout_s, self.way)
        load = _Load()
        if self.look_s > 0:
            sample = self._sample()
            time.sleep(self.look_s)
            self._add(load, sample, Own())
        self._first = Conditions(
            line_up=self._up(seen),
            medium=self.machine.medium(self._interface),
            cross_traffic_mbps=load.traffic_mbps("all"),
            cross_traffic_down_mbps=load.traffic_mbps("down"),
            cross_traffic_up_mbps=load.traffic_mbps("up"),
            cpu_percent=load.cpu_percent,
            platform=f"{platform.system()} {platform.release()} {platform.machine()}",
            probe_version=__version__,
            link_mbps=self.machine.link_mbps(self._interface),
            vpn=self.machine.vpn(self._interface),
            on_battery=self.machine.on_battery(),
            notes=(seen.note,) if seen.note else (),
        )
        return self._first

    def around(self, tool: Tool, measure: Callable[[], Measurement]) -> Measurement:
        """Counts what else moved while an internet tool measured."""
        if not tool.internet:
            return measure()
        sample = self._sample()
        with Waiting(self.machine) as waiting:
            measurement = measure()
        if waiting.seconds is not None:
            self._during.wanted_s += time.monotonic() - sample.at_s
            self._during.waited_s += waiting.seconds
        if measurement.failure is None:
            self._add(self._during, sample, own_traffic(measurement.figures))
        return measurement

    def after(self, came_through: bool) -> Conditions:
        """The whole of it. When nothing came through, the line is looked at once more."""
        first, during = self._first, self._during
        seen = replace(
            first,
            cross_traffic_mbps=_greatest(first.cross_traffic_mbps, during.traffic_mbps("all")),
            cross_traffic_down_mbps=_greatest(
                first.cross_traffic_down_mbps, during.traffic_mbps("down")
            ),
            cross_traffic_up_mbps=_greatest(first.cross_traffic_up_mbps, during.traffic_mbps("up")),
            cpu_percent=_greatest(first.cpu_percent, during.cpu_percent),
            cpu_wait_percent=during.cpu_wait_percent,
        )
        return seen if came_through else self._looked_again(seen)

    def _looked_again(self, seen: Conditions) -> Conditions:
        up = self._up(connectivity.check(self.checks, self.timeout_s, self.way))
        if seen.line_up and up is False:
            note = "The line went down while the run measured."
            return replace(seen, line_up=False, notes=(*seen.notes, note))
        if seen.line_up is False and up:
            note = "The line was down at the start and came back while the run measured."
            return replace(seen, notes=(*seen.notes, note))
        return seen

    def _way_out(self) -> str | None:
        place = self.way.bind
        if place is None or version_of(place):
            return self.machine.interface(place or local_address())
        return place

    def _up(self, seen: Connectivity) -> bool | None:
        return None if self.through_proxy and not seen.up else seen.up

    def _sample(self) -> _Sample:
        moved = self.machine.moved_bytes(self._interface)
        by_direction = self.machine.received_and_sent(self._interface)
        return _Sample(time.monotonic(), moved, by_direction, self.machine.cpu_times())

    def _add(self, load: _Load, before: _Sample, own: Own | None) -> None:
        after = self._sample()
        if before.cpu and after.cpu:
            load.busy += after.cpu[0] - before.cpu[0]
            load.all += after.cpu[1] - before.cpu[1]
        if own is None:
            return
        seconds = after.at_s - before.at_s
        moved = {"all": _moved(before.moved_bytes, after.moved_bytes)}
        for place, way in enumerate(("down", "up")):
            counts = [one.by_direction and one.by_direction[place] for one in (before, after)]
            moved[way] = _moved(*counts)
        for way, count in moved.items():
            if count is not None:
                load.add_foreign(way, count - getattr(own, way), seconds)


def own_traffic(figures: Figures) -> Own | None:
    """None when a tool did not count everything."""
    whole = own_bytes(figures)
    if whole is None:
        return None
    down, up = figures.bytes_received or 0, figures.bytes_sent or 0
    return Own(
        whole,
        down * FRAMES + up * ACKNOWLEDGEMENTS + UNCOUNTED_BYTES,
        up * FRAMES + down * ACKNOWLEDGEMENTS + UNCOUNTED_BYTES,
    )


def own_bytes(figures: Figures) -> float | None:
    """What a tool moved at most, headers and all; None when it did not count everything."""
    uncounted = (
        figures.bytes_received is None
        or (figures.upload_mbps is not None and figures.bytes_sent is None)
    )  # fmt: skip
    if uncounted:
        return None
    payload = (figures.bytes_received or 0) + (figures.bytes_sent or 0)
    return payload * OVERHEAD + UNCOUNTED_BYTES


def _moved(before: int | None, after: int | None) -> int | None:
    """None where the interface was reset meanwhile: its counters began again."""
    return None if before is None or after is None or after < before else after - before


def _greatest(*values: float | None) -> float | None:
    return max((value for value in values if value is not None), default=None)
