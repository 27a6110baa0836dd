"""Lines with everything that a page has a number for, and the same runs kept to reckon from.

Each tool's download, upload and latency are drawn by themselves, so that no figure can stand in for
another. What a run is good for is said when it is made, not read back from anywhere.
"""

import contextlib
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Literal
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from tests.lab.mongo import Mongod, fresh_database
from tests.lab.service import Service, running_service
from tests.web.history import set_plan, submit
from tests.web.stages import trust

Kind = Literal["fair", "low", "down", "busy", "crowded"]
"""`busy` is low with other traffic on the line, so it says nothing; `crowded` kept the rule in
spite of it, so its download alone counts.
"""

BERLIN = ZoneInfo("Europe/Berlin")
EVERY = timedelta(hours=2)
INTERNET = ("fast", "librespeed", "ookla")
TOOLS = (*INTERNET, "lan")
DOWN, UP, LATENCY = "downloadMbps", "uploadMbps", "latencyMs"
FIGURES = (
    DOWN, UP, LATENCY, "jitterMs", "loadedLatencyDownMs", "loadedLatencyUpMs", "packetLossRatio",
)  # fmt: skip
"""In the order of a run's page."""
BREACH_FROM = 6


@dataclass(frozen=True)
class Bought:
    provider: str
    down: float
    up: float
    since: datetime


@dataclass(frozen=True)
class Taken:
    """One run. `figures` has a tool's figures, or none where it failed."""

    probe: str
    start: datetime
    kind: Kind
    figures: Mapping[str, Mapping[str, float]]
    bought: Bought | None
    other_mbps: float | None = None
    cpu_percent: float | None = None
    id: str = field(default_factory=lambda: str(uuid4()))

    def best(self, key: str = DOWN) -> float | None:
        """What counts of the line: the highest throughput, the shortest latency."""
        if self.kind in {"down", "busy"} or (self.kind == "crowded" and key != DOWN):
            return None
        found = [self.figures[tool][key] for tool in INTERNET if key in self.figures[tool]]
        return None if not found else min(found) if key == LATENCY else max(found)

    def by(self, tool: str | None, key: str = DOWN) -> float | None:
        """One tool's figure where it counts; without a tool, the best."""
        if tool is None:
            return self.best(key)
        if tool != "lan" and self.best(key) is None:
            return None
        return self.figures[tool].get(key)

    @property
    def ratio(self) -> float | None:
        best = self.best()
        return None if best is None or self.bought is None else best / self.bought.down

    @property
    def outcome(self) -> str:
        return {"down": "OUTAGE", "busy": "INCONCLUSIVE"}.get(self.kind, "MEASURED")

    @property
    def broke(self) -> bool | None:
        """Below half of what was bought; None where it says nothing."""
        if self.bought is None or self.kind == "busy":
            return None
        return self.kind == "down" or (self.ratio or 0) < 0.5

    @property
    def submitted(self) -> dict[str, Any]:
        conditions = {
            "lineUp": self.kind != "down",
            "medium": "WIRED",
            "platform": "linux",
            "probeVersion": "9.8.7",
            "crossTrafficMbps": self.other_mbps,
            "cpuPercent": self.cpu_percent,
        }
        return {
            "id": self.id,
            "probe": self.probe,
            "startedAt": self.start.isoformat(),
            "finishedAt": (self.start + timedelta(seconds=70)).isoformat(),
            "conditions": {name: value for name, value in conditions.items() if value is not None},
            "measurements": [self._measurement(tool) for tool in TOOLS],
        }

    def _measurement(self, tool: str) -> dict[str, Any]:
        row: dict[str, Any] = {"tool": tool, "startedAt": self.start.isoformat(), "durationS": 15}
        if self.figures[tool]:
            return {**row, **self.figures[tool]}
        kind = "NO_NETWORK" if self.kind == "down" else "TIMEOUT"
        return {**row, "failure": {"kind": kind, "message": "no answer"}}


@dataclass(frozen=True)
class Streak:
    """Runs in a row below half; `ended` is the start of the one that was not. `seen` are all of its
    time, those included that say nothing.
    """

    runs: Sequence[Taken]
    seen: Sequence[Taken]
    ended: datetime | None

    @property
    def median(self) -> float:
        return median(value for run in self.runs if (value := run.best()) is not None)


