"""Breaches follow from the runs, in whatever order those arrive."""

import asyncio
from datetime import timedelta

from speedtrap_graph.rules.model import Metric, Rule
from speedtrap_graph.services.breaches.fields import reference_of
from speedtrap_graph.services.breaches.rejudge import Rejudge
from speedtrap_graph.store.database import Session, Store
from speedtrap_graph.store.probes import probes_behind, raise_version

from tests.lab.line import MIDNIGHT, Line, run_at

SLOW, GOOD, OUTAGE = 120.0, 940.0, None


async def test_the_sixth_slow_run_opens_and_the_fifth_does_not(store: Store) -> None:
    line = Line(store)
    await line.buy()
    await line.measure(*[SLOW] * 5)
    assert await line.breaches() == []

    await line.measure(SLOW, first_hour=5)
    (breach,) = await line.breaches()
    assert (breach.status, breach.bad_count, breach.stale) == ("OPEN", 6, False)
    assert breach.opened_at == MIDNIGHT + timedelta(hours=5)
    assert breach.median == SLOW
    assert breach.subscribed_mbps == 1000
    assert await line.events() == ["OPENED"]


async def test_an_outage_counts_as_slow(store: Store) -> None:
    line = Line(store)
    await line.buy()
    await line.measure(*[OUTAGE] * 6)
    (breach,) = await line.breaches()
    assert breach.bad_count == 6
    assert breach.median is None


async def test_without_a_plan_nothing_is_broken(store: Store) -> None:
    line = Line(store)
    await line.measure(*[SLOW] * 10)
    assert await line.breaches() == []


async def test_a_breach_grows_and_resolves_under_one_id(store: Store) -> None:
    line = Line(store)
    await line.buy()
    await line.measure(*[SLOW] * 6)
    await line.measure(SLOW, first_hour=6)
    await line.measure(GOOD, first_hour=7)
    (breach,) = await line.breaches()
    assert (breach.status, breach.bad_count) == ("RESOLVED", 7)
    assert breach.resolved_at == MIDNIGHT + timedelta(hours=7)
    assert await line.events() == ["OPENED", "GREW", "RESOLVED"]


async def test_a_late_good_run_retracts_the_breach(store: Store) -> None:
    line = Line(store)
    await line.buy()
    await line.measure(*[SLOW] * 6)
    await line.measure(GOOD, first_hour=2.5)
    assert await line.breaches() == []
    (fallen,) = await line.breaches(retracted=True)
    assert fallen.status == "RETRACTED"
    assert await line.events() == ["OPENED", "RETRACTED"]


async def test_a_late_good_run_splits_a_long_breach_and_the_first_half_keeps_the_id(
    store: Store,
) -> None:
    line = Line(store)
    await line.buy()
    await line.measure(*[SLOW] * 14)
    (before,) = await line.breaches()
    await line.measure(GOOD, first_hour=6.5)
    first, second = await line.breaches()
    assert (first.id, first.status, first.bad_count) == (before.id, "RESOLVED", 7)
    assert (second.status, second.bad_count) == ("OPEN", 7)
    assert await line.events() == ["OPENED", "RESOLVED", "OPENED"]


async def test_late_slow_runs_merge_two_breaches_into_the_older_one(store: Store) -> None:
    line = Line(store)
    await line.buy()
    await line.plans.set_rule(None, Rule(Metric.DOWNLOAD, below_ratio=0.5, recovered_after=2))
    await line.measure(*[SLOW] * 6, GOOD)
    await line.measure(GOOD, first_hour=8)
    await line.measure(*[SLOW] * 6, first_hour=10)
    older, newer = await line.breaches()
    await line.measure(SLOW, first_hour=7)
    await line.measure(SLOW, first_hour=9)
    (merged,) = await line.breaches()
    assert merged.id == older.id
    assert merged.bad_count == 14
    retracted = [b.id for b in await line.breaches(retracted=True) if b.status == "RETRACTED"]
    assert retracted == [newer.id]


async def test_a_breach_that_was_over_when_it_became_known_is_stale_and_not_announced(
    store: Store,
) -> None:
    line = Line(store)
    await line.buy()
    await line.measure(*[SLOW] * 6, GOOD)
    (breach,) = await line.breaches()
    assert breach.stale
    assert await line.events() == []


async def test_a_breach_that_ended_in_silence_long_ago_is_stale(store: Store) -> None:
    line = Line(store)
    await line.buy()
    line.clock.advance(days=30)
    await line.measure(*[SLOW] * 6)
    (breach,) = await line.breaches()
    assert (breach.status, breach.stale) == ("OPEN", True)
    assert await line.events() == []


