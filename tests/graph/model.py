"""What runs, plans and rules call for, reckoned the slow and obvious way: sort, walk, count.

The service must end where this does, whatever it was told in whatever order. So nothing of it is
used here but the values that plans and rules are written in. Runs are as a probe submits them.
"""

from collections import Counter
from collections.abc import Set
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
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
        plan, (outcome, best) = self.plan_at(start(run)), self.judged(run)
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
        tools = {m["tool"] for m in run["measurements"]}
        for metric in KEYS:
            rule = self.rules.get(metric.value)
            limit = self.limit(run, rule) if rule else None
            if outcome == "OUTAGE" and limit is not None:
                bucket.outages_below[metric] += 1
                bucket.worse.update((metric, tool) for tool in tools - {"lan"})
            figures = {None: best.get(metric)} | {
                tool: self.figure_of(tool, run, metric, best) for tool in tools
            }
            for tool, value in figures.items():
                if value is None:
                    continue
                bucket.figures.setdefault((metric, tool), []).append(value)
                if tool != "lan" and limit is not None:
                    bucket.worse[metric, tool] += is_worse(metric, value, limit)

    def figure_of(
        self, tool: str, run: Run, metric: Metric, best: dict[Metric, float]
    ) -> float | None:
        """What counts of one tool in statistics: what would count if it were the best of all."""
        value = best_of(metric, figures_of(run, metric, {tool}))
        if tool == "lan":
            return value
        return None if metric not in best or self.is_doubted(run, metric, value) else value

    def verdict(
        self, run: Run, rule: Rule, *, always: bool = False
    ) -> tuple[bool | None, float | None]:
        """Whether the run broke *rule* (None: it says nothing), and by which figure."""
        tools = {m["tool"] for m in run["measurements"]} - {"lan"}
        limit = self.limit(run, rule, always=always)
        if limit is None or (rule.tool is not None and rule.tool not in tools):
            return None, None
        if not any(figures_of(run, metric, tools) for metric in KEYS):
            return (True if is_down(run) else None), None
        mine = tools if rule.tool is None else {rule.tool}
        value = best_of(rule.metric, figures_of(run, rule.metric, mine))
        if value is None:
            return None, None
        if not is_worse(rule.metric, value, limit):
            return False, value
        if self.is_unfair(run, rule.metric, limit):
            return None, None
        return True, value

    def judged(self, run: Run) -> tuple[str, dict[Metric, float]]:
        """Outcome, and the figures that count in statistics."""
        tools = {m["tool"] for m in run["measurements"]} - {"lan"}
        found = {metric: best_of(metric, figures_of(run, metric, tools)) for metric in KEYS}
        best = {metric: value for metric, value in found.items() if value is not None}
        if not best:
            return ("OUTAGE" if is_down(run) else "INCONCLUSIVE"), {}
        left = {metric for metric, value in best.items() if self.is_doubted(run, metric, value)}
        if left or self.is_unfair_to_all(run):
            left |= {metric for metric in best if self.main_limit(run, metric) is None}
        says = [self.verdict(run, rule, always=True)[0] for rule in self.rules.values()]
        if left and says.count(None) == len(says):
            return "INCONCLUSIVE", {}
        return "MEASURED", {metric: best[metric] for metric in best if metric not in left}

    def is_doubted(self, run: Run, metric: Metric, value: float | None) -> bool:
        """By the metric's main rule."""
        limit = self.main_limit(run, metric)
        if value is None or limit is None or not is_worse(metric, value, limit):
            return False
        return self.is_unfair(run, metric, limit)

    def is_unfair(self, run: Run, metric: Metric, limit: Decimal) -> bool:
        """Whether something of the household's would explain a figure that breaks *limit*."""
        local = best_of(metric, figures_of(run, metric, {"lan"}))
        if local is not None and is_worse(metric, local, limit):
            return True
        conditions = run.get("conditions", {})
        rate = conditions.get("linkMbps")
        if rate is not None and metric in MORE_IS_BETTER:
            share = "0.95" if conditions.get("medium") == "WIRED" else "0.5"
            if Decimal(share) * exactly(rate) < limit:
                return True
        return self.is_unfair_to_all(run)

    def is_unfair_to_all(self, run: Run) -> bool:
        conditions = run.get("conditions", {})
        down, up = conditions.get("crossTrafficDownMbps"), conditions.get("crossTrafficUpMbps")
        if down is None and up is None:
            down = conditions.get("crossTrafficMbps")
        for traffic, metric in ((down, Metric.DOWNLOAD), (up, Metric.UPLOAD)):
            tools = {m["tool"] for m in run["measurements"]} - {"lan"}
            capacity = bought(self.plan_at(start(run)), metric)
            if capacity is None:
                capacity = best_of(metric, figures_of(run, metric, tools)) or 0.0
            allowed = max(Decimal("0.2"), Decimal("0.1") * exactly(capacity))
            if traffic is not None and exactly(traffic) > allowed:
                return True
        if all(self.limit(run, rule, always=True) is None for rule in self.rules.values()):
            return False
        return bool(
            conditions.get("vpn")
            or conditions.get("cpuPercent", 0) >= 95
            or conditions.get("cpuWaitPercent", 0) >= 20
        )

    def main_limit(self, run: Run, metric: Metric) -> Decimal | None:
        rule = self.rules.get(metric.value)
        return None if rule is None else self.limit(run, rule, always=True)

    def limit(self, run: Run, rule: Rule, *, always: bool = False) -> Decimal | None:
        """The rule's bound at the run's start; none without a plan, or off peak for a peak rule."""
        plan = self.plan_at(start(run))
        if plan is None:
            return None
        local = start(run).astimezone(ZoneInfo(plan.time_zone))
        at_peak = local.weekday() < 5 and 19 <= local.hour < 23
        if rule.only_at_peak and not at_peak and not always:
            return None
        if rule.below_ratio is not None:
            whole = bought(plan, rule.metric)
            return None if whole is None else exactly(whole) * exactly(rule.below_ratio)
        bounds = (rule.below_mbps, rule.above_ms, rule.above_ratio)
        return next(exactly(bound) for bound in bounds if bound is not None)

    def plan_at(self, moment: datetime) -> Plan | None:
        applying = [plan for plan in self.plans if plan.since <= moment]
        return max(applying, key=lambda plan: plan.since, default=None)

    def _sorted(self) -> list[Run]:
        return sorted(self.runs, key=lambda run: (start(run), run["id"]))


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def start(run: Run) -> datetime:
    return datetime.fromisoformat(run["startedAt"])


