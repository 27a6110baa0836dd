"""Plans, rules and silences as people set them. A new plan or rule judges the past again."""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pymongo import UpdateOne

from speedtrap_graph.rules.model import Metric, Plan, Rule
from speedtrap_graph.services.clock import Clock
from speedtrap_graph.services.errors import BadInputError
from speedtrap_graph.services.facts import judged
from speedtrap_graph.services.moments import format_moment
from speedtrap_graph.services.reconcile import Reconciler
from speedtrap_graph.services.rollups import mark
from speedtrap_graph.services.standards import EVERY_PROBE, load_standards, rule_document
from speedtrap_graph.services.submission import PROBE_NAME, PROBE_NAME_WORDS
from speedtrap_graph.store.database import Row, Session, Store
from speedtrap_graph.store.documents import PlanDocument, RuleDocument, SilenceDocument
from speedtrap_graph.store.probes import bump_probe

_MAX_MBPS = 1_000_000.0
_REJUDGE_PAGE = 1000
_BOUNDS_OF = {
    Metric.DOWNLOAD: ("below_ratio", "below_mbps"),
    Metric.UPLOAD: ("below_ratio", "below_mbps"),
    Metric.PACKET_LOSS: ("above_ratio",),
}
_LATENCY_BOUNDS = ("above_ms",)
_BOUND_NAMES = {
    "below_ratio": "belowRatio",
    "below_mbps": "belowMbps",
    "above_ms": "aboveMs",
    "above_ratio": "aboveRatio",
}


@dataclass(frozen=True)
class Plans:
    store: Store
    clock: Clock

    async def set_plan(self, probe: str | None, plan: Plan) -> PlanDocument:
        """Sets the plan in force from `since`, in place of one from the same moment."""
        _check_probe(probe)
        _check_plan(plan)
        key = f"{probe or EVERY_PROBE}/{format_moment(plan.since)}"
        row: Row = {
            "_id": key,
            "probe": probe,
            "provider": plan.provider.strip(),
            "download_mbps": plan.download_mbps,
            "upload_mbps": plan.upload_mbps,
            "time_zone": plan.time_zone,
            "since": plan.since,
        }
        await self.store["plans"].replace_one({"_id": key}, row, upsert=True)
        await self._judge_again(probe)
        document: PlanDocument = PlanDocument.model_validate(row)
        return document

    async def set_rule(self, probe: str | None, rule: Rule) -> RuleDocument:
        """Sets the rule for its metric, in place of the one before."""
        _check_probe(probe)
        _check_rule(rule)
        document = rule_document(rule, probe)
        row = document.model_dump(exclude={"id", "revision_id"})
        await self.store["rules"].replace_one(
            {"_id": document.id}, {"_id": document.id, **row}, upsert=True
        )
        await self._judge_again(probe)
        return document

    async def silence(self, probe: str, until: datetime, reason: str, by: str) -> SilenceDocument:
        """No notice goes out for *probe* until then; a moment that has passed ends a silence."""
        _check_probe(probe)
        if not 1 <= len(reason.strip()) <= 1000:
            raise BadInputError("reason must have 1 to 1000 characters", field="reason")
        row: Row = {"_id": probe, "until": until, "reason": reason.strip(), "by": by}
        await self.store["silences"].replace_one({"_id": probe}, row, upsert=True)
        document: SilenceDocument = SilenceDocument.model_validate(row)
        return document

    async def _judge_again(self, probe: str | None) -> None:
        """After the new standard is stored: a run that comes meanwhile is judged by it, or here."""
        wanted = {} if probe is None else {"_id": probe}
        async for row in self.store["probes"].find(wanted, {"_id": 1}):
            await self._judge_probe_again(row["_id"])

    async def _judge_probe_again(self, probe: str) -> None:
        async def work(session: Session) -> None:
            await bump_probe(self.store, session, probe)
            standards = await load_standards(self.store, probe, session)
            changes: list[UpdateOne] = []
            # Even if no run changes, the buckets are to be held against the new standard.
            moments = [self.clock()]
            async for row in self.store["runs"].find({"probe": probe}, session=session):
                fields = judged(row, standards)
                if any(row.get(name) != value for name, value in fields.items()):
                    changes.append(UpdateOne({"_id": row["_id"]}, {"$set": fields}))
                    moments.append(row["started_at"])
                if len(changes) == _REJUDGE_PAGE:
                    await self.store["runs"].bulk_write(changes, session=session)
                    changes = []
            if changes:
                await self.store["runs"].bulk_write(changes, session=session)
            await mark(self.store.database, session, probe, moments)
            await Reconciler(self.store, session, probe, standards, self.clock()).everything()

        await self.store.transaction(work)


def _check_probe(probe: str | None) -> None:
    if probe is not None and not PROBE_NAME.fullmatch(probe):
        raise BadInputError(f"probe must be {PROBE_NAME_WORDS}", field="probe")


def _check_plan(plan: Plan) -> None:
    if not 1 <= len(plan.provider.strip()) <= 200:
        raise BadInputError("provider must have 1 to 200 characters", field="provider")
    for field, value in (
        ("downloadMbps", plan.download_mbps),
        ("uploadMbps", plan.upload_mbps),
    ):
        if value is not None and not 0 < value <= _MAX_MBPS:
            raise BadInputError(
                f"{field} must be above 0 and at most {_MAX_MBPS:,.0f} Mbps, not {value}",
                field=field,
            )
    try:
        ZoneInfo(plan.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadInputError(
            f"timeZone {plan.time_zone[:64]!r} is no IANA name such as America/Denver",
            field="timeZone",
        ) from error


def _check_rule(rule: Rule) -> None:
    allowed = _BOUNDS_OF.get(rule.metric, _LATENCY_BOUNDS)
    given: dict[str, Any] = {
        name: getattr(rule, name) for name in _BOUND_NAMES if getattr(rule, name) is not None
    }
    names = [_BOUND_NAMES[name] for name in allowed]
    if len(given) != 1 or not given.keys() <= set(allowed):
        raise BadInputError(
            f"a rule for {rule.metric} needs exactly one of: {', '.join(names)}",
            field=names[0],
            allowed=names,
        )
    ((name, value),) = given.items()
    highest = 1.0 if name.endswith("ratio") else _MAX_MBPS
    if not (math.isfinite(value) and 0 < value <= highest):
        field = _BOUND_NAMES[name]
        raise BadInputError(f"{field} must be above 0 and at most {highest:g}", field=field)
    if not 0 <= rule.more_than <= 1000:
        raise BadInputError("moreThan must be 0 to 1000", field="moreThan")
    if not 1 <= rule.recovered_after <= 1000:
        raise BadInputError("recoveredAfter must be 1 to 1000", field="recoveredAfter")
