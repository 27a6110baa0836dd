"""What a run is made under: seen before it, while it measures, and after it.

Every condition that can make a figure doubtful is kept as it was; what it means is the service's to
say. Cross traffic is what this machine's interface moved and no tool of ours did: other devices of
the household are not seen.
"""

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from speedtrap_probe import __version__, connectivity
from speedtrap_probe.connectivity import Address, Connectivity
from speedtrap_probe.machine import Machine, here, local_address
from speedtrap_probe.model import Conditions, Figures, Measurement
from speedtrap_probe.tool import Tool
from speedtrap_probe.way import ANY_WAY, Way, version_of

LOOK_S = 1.0  # how long the line and the processors are watched before a run
# Headers, acknowledgements and TLS on top of the payload that a tool counts: 1514/1448 for the
# frames, up to 3 % for the acknowledgements, about 1 % for TLS and what a tool asks beforehand.
OVERHEAD = 1.10
# What a tool moves and does not count: configuration pages, latency tests.
UNCOUNTED_BYTES = 500_000


@dataclass(slots=True)
class _Load:
    """What was seen over some stretches of time."""

    seconds: float = 0.0
    foreign_bytes: float | None = None
    busy: float = 0.0
    all: float = 0.0

    @property
    def traffic_mbps(self) -> float | None:
        if self.foreign_bytes is None or self.seconds <= 0:
            return None
        return round(max(0.0, self.foreign_bytes) * 8 / 1e6 / self.seconds, 3)

    @property
    def cpu_percent(self) -> float | None:
        return round(100 * self.busy / self.all, 1) if self.all > 0 else None


@dataclass(frozen=True, slots=True)
class _Sample:
    at_s: float
    moved_bytes: int | None
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
            self._add(load, sample, 0)
        self._first = Conditions(
            line_up=self._up(seen),
            medium=self.machine.medium(self._interface),
            cross_traffic_mbps=load.traffic_mbps,
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
        measurement = measure()
        if measurement.failure is None:
            self._add(self._during, sample, own_bytes(measurement.figures))
        return measurement

    def after(self, came_through: bool) -> Conditions:
        """The whole of it. When nothing came through, the line is looked at once more."""
        traffic = _greatest(self._first.cross_traffic_mbps, self._during.traffic_mbps)
        cpu = _greatest(self._first.cpu_percent, self._during.cpu_percent)
        seen = replace(self._first, cross_traffic_mbps=traffic, cpu_percent=cpu)
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
        return _Sample(time.monotonic(), moved, self.machine.cpu_times())

    def _add(self, load: _Load, before: _Sample, own: float | None) -> None:
        after = self._sample()
        if before.cpu and after.cpu:
            load.busy += after.cpu[0] - before.cpu[0]
            load.all += after.cpu[1] - before.cpu[1]
        if before.moved_bytes is None or after.moved_bytes is None or own is None:
            return
        if (moved := after.moved_bytes - before.moved_bytes) < 0:
            return  # the interface was reset: its counters began again
        load.foreign_bytes = (load.foreign_bytes or 0.0) + max(0.0, moved - own)
        load.seconds += after.at_s - before.at_s


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


def _greatest(*values: float | None) -> float | None:
    return max((value for value in values if value is not None), default=None)