@dataclass
class Line:
    """A probe's runs, oldest first, on the clock of its plan."""

    probe: str
    zone: ZoneInfo
    plans: Sequence[Bought]
    runs: list[Taken]

    def of(self, first: date, last: date) -> list[Taken]:
        """The runs of the days from *first* to *last*."""
        return [run for run in self.runs if first <= self.local(run).date() <= last]

    def local(self, run: Taken) -> datetime:
        return run.start.astimezone(self.zone)

    def is_peak(self, run: Taken) -> bool:
        local = self.local(run)
        return local.weekday() < 5 and 19 <= local.hour < 23

    @property
    def streaks(self) -> list[Streak]:
        found: list[Streak] = []
        row: list[Taken] = []
        for run in self.runs:
            if run.broke:
                row.append(run)
            elif run.broke is False:
                found += [self._streak(row, run.start)] if row else []
                row = []
        return [*found, self._streak(row, None)] if row else found

    def _streak(self, row: list[Taken], ended: datetime | None) -> Streak:
        first, last = row[0].start, row[-1].start
        return Streak(row, [run for run in self.runs if first <= run.start <= last], ended)

    @property
    def breaches(self) -> list[Streak]:
        """Newest first."""
        return [streak for streak in self.streaks if len(streak.runs) >= BREACH_FROM][::-1]


def bests(runs: Iterable[Taken], key: str = DOWN, tool: str | None = None) -> list[float]:
    return [value for run in runs if (value := run.by(tool, key)) is not None]


def share_below(runs: Sequence[Taken]) -> tuple[int, int]:
    """How many were below half, of how many that say something."""
    said = [run.broke for run in runs if run.broke is not None]
    return sum(said), len(said)


def outages(runs: Sequence[Taken]) -> tuple[int, timedelta]:
    """Spans in which the line was down, and their time: each to the start of the next run."""
    count, lasted = 0, timedelta()
    place = 0
    for is_down, row in groupby(runs, key=lambda run: run.kind == "down"):
        together = list(row)
        place += len(together)
        if is_down:
            count += 1
            after = runs[place].start if place < len(runs) else together[-1].start
            lasted += after - together[0].start
    return count, lasted


def tenths(values: Sequence[float]) -> tuple[float, float]:
    """p10 and p90."""
    if len(values) == 1:
        return values[0], values[0]
    cuts = quantiles(values, n=10, method="inclusive")
    return cuts[0], cuts[-1]


def fifth(values: Sequence[float]) -> float:
    """p20: what four fifths reach."""
    return quantiles(values, n=5, method="inclusive")[0]


def last_october() -> int:
    """The year of the last October that is over: with a day of 25 hours in Berlin."""
    today = datetime.now(BERLIN).date()
    return today.year if today.month > 10 else today.year - 1


def attic() -> Line:
    """Nineteen days of last October in Berlin, on two plans: breaches, outages, a gap, doubts.

    fast.com is slow there by itself, and never slow enough to break the rule alone.
    """
    year = last_october()
    plans = (
        Bought("Contoso Fibre", 250, 40, datetime(1970, 1, 1, tzinfo=UTC)),
        Bought("Fabrikam Cable", 500, 50, datetime(year, 10, 15, tzinfo=BERLIN)),
    )
    lows = [*range(20, 27), *range(60, 64), *range(95, 101), *range(211, 220)]
    kinds: dict[int, Kind] = dict.fromkeys(lows, "low")
    kinds |= {23: "down", 120: "down", 121: "down", 214: "down"}
    kinds |= {25: "busy", 160: "busy", 161: "crowded"}
    start = datetime(year, 10, 10, 0, 7, 11, tzinfo=BERLIN).astimezone(UTC)
    places = [place for place in range(220) if not 130 <= place < 142]
    moments = [(start + place * EVERY, kinds.get(place, "fair")) for place in places]
    return _line("attic", plans, moments, {"fast": 0.57}, seed=11)


