"""What so many probes need, from what one run costs: pure. `bench_capacity` measures the figures,
docs/scaling.md shows both, and a test holds the one against the other.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from math import ceil

RUNS_PER_YEAR = 24 * 365
"""One run an hour."""
BUSY = 0.5
"""How much of a core may be used on average: the rest is for hours with more, for pages, for the
copy that is being restarted."""
SHARD_CORES, SHARD_GB = 8, 1000
"""When one replica set is taken for full: cores that mongod keeps busy, and a year's data."""
FLEETS = (1, 100, 10_000, 100_000, 1_000_000)


@dataclass(frozen=True)
class Figures:
    """Measured: processor time in milliseconds, and bytes on the disk, indexes included."""

    graph_ms_per_run: float
    mongod_ms_per_run: float
    gateway_ms_per_run: float
    bytes_per_run: float
    rollup_bytes_per_probe_year: float
    oplog_bytes_per_run: float
    graph_bytes_per_probe: float

    @property
    def probes_per_core(self) -> int:
        """Of graph, one run an hour each, with `BUSY` of the core used."""
        return int(BUSY * 3_600_000 / self.graph_ms_per_run)


@dataclass(frozen=True)
class Need:
    """What a fleet needs."""

    probes: int
    runs_per_s: float
    graph_copies: int
    """A copy is one process, and so uses one core at most."""
    mongod_cores: float
    gateway_cores: float
    disk_gb_per_year: float
    oplog_gb_per_day: float
    shards: int


def need(probes: int, figures: Figures) -> Need:
    runs_per_s = probes / 3600
    per_core_s = 1000 * BUSY
    mongod_cores = runs_per_s * figures.mongod_ms_per_run / per_core_s
    a_year = RUNS_PER_YEAR * figures.bytes_per_run + figures.rollup_bytes_per_probe_year
    disk_gb = probes * a_year / 1e9
    return Need(
        probes,
        runs_per_s,
        ceil(runs_per_s * figures.graph_ms_per_run / per_core_s),
        mongod_cores,
        runs_per_s * figures.gateway_ms_per_run / per_core_s,
        disk_gb,
        probes * 24 * figures.oplog_bytes_per_run / 1e9,
        max(1, ceil(mongod_cores / SHARD_CORES), ceil(disk_gb / SHARD_GB)),
    )


def rows(needs: Iterable[Need]) -> list[str]:
    """As in docs/scaling.md."""
    return [
        f"| {each.probes:,} | {_short(each.runs_per_s)} | {each.graph_copies} | "
        f"{_short(each.mongod_cores)} | {_short(each.gateway_cores)} | "
        f"{_short(each.disk_gb_per_year)} | {_short(each.oplog_gb_per_day)} | {each.shards} |"
        for each in needs
    ]


def figure_rows(figures: Figures) -> list[str]:
    """One line a figure: its name and its value."""
    return [f"| `{each.name}` | {getattr(figures, each.name):.3g} |" for each in fields(figures)]


def _short(value: float) -> str:
    """Two digits that count; more would promise what no estimate can."""
    if value >= 10:
        return f"{float(f'{value:.2g}'):,.0f}"
    return f"{value:.2g}" if value >= 0.001 else "< 0.001"
