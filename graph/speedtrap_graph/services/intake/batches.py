"""Which submissions go into the store together.

A transaction costs its round trips and a flush to the disk, whatever is in it. So whatever came
while others were under way goes in as one, of however many probes: the more there is to do, the
less each costs. Of one probe there is never more than one transaction under way in this process;
two would only abort each other. Another process may have one: whatever comes while a group waits
for its turn joins it. And a probe with a crowd of callers waits a moment between two groups, as
those who were just answered mostly come again: twice as many go in with the next.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

from pymongo.errors import ConnectionFailure

R = TypeVar("R")
D = TypeVar("D")

MOST_AT_ONCE = 8
"""Transactions."""
PATIENCE_S = 0.02
"""So long submissions wait for company, while a transaction is under way or a crowd's has ended."""


@dataclass(eq=False)
class Waiting(Generic[R, D]):
    """One caller's runs of one probe, and what becomes of them."""

    probe: str
    runs: Sequence[R]
    done: asyncio.Future[D]
    since_s: float
    """By the loop's clock."""
    alone: bool = False
    """In a transaction with nothing but its probe's."""


@dataclass
class Grouping(Generic[R, D]):
    """*store* takes a group in one transaction, or raises and has taken nothing.

    A group of several probes that fails is taken apart, and each probe tried by itself: so nobody
    pays for what another one submitted, nor for a probe that several processes are busy with.
    """

    store: Callable[[list[Waiting[R, D]]], Awaitable[Sequence[D]]]
    most_runs: int
    _waiting: list[Waiting[R, D]] = field(default_factory=list)
    _busy: set[str] = field(default_factory=set)
    _shared: set[str] = field(default_factory=set)
    """Of the busy ones, those that another process is busy with as well."""
    _tasks: set[asyncio.Task[Sequence[D]]] = field(default_factory=set)

    def add(
        self, by_probe: Mapping[str, Sequence[R]], *, alone: bool = False
    ) -> list[asyncio.Future[D]]:
        """What will have become of each probe's. A caller who no longer waits cancels it."""
        loop = asyncio.get_running_loop()
        since_s = loop.time()
        added: list[Waiting[R, D]] = [
            Waiting(probe, runs, loop.create_future(), since_s, alone)
            for probe, runs in by_probe.items()
        ]
        self._waiting += added
        self._go_on()
        if self._waiting:
            loop.call_later(PATIENCE_S, self._go_on)
        return [item.done for item in added]

    def join(self, group: list[Waiting[R, D]]) -> None:
        """For the store, once it is *group*'s turn: more of the same probes, as they came since."""
        probes = {item.probe for item in group}
        self._fill(group, lambda item: item.probe in probes)

    def give_way(self, group: Iterable[Waiting[R, D]]) -> None:
        """For the store, when another process was in the way of *group*: after it, that one is let
        in, and more gathers here meanwhile. Otherwise who was quick once stays so.
        """
        self._shared.update(item.probe for item in group)

    def _go_on(self) -> None:
        while self._may_begin() and (group := self._next()):
            self._busy.update(item.probe for item in group)
            task = asyncio.ensure_future(self.store(group))
            self._tasks.add(task)
            task.add_done_callback(partial(self._settle, group))

    def _may_begin(self) -> bool:
        """At once where nothing is under way, and else with a full load or having waited."""
        if not self._tasks:
            return True
        ready = [item for item in self._waiting if item.probe not in self._busy]
        if not ready or len(self._tasks) >= MOST_AT_ONCE:
            return False
        waited_s = asyncio.get_running_loop().time() - ready[0].since_s
        return waited_s >= PATIENCE_S or sum(len(item.runs) for item in ready) >= self.most_runs

    def _next(self) -> list[Waiting[R, D]]:
        group: list[Waiting[R, D]] = []
        self._fill(group, lambda item: item.probe not in self._busy)
        return group

    def _fill(self, group: list[Waiting[R, D]], may: Callable[[Waiting[R, D]], bool]) -> None:
        """In the order of arrival, up to about as much as one batch may be."""
        rest: list[Waiting[R, D]] = []
        size = sum(len(item.runs) for item in group)
        for item in self._waiting:
            if item.done.done():  # nobody waits for it any more
                continue
            fits = not group or size + len(item.runs) <= self.most_runs
            if fits and may(item) and _go_together(group, item):
                group.append(item)
                size += len(item.runs)
            else:
                rest.append(item)
        self._waiting = rest

    def _settle(self, group: Sequence[Waiting[R, D]], task: asyncio.Task[Sequence[D]]) -> None:
        self._tasks.discard(task)
        probes = {item.probe for item in group}
        held = probes & self._shared | _several(group)
        self._shared -= probes
        self._busy -= probes - held
        if held:
            asyncio.get_running_loop().call_later(PATIENCE_S, self._release, held)
        problem = None if task.cancelled() else task.exception()
        if problem is not None and len(probes) > 1 and not isinstance(problem, ConnectionFailure):
            for item in group:
                item.alone = True
            self._waiting[:0] = group
        else:
            _tell(group, task, problem)
        self._go_on()

    def _release(self, probes: set[str]) -> None:
        self._busy -= probes
        self._go_on()


def _tell(
    group: Sequence[Waiting[R, D]], task: asyncio.Task[Sequence[D]], problem: BaseException | None
) -> None:
    for place, item in enumerate(group):
        if item.done.done():  # nobody waits for it any more
            continue
        if task.cancelled():
            item.done.cancel()
        elif problem is not None:
            item.done.set_exception(problem)
        else:
            item.done.set_result(task.result()[place])


def _several(group: Iterable[Waiting[R, D]]) -> set[str]:
    """Probes that *group* has more than one submission of: so more of them are to come."""
    seen: set[str] = set()
    again: set[str] = set()
    for item in group:
        (again if item.probe in seen else seen).add(item.probe)
    return again


def _go_together(group: Iterable[Waiting[R, D]], item: Waiting[R, D]) -> bool:
    first = next(iter(group), item)
    return first.probe == item.probe or not (first.alone or item.alone)