def is_down(run: Run) -> bool:
    return run.get("conditions", {}).get("lineUp") is False


def exactly(figure: float) -> Decimal:
    """As it was written."""
    return Decimal(str(figure))


def bought(plan: Plan | None, metric: Metric) -> float | None:
    if plan is None or metric not in MORE_IS_BETTER:
        return None
    return plan.download_mbps if metric is Metric.DOWNLOAD else plan.upload_mbps


def figures_of(run: Run, metric: Metric, tools: Set[str]) -> list[float]:
    """Of the tools that no throughput of is above the rate of the wire that it came through."""
    conditions = run.get("conditions", {})
    wire = conditions.get("linkMbps") if conditions.get("medium") == "WIRED" else None
    most = None if wire is None else Decimal("1.05") * exactly(wire)
    return [
        m[KEYS[metric]]
        for m in run["measurements"]
        if m["tool"] in tools and KEYS[metric] in m
        and (most is None or all(exactly(m.get(KEYS[one], 0)) <= most for one in MORE_IS_BETTER))
    ]  # fmt: skip


def best_of(metric: Metric, values: list[float]) -> float | None:
    return _of(metric, values) if values else None


def _of(metric: Metric, values: list[float]) -> float:
    return (max if metric in MORE_IS_BETTER else min)(values)


def is_worse(metric: Metric, value: float, limit: float | Decimal) -> bool:
    exact = exactly(value)
    return exact < limit if metric in MORE_IS_BETTER else exact > limit
