"""What runs, plans and rules call for, reckoned the slow and obvious way: sort, walk, count.

The service must end where this does, whatever it was told in whatever order. So nothing of it is
used here but the values that plans and rules are written in. Runs are as a probe submits them.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

from speedtrap_graph.rules.model import Metric, Plan, Rule

Run = dict[str, Any]
KEYS = {
    Metric.DOWNLOAD: "downloadMbps", Metric.UPLOAD: "uploadMbps", Metric.LATENCY: "latencyMs",
    Metric.PACKET_LOSS: "packetLossRatio", Metric.LOADED_LATENCY_DOWN: "loadedLatencyDownMs",
}  # fmt: skip
MORE_IS_BETTER = {Metric.DOWNLOAD, Metric.UPLOAD}
NEWS_FOR = timedelta(hours=48)


@dataclass(frozen=True)
class Breach:
    rule: str
    first_run: str
    first_run_at: datetime
    opened_at: datetime
    last_run_at: datetime
    resolved_at: datetime | None
    count: int
    median: float | None
    plan_mbps: float


@dataclass
class Bucket:
    """`figures` by metric and tool (None: the best of all); `hours` by weekday and hour, local."""

    outcomes: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[bool] = field(default_factory=Counter)
    longest: int = 0
    row: int = 0
    figures: dict[Any, list[float]] = field(default_factory=dict)
    hours: dict[tuple[int, int], list[float]] = field(default_factory=dict)
    worse: Counter[Any] = field(default_factory=Counter)
    outages_below: Counter[Any] = field(default_factory=Counter)


@dataclass
class World:
    """Every run that stands, once; the plans that apply; the rules by `METRIC` or `METRIC/name`."""

    runs: list[Run]
    plans: list[Plan]
    rules: dict[str, Rule]

    def breaches(self) -> list[Breach]:
        return [breach for key in self.rules for breach in self._breaches(key, self.rules[key])]

    def news(self, now: datetime) -> set[tuple[str, str]]:
        """Rule and first run of what somebody is to be told, if all became known at *now*."""
        return {
            (breach.rule, breach.first_run)
            for breach in self.breaches()
            if breach.resolved_at is None and now - breach.last_run_at <= NEWS_FOR
        }

    def _breaches(self, key: str, rule: Rule) -> list[Breach]:
        found: list[Breach] = []
        said: list[tuple[Run, bool, float | None]] = []
        bad: list[tuple[Run, float | None]] = []  # of the breach that is open
        opened_at, goods = EPOCH, 0
        for run in self._sorted():
            verdict, value = self.verdict(run, rule)
            if verdict is None:
                continue
            said.append((run, verdict, value))
            if not bad:
                last = said[-(rule.out_of or rule.more_than + 1) :]
                broken = [(run, value) for run, verdict, value in last if verdict]
                if verdict and len(broken) > rule.more_than:
                    bad, opened_at, goods = broken, start(run), 0
            elif verdict:
                bad.append((run, value))
                goods = 0
            else:
                goods += 1
                if goods == rule.recovered_after:
                    found.append(self._breach(key, bad, opened_at, start(run)))
                    bad, said = [], []
        return [*found, self._breach(key, bad, opened_at, None)] if bad else found

    def _breach(
        self, key: str, bad: list[Any], opened_at: datetime, resolved_at: datetime | None
    ) -> Breach:
        first, values = bad[0][0], [value for _, value in bad if value is not None]
        plan = self.plan_at(start(first))
        middle = median(values) if values else None
        promised = plan.upload_mbps if plan and key.startswith("UPLOAD") else None
        assert plan is not None
        return Breach(
            key, first["id"], start(first), opened_at, start(bad[-1][0]), resolved_at, len(bad),
            middle, promised or plan.download_mbps,
        )  # fmt: skip

    def buckets(self) -> dict[tuple[str, int], Bucket]:
        """By level and start in milliseconds, in the newest plan's time zone."""
        zone = ZoneInfo(max(self.plans, key=lambda p: p.since).time_zone if self.plans else "UTC")
        found: dict[tuple[str, int], Bucket] = {}
        for run in self._sorted():
            local = start(run).astimezone(zone)
            day = datetime(local.year, local.month, local.day, tzinfo=zone).astimezone(UTC)
            hour = day + (start(run) - day) // timedelta(hours=1) * timedelta(hours=1)
            month = datetime(local.year, local.month, 1, tzinfo=zone)
            for level, begins in (("hour", hour), ("day", day), ("month", month)):
                place = level, round(begins.timestamp() * 1000)
                self._take(found.setdefault(place, Bucket()), run)
        return found

    def figures(self) -> tuple[int, int, int, float | None, int, int]:
        """MEASURED, OUTAGE and INCONCLUSIVE runs; the median download; runs below the rule, and
        the most of them in a row.
        """
        whole = Bucket()
        for run in self._sorted():
            self._take(whole, run)
        downloads = whole.figures.get((Metric.DOWNLOAD, None))
        return (
            whole.outcomes["MEASURED"],
            whole.outcomes["OUTAGE"],
            whole.outcomes["INCONCLUSIVE"],
            median(downloads) if downloads else None,
            whole.verdicts[True],
            whole.longest,
        )

    def _take(self, bucket: Bucket, run: Run) -> None:
        plan, (outcome, best, _) = self.plan_at(start(run)), self.judged(run)
        verdict, _ = self.verdict(run, self.rules["DOWNLOAD"])
        bucket.outcomes[outcome] += 1
        if verdict is not None:
            bucket.verdicts[verdict] += 1
            bucket.row = bucket.row + 1 if verdict else 0
            bucket.longest = max(bucket.longest, bucket.row)
        if Metric.DOWNLOAD in best:
            local = start(run).astimezone(ZoneInfo(plan.time_zone if plan else "UTC"))
            hour = local.weekday(), local.hour
            bucket.hours.setdefault(hour, []).append(best[Metric.DOWNLOAD])
        for metric, key in KEYS.items():
            rule = self.rules.get(metric.value)
            limit = self.limit(run, rule) if rule else None
            bucket.outages_below[metric] += outcome == "OUTAGE" and limit is not None
            for tool in (None, *{m["tool"] for m in run["measurements"]}):
                values = [m[key] for m in run["measurements"] if m["tool"] == tool and key in m]
                value = best.get(metric) if tool is None else best_of(metric, values)
                if value is None or (tool != "lan" and metric not in best):
                    continue
                bucket.figures.setdefault((metric, tool), []).append(value)
                if tool != "lan" and limit is not None:
                    bucket.worse[metric, tool] += is_worse(metric, value, limit)

    def verdict(self, run: Run, rule: Rule) -> tuple[bool | None, float | None]:
        """Whether the run broke *rule* (None: it says nothing), and by which figure."""
        outcome, best, doubted = self.judged(run)
        limit, value = self.limit(run, rule), best.get(rule.metric)
        if rule.tool is not None:
            mine = [m for m in run["measurements"] if m["tool"] == rule.tool]
            figures = [m[KEYS[rule.metric]] for m in mine if KEYS[rule.metric] in m]
            value = None if doubted or value is None else best_of(rule.metric, figures)
            limit = limit if mine else None
        if limit is None or outcome == "INCONCLUSIVE":
            return None, None
        if outcome == "OUTAGE":
            return True, None
        return (None if value is None else is_worse(rule.metric, value, limit)), value

    def judged(self, run: Run) -> tuple[str, dict[Metric, float], bool]:
        """Outcome, best figures, and whether they stand in spite of a doubt."""
        tools = [m for m in run["measurements"] if m["tool"] != "lan"]
        found = {metric: [m[key] for m in tools if key in m] for metric, key in KEYS.items()}
        best = {metric: _of(metric, values) for metric, values in found.items() if values}
        conditions, plan = run.get("conditions", {}), self.plan_at(start(run))
        if not best:
            return ("OUTAGE" if conditions.get("lineUp") is False else "INCONCLUSIVE"), {}, False
        download = best.get(Metric.DOWNLOAD)
        busy = max(0.2, 0.1 * (plan.download_mbps if plan else download or 0.0))
        if conditions.get("crossTrafficMbps", 0) <= busy:
            return "MEASURED", best, False
        limit = self.limit(run, self.rules["DOWNLOAD"], always=True)
        if download is None or limit is None or download < limit:
            return "INCONCLUSIVE", {}, False
        return "MEASURED", {Metric.DOWNLOAD: download}, True

    def limit(self, run: Run, rule: Rule, *, always: bool = False) -> float | None:
        """The rule's bound at the run's start; none without a plan, or off peak for a peak rule."""
        plan = self.plan_at(start(run))
        if plan is None:
            return None
        local = start(run).astimezone(ZoneInfo(plan.time_zone))
        at_peak = local.weekday() < 5 and 19 <= local.hour < 23
        if rule.only_at_peak and not at_peak and not always:
            return None
        if rule.below_ratio is not None:
            bought = plan.download_mbps if rule.metric is Metric.DOWNLOAD else plan.upload_mbps
            return None if bought is None else bought * rule.below_ratio
        return next(b for b in (rule.below_mbps, rule.above_ms, rule.above_ratio) if b is not None)

    def plan_at(self, moment: datetime) -> Plan | None:
        applying = [plan for plan in self.plans if plan.since <= moment]
        return max(applying, key=lambda plan: plan.since, default=None)

    def _sorted(self) -> list[Run]:
        return sorted(self.runs, key=lambda run: (start(run), run["id"]))


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def start(run: Run) -> datetime:
    return datetime.fromisoformat(run["startedAt"])


def best_of(metric: Metric, values: list[float]) -> float | None:
    return _of(metric, values) if values else None


def _of(metric: Metric, values: list[float]) -> float:
    return (max if metric in MORE_IS_BETTER else min)(values)


def is_worse(metric: Metric, value: float, limit: float) -> bool:
    return value < limit if metric in MORE_IS_BETTER else value > limit
