"""What one installation does with a run: measure it, write it down, bring it to the service."""

import random
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from speedtrap_probe import budget, clock
from speedtrap_probe import run as rounds
from speedtrap_probe.budget import Budget, Skipped
from speedtrap_probe.engine import limits
from speedtrap_probe.errors import NotKeptError, ProbeError, UndeliveredError
from speedtrap_probe.files import report
from speedtrap_probe.files.outbox import Dropped, Outbox
from speedtrap_probe.files.state import State
from speedtrap_probe.line.conditions import Witness
from speedtrap_probe.model import Run
from speedtrap_probe.plan import Plan
from speedtrap_probe.run import Watcher
from speedtrap_probe.service.submit import WITHIN_S, Beat, Delivery, Service, deliver
from speedtrap_probe.settings import Settings
from speedtrap_probe.tool import Progress, Setup, Tool

AROUND_A_TOOL_S = 30.0  # programs that are looked for, threads that end
REQUESTS = 2  # before a run; runs are delivered when the line is free again
DEFAULT_RETEST = 0.5  # of a plan that only this probe's settings know


@dataclass(frozen=True, slots=True)
class Awake:
    """What was learnt before a run: the plan, and how far the service's clock is ahead."""

    plan: Plan | None = None
    clock_offset_s: float | None = None
    problem: str | None = None
    """Of a service that was reached."""


