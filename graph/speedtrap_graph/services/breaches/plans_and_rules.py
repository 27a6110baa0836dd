"""Plans, rules and silences as people set them. A new plan or rule judges the past again."""

import math
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from speedtrap_graph.clock import Clock
from speedtrap_graph.errors import BadInputError, NotFoundError
from speedtrap_graph.names import PROBE_NAME, PROBE_NAME_WORDS
from speedtrap_graph.rules.doubts import LOCAL_TOOLS
from speedtrap_graph.rules.model import Metric, Plan, Rule
from speedtrap_graph.services.breaches.preview import Preview, Previewing, Proposal
from speedtrap_graph.services.breaches.rejudge import Rejudge
from speedtrap_graph.services.judging.standards import rule_document
from speedtrap_graph.store.database import Row, Session, Store
from speedtrap_graph.store.documents import PlanDocument, RuleDocument, SilenceDocument
from speedtrap_graph.store.probes import EVERY_PROBE, raise_version
from speedtrap_graph.timestamps import format_moment

_RULE_NAME = re.compile(r"[a-z0-9_-]{1,40}", re.ASCII)
_TOOL = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}", re.ASCII)
_MAX_MBPS = 1_000_000.0
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
        row = _plan_row(probe, plan)
        await self._replace("plans", row, probe)
        document: PlanDocument = PlanDocument.model_validate(row)
        return document

    async def set_rule(self, probe: str | None, rule: Rule) -> RuleDocument:
        """Sets the rule for its metric, in place of the one before."""
        _check_probe(probe)
        _check_rule(rule)
        await self._replace("rules", _rule_row(probe, rule), probe)
        return rule_document(rule, probe)

    async def delete_rule(self, key: str) -> bool:
        """Takes a rule away; without its own, a probe has the default. False: there was none."""
        found = await self.store["rules"].find_one({"_id": key})
        if found is None:
            return False

        async def work(session: Session) -> None:
            await raise_version(self.store, session, found["probe"])
            await self.store["rules"].delete_one({"_id": key}, session=session)

        await self.store.transaction(work)
        await self.rejudge.concerned(found["probe"])
        return True

    async def preview(
        self,
        plan: tuple[str | None, Plan] | None = None,
        rule: tuple[str | None, Rule] | None = None,
        delete_rule: str | None = None,
    ) -> Preview:
        """What setting *plan* or *rule* (each with its probe, or None for all) or deleting a rule
        would change. Exactly one is given.
        """
        if sum(given is not None for given in (plan, rule, delete_rule)) != 1:
            allowed = ["plan", "rule", "deleteRule"]
            raise BadInputError("give exactly one of: plan, rule, deleteRule", allowed=allowed)
        proposal = await self._proposal(plan, rule, delete_rule)
        return await Previewing(self.store, self.clock()).of(proposal)

    async def _proposal(
        self,
        plan: tuple[str | None, Plan] | None,
        rule: tuple[str | None, Rule] | None,
        delete_rule: str | None,
    ) -> Proposal:
        if plan is not None:
            _check_probe(plan[0])
            _check_plan(plan[1])
            return Proposal(plan[0], set_plan=_plan_row(*plan))
        if rule is not None:
            _check_probe(rule[0])
            _check_rule(rule[1])
            return Proposal(rule[0], set_rule=_rule_row(*rule))
        found = await self.store["rules"].find_one({"_id": delete_rule})
        if found is None:
            raise NotFoundError(f"there is no rule {str(delete_rule)[:64]!r}", field="deleteRule")
        return Proposal(found["probe"], delete_rule=delete_rule)

    async def silence(self, probe: str, until: datetime, reason: str, by: str) -> SilenceDocument:
        """No notice goes out for *probe* until then; a moment that has passed ends a silence."""
        _check_probe(probe)
        if not 1 <= len(reason.strip()) <= 1000:
            raise BadInputError("reason must have 1 to 1000 characters", field="reason")
        row: Row = {"_id": probe, "until": until, "reason": reason.strip(), "by": by}
        await self.store["silences"].replace_one({"_id": probe}, row, upsert=True)
        document: SilenceDocument = SilenceDocument.model_validate(row)
        return document

    @property
    def rejudge(self) -> Rejudge:
        return Rejudge(self.store, self.clock)

    async def _replace(self, collection: str, row: Row, probe: str | None) -> None:
        """Stores *row* of the standards of *probe*, or of all, and judges the past by it."""

        async def work(session: Session) -> None:
            await raise_version(self.store, session, probe)
            wanted = {"_id": row["_id"]}
            await self.store[collection].replace_one(wanted, row, upsert=True, session=session)

        await self.store.transaction(work)
        await self.rejudge.concerned(probe)


def _plan_row(probe: str | None, plan: Plan) -> Row:
    return {
        "_id": f"{probe or EVERY_PROBE}/{format_moment(plan.since)}",
        "probe": probe,
        "provider": plan.provider.strip(),
        "download_mbps": plan.download_mbps,
        "upload_mbps": plan.upload_mbps,
        "time_zone": plan.time_zone,
        "since": plan.since,
    }


def _rule_row(probe: str | None, rule: Rule) -> Row:
    document = rule_document(rule, probe)
    return {"_id": document.id, **document.model_dump(exclude={"id", "revision_id"})}


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
    _check_scope(rule)
    if not 0 <= rule.more_than <= 1000:
        raise BadInputError("moreThan must be 0 to 1000", field="moreThan")
    if not 1 <= rule.recovered_after <= 1000:
        raise BadInputError("recoveredAfter must be 1 to 1000", field="recoveredAfter")
    if rule.out_of is not None and not rule.more_than < rule.out_of <= 1000:
        raise BadInputError(
            "outOf must be more than moreThan and at most 1000: with outOf 10 and moreThan 3, the "
            "4th bad one of the last 10 opens a breach",
            field="outOf",
        )


def _check_scope(rule: Rule) -> None:
    if rule.name and not _RULE_NAME.fullmatch(rule.name):
        raise BadInputError(
            "name must be 1 to 40 of: a to z, 0 to 9, hyphen and underscore", field="name"
        )
    if rule.tool is None:
        return
    if rule.tool in LOCAL_TOOLS:
        raise BadInputError(
            f"tool {rule.tool!r} measures the local network and says nothing about the line",
            field="tool",
        )
    if not _TOOL.fullmatch(rule.tool):
        raise BadInputError("tool must be the name of a tool, such as ookla", field="tool")
    if not rule.name:
        raise BadInputError(
            "a rule for one tool needs a name: the one without is for the best of all", field="name"
        )
