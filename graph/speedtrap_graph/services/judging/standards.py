"""What a probe's runs are held against: its plans and its rules, or else those for every probe."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from speedtrap_graph.rules.model import DEFAULT_RULE, Metric, Plan, Rule
from speedtrap_graph.rules.plans import plan_at
from speedtrap_graph.store.database import Row, Session, Store
from speedtrap_graph.store.documents import PlanDocument, RuleDocument, RulePart
from speedtrap_graph.store.probes import EVERY_PROBE, Version, seqs_of, version_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_RULE_FIELDS = (
    "below_ratio", "below_mbps", "above_ms", "above_ratio", "more_than", "recovered_after",
    "name", "out_of", "only_at_peak", "tool",
)  # fmt: skip


@dataclass(frozen=True)
class Standards:
    """`plans` by `since`; `rules` by key, one each. `version` says which ones they are."""

    plans: tuple[PlanDocument, ...]
    rules: tuple[RuleDocument, ...]
    version: Version = (0, 0)

    @cached_property
    def pure_plans(self) -> list[Plan]:
        return [pure_plan(plan) for plan in self.plans]

    @cached_property
    def download_rule(self) -> Rule | None:
        return self.pure_rules.get(Metric.DOWNLOAD)

    def plan_document_at(self, moment: datetime) -> PlanDocument | None:
        return self.document_of(plan_at(self.pure_plans, moment))

    def document_of(self, plan: Plan | None) -> PlanDocument | None:
        """The stored form of one of `pure_plans`."""
        if plan is None:
            return None
        return next(stored for stored in self.plans if stored.since == plan.since)

    @cached_property
    def keyed_rules(self) -> dict[str, tuple[RuleDocument, Rule]]:
        """All of them by key, stored and pure."""
        return {rule_key(rule): (rule, pure_rule(rule)) for rule in self.rules}

    @cached_property
    def all_rules(self) -> tuple[Rule, ...]:
        return tuple(rule for _, rule in self.keyed_rules.values())

    @cached_property
    def pure_rules(self) -> dict[Metric, Rule]:
        """The main rule of each metric that has one."""
        return {Metric(rule.metric): pure_rule(rule) for rule in self.rules if not rule.name}


def rule_key(rule: Rule | RuleDocument | RulePart) -> str:
    """What a rule is among those of one probe."""
    return f"{rule.metric}/{rule.name}" if rule.name else f"{rule.metric}"


def rule_id(rule: Rule, probe: str | None) -> str:
    return f"{probe or EVERY_PROBE}/{rule_key(rule)}"


def pure_plan(plan: PlanDocument) -> Plan:
    return Plan(
        provider=plan.provider,
        download_mbps=plan.download_mbps,
        upload_mbps=plan.upload_mbps,
        time_zone=plan.time_zone,
        since=plan.since,
    )


def pure_rule(rule: RuleDocument | RulePart) -> Rule:
    bounds: dict[str, Any] = {name: getattr(rule, name) for name in _RULE_FIELDS}
    return Rule(metric=Metric(rule.metric), **bounds)


def rule_document(rule: Rule, probe: str | None) -> RuleDocument:
    return RuleDocument(
        id=rule_id(rule, probe),
        probe=probe,
        metric=rule.metric,
        **{name: getattr(rule, name) for name in _RULE_FIELDS},
    )


def choose(
    probe: str, plans: Sequence[Row], rules: Sequence[Row], version: Version = (0, 0)
) -> Standards:
    """The standards of *probe* out of all plans and rules."""
    parsed_plans = [PlanDocument.model_validate(row) for row in plans]
    own = [plan for plan in parsed_plans if plan.probe == probe]
    applying = own or [plan for plan in parsed_plans if plan.probe is None]
    by_key = {rule_key(DEFAULT_RULE): rule_document(DEFAULT_RULE, None)}
    parsed_rules = [RuleDocument.model_validate(row) for row in rules]
    for wanted in (None, probe):
        by_key |= {rule_key(rule): rule for rule in parsed_rules if rule.probe == wanted}
    return Standards(
        plans=tuple(sorted(applying, key=lambda plan: plan.since)),
        rules=tuple(by_key[key] for key in sorted(by_key)),
        version=version,
    )


async def load_standards(store: Store, probe: str, session: Session | None = None) -> Standards:
    # The version first: without a session a change in between must not look like an old one.
    version = await version_of(store, probe, session)
    plans, rules = await standard_rows(store, probe, session)
    return choose(probe, plans, rules, version)


async def load_standards_of(store: Store, probes: Sequence[str]) -> dict[str, Standards]:
    """As `load_standards`, with as many questions for many as for one."""
    seqs = await seqs_of(store, probes)
    mine = {"probe": {"$in": [*probes, None]}}
    plans = _by_probe(await store["plans"].find(mine).to_list())
    rules = _by_probe(await store["rules"].find(mine).to_list())
    found: dict[str, Standards] = {}
    for probe in probes:
        version = seqs.get(EVERY_PROBE, 0), seqs.get(probe, 0)
        own = [*plans[None], *plans[probe]], [*rules[None], *rules[probe]]
        found[probe] = choose(probe, *own, version)
    return found


def _by_probe(rows: Sequence[Row]) -> defaultdict[str | None, list[Row]]:
    found: defaultdict[str | None, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["probe"]].append(row)
    return found


async def standard_rows(
    store: Store, probe: str, session: Session | None = None
) -> tuple[list[Row], list[Row]]:
    """Its own plans and rules and those for every probe; a home has a handful of each."""
    mine = {"probe": {"$in": [probe, None]}}
    plans = await store["plans"].find(mine, session=session).to_list()
    rules = await store["rules"].find(mine, session=session).to_list()
    return plans, rules
