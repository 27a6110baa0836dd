"""The mark of what a page shows: another one after each change, the same without one."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from speedtrap_graph.rules.model import Metric, Plan, Rule
from speedtrap_graph.services.judging.standards import EPOCH
from speedtrap_graph.services.read.changes import changes
from speedtrap_graph.store.database import Store

from tests.graph.services.post import SENT, Post, a_draft
from tests.lab.line import Line, run_at
from tests.lab.runs import SUBMIT, a_run
from tests.lab.service import Service
from tests.lab.wire import PLAN, SET_PLAN

SILENCE = (
    'mutation($until: DateTime!) { silence(probe: "laptop", until: $until, reason: "moving")'
    " { by } }"
)


def mark(service: Service) -> str:
    return str(service.query("{ changes }", role="viewer")["changes"])


def test_each_change_makes_another_mark(service: Service) -> None:
    marks = [mark(service)]
    service.query(SET_PLAN, {"plan": PLAN})
    marks.append(mark(service))
    service.query(SUBMIT, {"runs": [a_run(hours_ago=1)]})
    marks.append(mark(service))
    # A backfill: the newest run stays the same.
    service.query(SUBMIT, {"runs": [a_run(hours_ago=500)]})
    marks.append(mark(service))
    for hours in (1, 2):
        until = datetime.now(UTC) + timedelta(hours=hours)
        service.query(SILENCE, {"until": until.isoformat()})
        marks.append(mark(service))
    assert len(set(marks)) == len(marks)
    assert mark(service) == marks[-1]


Change = Callable[[Post], Awaitable[object]]


async def silence(post: Post, hours: int) -> None:
    until = post.line.clock() + timedelta(hours=hours)
    await post.line.plans.silence("laptop", until, "moving", "operator")


async def plan(post: Post, recipient: str) -> None:
    (breach,) = await post.line.breaches()
    await post.ledger.draft(a_draft(breach, recipient=recipient), "bot")


CHANGES: dict[str, Change] = {
    "a run": lambda post: post.line.measure(900.0, first_hour=20),
    "an older run": lambda post: post.line.submit(run_at(0.5, 900.0)),
    "a plan": lambda post: post.line.plans.set_plan(
        None, Plan("Next", 500, None, "UTC", EPOCH + timedelta(days=1))
    ),
    "a plan in place of another": lambda post: post.line.plans.set_plan(
        None, Plan("Other", 1000, None, "UTC", EPOCH)
    ),
    "a plan of a probe that has not measured yet": lambda post: post.line.plans.set_plan(
        "attic", Plan("ISP", 500, None, "UTC", EPOCH)
    ),
    "a rule": lambda post: post.line.plans.set_rule(None, Rule(below_ratio=0.6)),
    "a rule that says the same in other words": lambda post: post.line.plans.set_rule(
        None, Rule(below_mbps=500)
    ),
    "another metric's rule": lambda post: post.line.plans.set_rule(
        "laptop", Rule(metric=Metric.LATENCY, above_ms=80)
    ),
    "a silence": lambda post: silence(post, 1),
    "the switch": lambda post: post.ledger.set_sending(False, "holiday", "operator"),
    "a planned notice": lambda post: plan(post, "another@isp.example"),
    "a recipient's stop": lambda post: post.ledger.stop("desk@isp.example", "asked", "operator"),
}


@pytest.fixture
async def post(store: Store) -> Post:
    line = Line(store)
    await line.buy()
    return Post(line)


@pytest.mark.parametrize("what", CHANGES)
async def test_every_change_makes_a_mark_that_never_was(post: Post, what: str) -> None:
    await post.slow()
    before = await changes(post.line.store)
    assert await changes(post.line.store) == before
    await CHANGES[what](post)
    assert await changes(post.line.store) != before


async def test_what_is_undone_is_a_change_as_well(post: Post) -> None:
    await post.slow()
    marks = [await changes(post.line.store)]
    plans = post.line.plans

    async def note(done: Awaitable[object]) -> None:
        await done
        marks.append(await changes(post.line.store))

    await note(plans.set_rule("laptop", Rule(below_ratio=0.6)))
    await note(plans.delete_rule("laptop/DOWNLOAD"))
    await note(silence(post, 2))
    await note(silence(post, -1))
    await note(post.ledger.set_sending(False, "holiday", "operator"))
    await note(post.ledger.set_sending(True, "back", "operator"))
    assert len(set(marks)) == len(marks)


async def test_each_step_of_a_notice_is_a_change_however_many_came_after(post: Post) -> None:
    breach = await post.slow()
    first, other = [
        await post.ledger.draft(a_draft(breach, recipient=name), "bot")
        for name in ("first@isp.example", "other@isp.example")
    ]
    for number in range(60):
        post.line.clock.advance(seconds=1)
        await post.ledger.draft(a_draft(breach, recipient=f"{number}@isp.example"), "bot")
    marks = [await changes(post.line.store)]

    async def note(done: Awaitable[object]) -> None:
        await done
        marks.append(await changes(post.line.store))

    await note(post.ledger.reject(other.id, "no", "operator"))
    await note(post.ledger.approve(first.id, first.digest, "operator"))
    claim = await post.ledger.claim("mail", "worker")
    assert claim is not None
    assert claim.notice.id == first.id
    await note(post.ledger.begin_sending(first.id, claim.fence, "worker"))
    await note(post.ledger.settle(first.id, claim.fence, SENT, "worker"))
    await note(post.ledger.record_bounce(first.id, "no such box", "worker"))
    assert len(set(marks)) == len(marks)


def test_plans_are_there_before_the_first_run(service: Service) -> None:
    assert service.query("{ plans { id } }", role="viewer")["plans"] == []
    service.query(SET_PLAN, {"plan": PLAN})
    (plan,) = service.query("{ plans { provider } probes { name } }", role="viewer")["plans"]
    assert plan["provider"] == PLAN["provider"]


def test_percentiles_of_the_range_come_in_steps_of_five(service: Service) -> None:
    service.query(SET_PLAN, {"plan": PLAN})
    service.query(SUBMIT, {"runs": [a_run(100 + 5 * i, hours_ago=i + 1) for i in range(21)]})
    document = (
        "query($s: DateTime!, $u: DateTime!) {"
        ' serviceReport(probe: "laptop", since: $s, until: $u) { percentiles } }'
    )
    now = datetime.now(UTC)
    span = {"s": (now - timedelta(days=3)).isoformat(), "u": now.isoformat()}
    assert service.query(document, span)["serviceReport"]["percentiles"] == [
        100 + 5 * i for i in range(21)
    ]
    empty = {"s": (now - timedelta(days=9)).isoformat(), "u": (now - timedelta(days=8)).isoformat()}
    assert service.query(document, empty)["serviceReport"]["percentiles"] == []
