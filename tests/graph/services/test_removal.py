"""A probe goes with everything of it, leaves a trace, and every other one stays as it was."""

import asyncio
import json
import os
import signal
import sys
from contextlib import aclosing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from speedtrap_graph.errors import BadInputError, NotFoundError
from speedtrap_graph.rules.model import Plan, Rule
from speedtrap_graph.rules.permission import Stage
from speedtrap_graph.services.history.rollups import Rollups
from speedtrap_graph.services.judging.standards import EPOCH, load_standards
from speedtrap_graph.services.probes.remove import OWN, Removal
from speedtrap_graph.services.probes.silence import SilenceWatch, beat
from speedtrap_graph.services.read.changes import changes
from speedtrap_graph.services.read.events import Events
from speedtrap_graph.services.upkeep.backup import BackupError
from speedtrap_graph.services.upkeep.probe_export import MEMBERS, ProbeExport
from speedtrap_graph.services.upkeep.thin import Thinning
from speedtrap_graph.store.database import Row, Store

from tests.graph.services.post import GOOD, SLOW, Post, a_draft
from tests.lab.line import MIDNIGHT, Line, run_at
from tests.lab.mongo import Mongod

SHARED = {"deleted_probes", "counters", "schema", "recipients"}


async def everything(store: Store, probe: str) -> dict[str, list[Row]]:
    found = {name: await store[name].find(of(probe)).to_list() for name, of in OWN.items()}
    return {name: rows for name, rows in found.items() if rows}


async def whole(store: Store) -> dict[str, list[Row]]:
    """All that is in the database but what all probes share."""
    names = set(await store.database.list_collection_names()) - SHARED
    found = {name: await store[name].find().sort("_id", 1).to_list() for name in sorted(names)}
    return {name: rows for name, rows in found.items() if rows}


