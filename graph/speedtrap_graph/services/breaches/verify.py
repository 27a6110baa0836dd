"""Whether a stored breach is what the stored runs say. Asked before anything leaves the house."""

from speedtrap_graph.rules.streaks import ResetScan, episodes, sort_key
from speedtrap_graph.services.judging.observations import observation_of, observed
from speedtrap_graph.services.judging.standards import load_standards
from speedtrap_graph.store.database import Row, Session, Store
from speedtrap_graph.store.documents import RUNS_OF_A_PROBE

OPEN, RESOLVED, RETRACTED = "OPEN", "RESOLVED", "RETRACTED"


async def standing(store: Store, breach: Row, session: Session) -> str:
    """The status that *breach* deserves: recomputed from its first run on, whatever is on record.

    RETRACTED when its runs are gone, do not break the rule, or are not the ones it names: then it
    was taken back, or somebody wrote it into the database by hand.
    """
    if breach["status"] == RETRACTED:
        return RETRACTED
    standards = await load_standards(store, breach["probe"], session)
    known = standards.keyed_rules.get(str(breach.get("rule_key", breach["metric"])))
    if known is None:
        return RETRACTED
    rule, first = known[1], (breach["first_run_at"], breach["first_run"])
    rows = store["runs"].find(
        {"probe": breach["probe"], "started_at": {"$gte": breach["first_run_at"]}},
        observed([rule]),
        session=session,
    )
    scan, seen = ResetScan(rule), []
    async for row in rows.sort([("started_at", 1), ("_id", 1)]).hint(RUNS_OF_A_PROBE):
        observation = observation_of(row, standards.pure_plans, rule)
        if sort_key(observation) < first:
            continue
        seen.append(observation)
        if scan.take(observation):
            break
    found = episodes(seen, rule)
    if not found or found[0].first_run_at != breach["first_run_at"]:
        return await _closed(store, breach, session)
    return OPEN if found[0].resolved_at is None else RESOLVED


async def _closed(store: Store, breach: Row, session: Session) -> str:
    """Of one whose runs do not bear it out: where they are no longer kept, it stays as it was. An
    open breach keeps its runs.
    """
    probe = await store["probes"].find_one({"_id": breach["probe"]}, session=session) or {}
    raw_since = probe.get("raw_since")
    is_past = raw_since is not None and breach["first_run_at"] < raw_since
    return RESOLVED if is_past and breach["status"] == RESOLVED else RETRACTED