@dataclass(frozen=True, slots=True)
class Session:
    """A probe with its settings and its tools. Without a key it keeps to itself."""

    settings: Settings
    state: State
    outbox: Outbox | None = None
    service: Service | None = None
    tools: tuple[Tool, ...] = ()
    chance: random.Random = field(default_factory=random.SystemRandom)

    def wake(self, next_run_at: datetime | None = None) -> Awake:
        """Says to the service that this probe lives, and learns what a run should know.

        A service that cannot be reached is told of when the run is delivered.
        """
        own = self._own_plan()
        if self.service is None:
            return Awake(own)
        try:
            offset_s = self.service.heartbeat(Beat(self.settings.name, next_run_at)).offset_s
        except UndeliveredError as error:
            return Awake(own or self._remembered_plan(), error.clock_offset_s)
        try:
            plan = self.service.plan(self.settings.name)
        except UndeliveredError as error:
            problem = f"The plan is not known for this run: {error}"
            return Awake(own or self._remembered_plan(), offset_s, problem)
        self._remember(plan)
        return Awake(own or plan, offset_s)

    @property
    def longest_s(self) -> float:
        """No run takes longer: the service is asked, each tool measures, one of them twice."""
        setup = Setup("", window_s=self.settings.window_s, deadline_s=self.settings.deadline_s)
        tool_s = (setup.deadline.within_s or 0.0) + AROUND_A_TOOL_S
        return (len(self.tools) + 1) * tool_s + REQUESTS * WITHIN_S + self.settings.look_s

    def budget(self, plan: Plan | None) -> Budget:
        """What the month's data allows. Raises ProbeError when that cannot be known."""
        known, spent = self.state.costs(), self.state.spent_bytes(datetime.now(UTC))
        expected = budget.costs(self.tools, known, plan, self.settings.window_s)
        return Budget(self.settings.budget_bytes, spent, expected)

    def measure(self, watcher: Watcher, progress: Progress, awake: Awake = Awake()) -> Run:
        """One round."""
        setup = Setup(
            service_url=self.settings.url,
            options=self._options(),
            proxy=self.settings.proxy,
            window_s=self.settings.window_s,
            progress=progress,
            ip_version=self.settings.ip_version,
            bind=self.settings.bind,
            deadline_s=self.settings.deadline_s,
        )
        witness = Witness(
            self.settings.checks,
            through_proxy=self.settings.proxy is not None,
            look_s=self.settings.look_s,
            way=setup.way,
        )
        tools, twice = self._within_budget(awake.plan)
        doubt = awake.plan.doubt(self.settings.retest) if awake.plan and twice else None
        ordered = rounds.in_order(tools, self.chance)
        # A run needs no memory; `record` tells what is wrong with it.
        with suppress(ProbeError, ValueError, TypeError, AttributeError):
            limits.KEPT.keep_all(self.state.limits_s(datetime.now(UTC)))
        run = rounds.measure(self.settings.name, ordered, setup, witness, watcher, doubt)
        with suppress(ProbeError):
            self.state.remember_limits(datetime.now(UTC), limits.KEPT.waits_s())
        if awake.clock_offset_s is None:
            return run
        offset_ms = round(awake.clock_offset_s * 1000)
        return replace(run, conditions=replace(run.conditions, clock_offset_ms=offset_ms))

    def record(self, run: Run) -> list[str]:
        """Queues the run and writes the CSV; returns what to tell. Raises NotKeptError if neither
        worked.
        """
        told, lost = list[str](), list[str]()
        queued, written = self._queue(run, told, lost), self._write(run, told, lost)
        if not queued and not written:
            raise NotKeptError("the run could not be kept: " + "; ".join(lost))
        where = "in the outbox" if queued else "in the CSV, and can be imported from it"
        told += [f"{problem}; this run is only {where}" for problem in lost]
        return told + self._spent(run)

    def _queue(self, run: Run, told: list[str], lost: list[str]) -> bool:
        if self.outbox is None:
            return False
        try:
            told += self._dropped(self.outbox.put([run], clock.tick()))
        except ProbeError as error:
            lost.append(str(error))
            return False
        return True

    def _write(self, run: Run, told: list[str], lost: list[str]) -> bool:
        try:
            written = report.append(self.settings.csv, run)
        except ProbeError as error:
            lost.append(str(error))
            return False
        if written != self.settings.csv:
            told.append(
                f"{self.settings.csv} is another program's report; written to {written} "
                f"(the old one can be imported: probe import {self.settings.csv})"
            )
        return True

    def deliver(self, next_run_at: datetime | None = None) -> Delivery | None:
        """Empties the outbox; None without a key."""
        if self.outbox is None or self.service is None:
            return None
        try:
            return deliver(self.outbox, self.service, Beat(self.settings.name, next_run_at))
        except ProbeError as error:  # the outbox itself: its disk is full, say
            return Delivery(0, 0, problem=str(error), unusable=True)

    def _options(self) -> dict[str, str]:
        """What a person chose. A tool knows its default, and it is nobody's own host."""
        defaults = {one.name: one.default for tool in self.tools for one in tool.options}
        chosen = self.settings.options.items()
        return {name: value for name, value in chosen if value != defaults.get(name)}

    def _within_budget(self, plan: Plan | None) -> tuple[list[Tool], bool]:
        """The tools, or stand-ins that say why not; and whether one may measure twice."""
        if self.settings.budget_bytes is None:
            return list(self.tools), True
        left = self.budget(plan)
        names = [tool.name for tool in self.tools if tool.internet]
        self.chance.shuffle(names)  # where not all fit, it is not always the same that do
        fits = left.affordable(names)
        spared = (left.left_bytes or 0) - sum(left.costs[name] for name in fits)
        chosen = [
            tool
            if not tool.internet or tool.name in fits
            else Skipped(tool, left.why_not(tool.name))
            for tool in self.tools
        ]
        return chosen, spared >= max((left.costs[name] for name in fits), default=0)

    def _own_plan(self) -> Plan | None:
        mbps = self.settings.plan_mbps
        return Plan(mbps, None, DEFAULT_RETEST * mbps) if mbps else None

    def _remembered_plan(self) -> Plan | None:
        try:
            return self.state.plan()
        # A run needs no plan; `record` will tell what is wrong with the disk.
        except (ProbeError, ValueError, TypeError, KeyError):
            return None

    def _remember(self, plan: Plan | None) -> None:
        try:
            self.state.remember_plan(plan)
        except ProbeError:  # as above
            return

    def _spent(self, run: Run) -> list[str]:
        internet = {tool.name for tool in self.tools if tool.internet}
        moved = [one for one in run.measurements if one.tool in internet]
        try:
            self.state.spend(run.started_at, moved)
        except ProbeError as error:
            return [f"what this run moved was not counted: {error}"]
        return []

    def _dropped(self, dropped: Dropped) -> list[str]:
        told = []
        if dropped.too_many:
            told.append(
                f"the outbox is full ({budget.size(self.settings.outbox_bytes)}): "
                f"its {dropped.too_many} oldest runs are only in the CSV"
            )
        if dropped.too_old:
            days = self.settings.outbox_age_s / 86_400
            told.append(
                f"{dropped.too_old} runs waited longer than {days:,.3g} days "
                "for the service: they are only in the CSV"
            )
        return told