def names_in(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


async def a_lived_line(store: Store, probe: str) -> Post:
    """With plans and a rule of its own, two breaches, a letter that went and one that waits."""
    line = Line(store, probe=probe)
    await line.plans.set_plan(probe, Plan("ISP", 1000.0, None, "Europe/Berlin", EPOCH))
    await line.plans.set_rule(probe, Rule(below_ratio=0.5, more_than=3))
    post = Post(line)
    figures = [*[SLOW] * 5, GOOD, GOOD, *[SLOW] * 5]
    runs = [{**run_at(hour, mbps), "probe": probe} for hour, mbps in enumerate(figures)]
    await line.submit(*runs)
    breach = await store["breaches"].find_one({"probe": probe, "status": "OPEN"})
    assert breach is not None
    found = next(b for b in await line.breaches() if b.id == breach["_id"])
    await post.sent(found, recipient=f"desk@{probe}.example")
    await post.ledger.draft(a_draft(found, recipient=f"other@{probe}.example"), "bot")
    await line.plans.silence(probe, line.clock() + timedelta(days=9), "moving", "operator")
    await beat(store, probe, line.clock(), line.clock() + timedelta(hours=1))
    line.clock.now += timedelta(hours=3)
    await SilenceWatch(store, line.clock).once()
    line.clock.now -= timedelta(hours=3)
    standards = await load_standards(store, probe)
    plans, rules = standards.pure_plans, standards.pure_rules
    await Rollups(store.database, probe, plans, rules).refresh()
    return post


async def delete(post: Post, probe: str = "attic", reason: str = "sold the house") -> Any:
    removal = Removal(post.line.store, post.line.clock)
    return await removal.finish(await removal.begin(probe, reason, "operator"))


async def test_nothing_is_left_but_a_trace_and_the_others_are_untouched(store: Store) -> None:
    await a_lived_line(store, "laptop")
    before, mark = await whole(store), await changes(store)
    post = await a_lived_line(store, "attic")
    held = await everything(store, "attic")
    assert held.keys() >= {
        "runs", "breaches", "notices", "events", "probe_events", "plans", "rules", "silences",
        "rollups", "rollup_states", "standard_versions", "probes",
    }  # fmt: skip
    trace = await delete(post)
    assert await everything(store, "attic") == {}
    after = await whole(store)
    emptied = [row for row in after["events"] if row["kind"] == "GONE"]
    assert len(emptied) == len(held["events"])
    assert [row for row in after["events"] if row["kind"] != "GONE"] == before.pop("events")
    assert {name: after[name] for name in before} == before
    assert (trace.name, trace.by, trace.reason) == ("attic", "operator", "sold the house")
    assert trace.done_at == post.line.clock()
    assert trace.counts == {name: len(rows) for name, rows in held.items()}
    assert await Removal(store, post.line.clock).traces(10) == [trace]
    assert await changes(store) != mark


async def test_what_was_not_sent_is_withdrawn_before_anything_goes(store: Store) -> None:
    post = await a_lived_line(store, "attic")
    await store["silences"].delete_many({})
    (waiting,) = await store["notices"].find({"status": "PLANNED"}).to_list()
    await post.ledger.approve(waiting["_id"], waiting["digest"], "operator")
    claim = await post.ledger.claim("mail", "worker")
    assert claim is not None
    await Removal(store, post.line.clock).begin("attic", "sold", "operator")
    assert await post.ledger.begin_sending(claim.notice.id, claim.fence, "worker") is False
    row = await store["notices"].find_one({"_id": waiting["_id"]}) or {}
    assert (row["status"], row["steps"][-1]["why"]) == (
        "SUPPRESSED", "the probe was deleted: sold"
    )  # fmt: skip


async def test_another_probes_digest_that_tells_of_it_is_written_anew(store: Store) -> None:
    post = await a_lived_line(store, "attic")
    other = await a_lived_line(store, "laptop")
    await store["silences"].delete_many({})
    mine = await store["breaches"].find_one({"probe": "laptop", "status": "RESOLVED"}) or {}
    told = await store["breaches"].find_one({"probe": "attic", "status": "RESOLVED"}) or {}
    breaches = {breach.id: breach for breach in await other.line.breaches()}
    opening = await other.ledger.draft(a_draft(breaches[mine["_id"]]), "bot")
    covers = (mine["_id"], told["_id"])
    draft = a_draft(breaches[mine["_id"]], Stage.DIGEST, covers=covers)
    digest = await other.ledger.draft(draft, "bot")
    await delete(post)
    assert (await other.ledger.notice(digest.id)).status == "SUPPRESSED"
    assert (await other.ledger.notice(opening.id)).digest_notice is None


async def test_what_went_to_a_recipient_still_counts_for_their_limits(store: Store) -> None:
    post = await a_lived_line(store, "attic")
    other = await a_lived_line(store, "laptop")
    await store["silences"].delete_many({})
    await delete(post)
    breach = next(b for b in await other.line.breaches() if b.status == "OPEN")
    notice = await other.approved(breach, recipient="Desk@attic.example")
    assert notice.status == "APPROVED"
    assert "72 hours" in str(notice.steps[-1].why)


async def test_it_takes_no_runs_while_it_goes_and_begins_anew_afterwards(store: Store) -> None:
    post = await a_lived_line(store, "attic")
    ingest, removal = post.line.ingest, Removal(store, post.line.clock)
    runs = [{**run_at(20 + n, GOOD), "probe": "attic"} for n in range(3)]
    await ingest.submit(runs[:1], None)
    begun = await removal.begin("attic", "sold", "operator")
    (refused,) = (await ingest.submit(runs[1:2], None)).rejected
    assert (refused.field, "is being deleted" in refused.message) == ("probe", True)
    await removal.finish(begun)
    # The same copy, which knew the probe.
    assert len((await ingest.submit(runs[2:], None)).accepted) == 1
    assert (await store["probes"].find_one({"_id": "attic"}) or {})["run_count"] == 1


async def test_whoever_follows_the_breaches_misses_no_number(store: Store) -> None:
    post = await a_lived_line(store, "laptop")
    await a_lived_line(store, "attic")
    expected = [row["_id"] async for row in store["events"].find({"probe": "attic"}).sort("_id", 1)]
    await delete(post, "laptop")
    events, seen = Events(store), []
    watching = asyncio.create_task(events.watch())
    async with aclosing(events.breaches("0")) as following, asyncio.timeout(30):
        async for event in following:
            seen.append(event.seq)
            if event.seq == expected[-1]:
                break
    watching.cancel()
    assert seen == expected


VICTIM = """
import asyncio, sys
from datetime import datetime, UTC
from speedtrap_graph.services.probes import remove
from speedtrap_graph.store.database import connect, prepare

async def main(uri, database):
    store = connect(uri, database)
    await prepare(store)
    remove.AT_ONCE = 3
    work = remove.Removal(store, lambda: datetime(2026, 3, 4, tzinfo=UTC))
    begun = await work.begin("attic", "sold", "operator")
    print("begun", flush=True)
    def told():
        print("batch", flush=True)
        return False
    await work.finish(begun, told)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("batches", [1, 4, 9, 20])
async def test_killed_in_the_middle_it_is_ended_by_the_next_round(
    store: Store, mongod: Mongod, batches: int
) -> None:
    await a_lived_line(store, "laptop")
    post = await a_lived_line(store, "attic")
    held, others = await everything(store, "attic"), await everything(store, "laptop")
    victim = await asyncio.create_subprocess_exec(
        sys.executable, "-c", VICTIM, mongod.uri, store.database.name,
        stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert victim.stdout is not None
    for _ in range(1 + batches):
        assert await victim.stdout.readline()
    victim.send_signal(signal.SIGKILL)
    await victim.wait()
    await store.client.admin.command("killAllSessions", [])
    assert await everything(store, "attic")

    await Thinning(store, post.line.clock).round()
    assert await everything(store, "attic") == {}
    assert await everything(store, "laptop") == others
    (trace,) = await Removal(store, post.line.clock).traces(10)
    assert trace.done_at is not None
    assert trace.counts == {name: len(rows) for name, rows in held.items()}


@pytest.mark.parametrize(
    ("probe", "reason", "error"),
    [("attic", " ", BadInputError), ("attic", "x" * 1001, BadInputError),
     ("nobody", "why", NotFoundError)],
)  # fmt: skip
async def test_a_bad_deletion_is_refused(
    store: Store, probe: str, reason: str, error: type[Exception]
) -> None:
    post = await a_lived_line(store, "attic")
    before = await whole(store)
    with pytest.raises(error):
        await delete(post, probe, reason)
    assert await whole(store) == before


async def test_an_export_has_everything_of_one_probe_and_nothing_of_another(
    store: Store, tmp_path: Path
) -> None:
    await a_lived_line(store, "laptop")
    post = await a_lived_line(store, "attic")
    file = tmp_path / "attic.zip"
    counts = await ProbeExport(store, post.line.clock, "attic").to(file)
    assert file.stat().st_mode & 0o777 == 0o600
    with ZipFile(file) as archive:
        members = {
            name.removesuffix(".ndjson"): list(map(json.loads, archive.read(name).splitlines()))
            for name in archive.namelist()
            if name.endswith(".ndjson")
        }
        manifest = json.loads(archive.read("manifest.json"))
    held = await everything(store, "attic")
    for member, (collection, owner, _) in MEMBERS.items():
        ids = [str(row["_id"]) for row in held.get(collection, [])]
        assert sorted(str(row["id"]) for row in members[member]) == sorted(ids)
        field = "id" if owner == "_id" else "probe"
        assert {row[field] for row in members[member]} <= {"attic"}
        assert counts[member] == len(ids)
    assert manifest["counts"] == counts
    assert (manifest["probe"], manifest["runCount"]) == ("attic", 12)
    assert members["runs"][0]["measurements"][0]["downloadMbps"] == SLOW
    assert members["notices"][0]["attachments"][0]["content"] == "eA=="


async def test_an_export_has_the_hours_of_runs_that_are_no_longer_kept(
    store: Store, tmp_path: Path
) -> None:
    line = Line(store)
    await line.buy()
    await line.submit(*(run_at(hour / 2, 900.0 + hour) for hour in range(90)))
    thinning = Thinning(store, line.clock)
    assert await thinning.move_on("laptop", MIDNIGHT + timedelta(hours=30))
    line.clock.now += timedelta(hours=1)
    assert await thinning.remove("laptop") == 48
    file = tmp_path / "laptop.zip"
    counts = await ProbeExport(store, line.clock, "laptop").to(file)
    assert (counts["runs"], counts["past-runs"], counts["hours"]) == (42, 48, 24)
    with ZipFile(file) as archive:
        hours = list(map(json.loads, archive.read("hours.ndjson").splitlines()))
        manifest = json.loads(archive.read("manifest.json"))
    assert datetime.fromisoformat(manifest["rawSince"]) == MIDNIGHT + timedelta(days=1)
    best = next(each for each in hours[3]["figures"] if each["tool"] is None)
    assert (best["metric"], best["n"], best["min"], best["median"]) == ("DOWNLOAD", 2, 906, 906.5)


async def test_an_export_of_nobody_or_to_nowhere_says_so(store: Store, tmp_path: Path) -> None:
    post = await a_lived_line(store, "attic")
    with pytest.raises(NotFoundError, match="no probe 'nobody'"):
        await ProbeExport(store, post.line.clock, "nobody").to(tmp_path / "nobody.zip")
    with pytest.raises(BackupError, match="cannot be written"):
        await ProbeExport(store, post.line.clock, "attic").to(tmp_path / "no" / "attic.zip")
    assert names_in(tmp_path) == []