async def test_a_breach_delivered_after_days_offline_is_announced_while_it_goes_on(
    store: Store,
) -> None:
    line = Line(store)
    await line.buy()
    line.clock.advance(days=5)
    await line.measure(*[SLOW] * (24 * 6), first_hour=24)
    assert await line.events() == ["OPENED"]


async def test_a_smaller_plan_retracts_and_a_larger_one_finds_the_past_stale(store: Store) -> None:
    line = Line(store)
    await line.buy(1000)
    await line.measure(*[SLOW] * 6, GOOD)
    await line.measure(*[SLOW] * 6, first_hour=7)
    assert [breach.stale for breach in await line.breaches()] == [True, False]

    await line.buy(200)
    assert await line.breaches() == []

    await line.buy(1000)
    first, second = await line.breaches()
    assert (first.status, first.stale) == ("RESOLVED", True)
    assert (second.status, second.stale) == ("OPEN", False)


async def test_a_run_is_judged_by_the_plan_in_force_at_its_start(store: Store) -> None:
    line = Line(store)
    await line.buy(200)
    await line.buy(1000, since=MIDNIGHT + timedelta(hours=3))
    await line.measure(*[SLOW] * 9)
    (breach,) = await line.breaches()
    assert breach.first_run_at == MIDNIGHT + timedelta(hours=3)
    assert breach.bad_count == 6


async def test_a_probes_own_plan_and_rule_come_before_those_for_every_probe(store: Store) -> None:
    line = Line(store)
    await line.buy(1000)
    await line.measure(*[SLOW] * 4)
    await line.plans.set_rule("laptop", Rule(Metric.DOWNLOAD, below_mbps=200, more_than=2))
    (breach,) = await line.breaches()
    assert (breach.rule.id, breach.rule.more_than) == ("laptop/DOWNLOAD", 2)


def test_a_reference_is_short_and_free_of_look_alikes() -> None:
    references = {reference_of(str(number)) for number in range(1000)}
    assert len(references) == 1000
    assert all(len(reference) == 9 and reference.startswith("ST-") for reference in references)
    assert not set("ILOU") & set("".join(reference[3:] for reference in references))


async def test_a_long_outage_is_one_breach(store: Store) -> None:
    line = Line(store)
    line.clock.advance(days=30)
    await line.buy()
    await line.measure(*[OUTAGE] * 400)
    await line.measure(OUTAGE, first_hour=400)
    (breach,) = await line.breaches()
    assert breach.bad_count == 401
    assert breach.last_run_at - breach.first_run_at == timedelta(hours=400)


async def test_a_submission_reads_its_neighbourhood_and_not_the_whole_history(
    store: Store,
) -> None:
    line = Line(store)
    line.clock.advance(days=30)
    await line.buy()
    await line.measure(*[GOOD] * 450)
    await store.database.command("profile", 2)
    await line.measure(SLOW, first_hour=225.5)
    await line.measure(SLOW, first_hour=451)
    await store.database.command("profile", 0)
    assert 0 < await _documents_read(store) < 120


async def _documents_read(store: Store) -> int:
    """By this database's profile: the server's own count has everybody's."""
    profile = store.database["system.profile"].find({}, {"docsExamined": 1})
    return sum([int(asked.get("docsExamined", 0)) async for asked in profile])


async def test_history_is_judged_again_in_parts_while_runs_arrive(store: Store) -> None:
    line = Line(store)
    await line.buy(200)
    await line.measure(*([SLOW] * 7 + [GOOD] + [SLOW] * 8 + [GOOD, SLOW]))
    assert await line.breaches() == []

    async def work(session: Session) -> None:
        await raise_version(store, session, None)
        dearer = {"$set": {"download_mbps": 1000.0}}
        await store["plans"].update_one({}, dearer, session=session)

    await store.transaction(work)
    in_parts = Rejudge(store, line.clock, chunk_runs=3)
    late = [line.submit(run_at(hour, GOOD)) for hour in (0.5, 9.5, 17.5)]
    await asyncio.gather(in_parts.sweep(), *late)
    assert await probes_behind(store) == []
    found = [(breach.first_run_at, breach.bad_count) for breach in await line.breaches()]
    assert found == [
        (MIDNIGHT + timedelta(hours=1), 6),
        (MIDNIGHT + timedelta(hours=10), 6),
    ]


async def test_a_breach_whose_completing_run_is_old_is_not_announced(store: Store) -> None:
    line = Line(store)
    line.clock.advance(days=3)
    await line.buy()
    await line.measure(*[SLOW] * 7)
    (breach,) = await line.breaches()
    assert (breach.status, breach.stale) == ("OPEN", True)
    assert await line.events() == []
