"""A year of old runs, handed in by batches: judged as one history, and news to nobody."""

import random
from typing import Any

from tests.graph.following import Follower, following
from tests.lab.runs import SUBMIT, a_run
from tests.lab.service import Service
from tests.lab.wire import PLAN, SET_PLAN

RUNS = 2_000
BATCH = 500
HOURS_BETWEEN = 8760 / RUNS
SPELLS = [(100, 106), (700, 712), (1500, 1540)]
"""Runs, by their number, in which the line was slow: three breaches, all over long ago."""
BREACHES = "{ breaches { nodes { status stale count firstRunAt } } }"
NOTICES = "{ notices { nodes { id } } }"
YEAR = """
query ($since: DateTime!, $until: DateTime!) {
  serviceReport(probe: "laptop", since: $since, until: $until) { n belowCount longestStreak }
  history(probe: "laptop", since: $since, until: $until, buckets: 52) { n }
}
"""


def a_year() -> list[dict[str, Any]]:
    """Oldest first; the last is a day old."""
    slow = {place for first, end in SPELLS for place in range(first, end)}
    return [
        a_run(
            120.0 if place in slow else 940.0,
            hours_ago=24 + (RUNS - 1 - place) * HOURS_BETWEEN,
        )
        for place in range(RUNS)
    ]


def submit(service: Service, runs: list[dict[str, Any]]) -> dict[str, Any]:
    answer: dict[str, Any] = service.query(SUBMIT, {"runs": runs}, role="probe")["submitRuns"]
    return answer


def test_a_year_of_old_runs_is_judged_as_one_history_and_announced_to_nobody(
    service: Service,
) -> None:
    service.query(SET_PLAN, {"plan": PLAN})
    runs = a_year()
    batches = [runs[first : first + BATCH] for first in range(0, RUNS, BATCH)]
    # An import that is broken off and begun again comes in any order, and in part twice.
    random.Random(4).shuffle(batches)
    for batch in batches:
        assert len(submit(service, batch)["accepted"]) == BATCH
    assert len(submit(service, batches[0])["duplicates"]) == BATCH

    breaches = service.query(BREACHES)["breaches"]["nodes"]
    by_age = sorted(breaches, key=lambda breach: breach["firstRunAt"])
    assert [breach["count"] for breach in by_age] == [end - first for first, end in SPELLS]
    assert {(breach["status"], breach["stale"]) for breach in by_age} == {("RESOLVED", True)}
    assert service.query(NOTICES)["notices"]["nodes"] == []

    span = {"since": runs[0]["startedAt"], "until": runs[-1]["finishedAt"]}
    year = service.query(YEAR, span)
    slow = sum(end - first for first, end in SPELLS)
    assert year["serviceReport"] == {"n": RUNS, "belowCount": slow, "longestStreak": 40}
    assert sum(year["history"]["n"]) == RUNS


async def test_who_follows_the_breaches_hears_of_the_present_only(service: Service) -> None:
    """Of the old breaches not a word; of the one that begins now, its opening."""
    service.query(SET_PLAN, {"plan": PLAN})
    follower = Follower(service)
    async with following(follower):
        old = [
            *(a_run(120.0, hours_ago=900 - place) for place in range(8)),
            *(a_run(940.0, hours_ago=880 - place) for place in range(3)),
        ]
        submit(service, old)
        submit(service, [a_run(120.0, hours_ago=7 - place) for place in range(6)])
        await follower.until(1)
    assert [event["kind"] for event in follower.told] == ["OPENED"]
    assert follower.told[0]["breach"]["count"] == 6
