"""Plans and rules as lines of a list."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from speedtrap_web.graphql.answers import Plan, Rule
from speedtrap_web.views.words import Words, zone_of

METRICS = (
    "DOWNLOAD", "UPLOAD", "LATENCY", "JITTER", "PACKET_LOSS", "LOADED_LATENCY_DOWN",
    "LOADED_LATENCY_UP",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bound:
    """A unit that a bound is given in. A form's figure is `factor` times graph's."""

    factor: float
    fields: tuple[tuple[str, str], ...]
    """Graph's name of the field, and ours: the first but for lost packets."""

    def field_of(self, metric: str) -> str:
        return self.fields[-1 if metric == "PACKET_LOSS" else 0][0]

    def of(self, rule: Rule) -> float | None:
        found = (getattr(rule, name) for _, name in self.fields)
        return next((value for value in found if value is not None), None)


BOUNDS = {
    "ratio": Bound(100, (("belowRatio", "below_ratio"), ("aboveRatio", "above_ratio"))),
    "mbps": Bound(1, (("belowMbps", "below_mbps"),)),
    "ms": Bound(1, (("aboveMs", "above_ms"),)),
}


@dataclass(frozen=True, slots=True)
class PlanLine:
    id: str
    probe: str
    provider: str
    down: str
    up: str
    time_zone: str
    since: str


@dataclass(frozen=True, slots=True)
class RuleLine:
    id: str
    title: str
    sentence: str
    scope: str


def plan_lines(plans: Iterable[Plan], words: Words) -> list[PlanLine]:
    """Newest first."""
    return [
        PlanLine(
            id=plan.id,
            probe=plan.probe or words.text("plan.probe.all"),
            provider=plan.provider,
            down=words.catalogue.plain(plan.download_mbps),
            up=words.text("tile.none")
            if plan.upload_mbps is None
            else words.catalogue.plain(plan.upload_mbps),
            time_zone=plan.time_zone,
            since=words.text("plan.known.always")
            if plan.since.year <= 1970
            else words.catalogue.when(plan.since, zone_of(plan), year=True),
        )
        for plan in sorted(plans, key=lambda plan: plan.since, reverse=True)
    ]


def rule_lines(rules: Sequence[Rule], words: Words) -> list[RuleLine]:
    """Each once, though several probes go by it; those for every probe first."""
    known = {rule.id: rule for rule in rules}
    ordered = sorted(
        known.values(), key=lambda rule: (rule.probe or "", METRICS.index(rule.metric), rule.name)
    )
    return [
        RuleLine(
            id=rule.id,
            title=_title(rule, words),
            sentence=words.rule_sentence(rule),
            scope=_scope(rule, words),
        )
        for rule in ordered
    ]


def _title(rule: Rule, words: Words) -> str:
    metric = words.text(f"rule.metric.{rule.metric}")
    return f"{metric} · {rule.name}" if rule.name else metric


def _scope(rule: Rule, words: Words) -> str:
    parts = [rule.probe or words.text("plan.probe.all")]
    if rule.tool:
        parts.append(words.text("rules.by_tool", tool=rule.tool))
    if rule.only_at_peak:
        parts.append(words.text("rules.at_peak"))
    if rule.recovered_after > 1:
        parts.append(words.text("rules.ends", n=words.catalogue.number(rule.recovered_after)))
    return " · ".join(parts)