def porch() -> Line:
    """The last eight days up to now: fast.com alone below the rule twice, once still, and a streak
    too short for a breach. Otherwise the tools agree.
    """
    plans = (Bought("Contoso Fibre", 250, 40, datetime(1970, 1, 1, tzinfo=UTC)),)
    kinds: dict[int, Kind] = dict.fromkeys(range(50, 53), "low")
    start = datetime.now(UTC).replace(microsecond=0) - 96 * EVERY - timedelta(minutes=30)
    moments = [(start + place * EVERY, kinds.get(place, "fair")) for place in range(96)]
    line = _line("porch", plans, moments, {"fast": 0.97}, seed=12)
    for place in (*range(20, 27), *range(90, 96)):
        run = line.runs[place]
        alone = {**run.figures["fast"], DOWN: run.figures["fast"][DOWN] * 0.4}
        line.runs[place] = replace(run, figures={**run.figures, "fast": alone})
    return line


def shed() -> Line:
    """Three days up to now of a line that nobody said the price of."""
    start = datetime.now(UTC).replace(microsecond=0) - 36 * EVERY - timedelta(minutes=30)
    moments: list[tuple[datetime, Kind]] = [(start + place * EVERY, "fair") for place in range(36)]
    moments[30] = moments[30][0], "down"
    line = _line("shed", (), moments, {"fast": 0.9}, seed=13)
    return replace(line, zone=ZoneInfo("UTC"))


def _line(
    probe: str,
    plans: Sequence[Bought],
    moments: Iterable[tuple[datetime, Kind]],
    slow: Mapping[str, float],
    seed: int,
) -> Line:
    chance = random.Random(seed)
    runs = []
    for start, kind in moments:
        bought = next((plan for plan in plans[::-1] if plan.since <= start), None)
        promised = (bought.down, bought.up) if bought else (180.0, 25.0)
        local = start.astimezone(BERLIN)
        evening = 0.8 if local.weekday() < 5 and 19 <= local.hour < 23 else 1.0
        share = evening * chance.uniform(0.92, 1.0)
        if kind in {"low", "busy"}:
            share = chance.uniform(0.25, 0.45)
        figures = dict(_figures(chance, kind, share, promised, slow))
        run = Taken(probe, start, kind, figures, bought, id=str(UUID(int=chance.getrandbits(128))))
        if kind in {"busy", "crowded"}:
            run = replace(run, other_mbps=round(chance.uniform(60, 90), 1))
        elif chance.random() < 0.05:
            run = replace(run, cpu_percent=round(chance.uniform(80, 90)))
        runs.append(run)
    return Line(probe, BERLIN, plans, runs)


def _figures(
    chance: random.Random,
    kind: Kind,
    share: float,
    promised: tuple[float, float],
    slow: Mapping[str, float],
) -> Iterator[tuple[str, dict[str, float]]]:
    for tool, usual in {"fast": 1.0, "librespeed": 0.94, "ookla": 1.0}.items():
        failed = kind == "down" or (tool == "librespeed" and chance.random() < 0.1)
        factor = usual * slow.get(tool, 1.0) * chance.uniform(0.98, 1.0)
        yield (
            tool,
            {}
            if failed
            else {
                DOWN: promised[0] * share * factor,
                UP: promised[1] * chance.uniform(0.7, 1.0),
                LATENCY: chance.uniform(7, 30),
                "jitterMs": chance.uniform(0.1, 3),
                "packetLossRatio": chance.uniform(0, 0.03),
                "loadedLatencyDownMs": chance.uniform(30, 90),
                "loadedLatencyUpMs": chance.uniform(30, 90),
            },
        )
    yield (
        "lan",
        {
            DOWN: chance.uniform(900, 940),
            UP: chance.uniform(900, 940),
            LATENCY: chance.uniform(0.3, 0.9),
        },
    )


def days_of(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)


@contextlib.contextmanager
def measured_service(mongod: Mongod, folder: Path, lines: Iterable[Line]) -> Iterator[Service]:
    """All of *lines* submitted, each judged by its own plans."""
    patient = {**trust(folder), "SPEEDTRAP_WEB_GRAPH_TIMEOUT_S": "60"}
    with (
        fresh_database(mongod) as name,
        running_service(mongod, name, folder, with_web=True, **patient) as service,
    ):
        for line in lines:
            for plan in line.plans:
                set_plan(
                    service,
                    probe=line.probe,
                    provider=plan.provider,
                    downloadMbps=plan.down,
                    uploadMbps=plan.up,
                    timeZone=str(line.zone),
                    since=plan.since.isoformat(),
                )
            submit(service, [run.submitted for run in line.runs], role="admin")
        yield service
