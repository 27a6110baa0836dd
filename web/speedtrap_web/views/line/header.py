"""The head of the overview: plan, probes and ranges, with the address of each choice."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from speedtrap_web.graphql.answers import Plan, Probe
from speedtrap_web.views.line.metrics import METRICS
from speedtrap_web.views.line.ranges import CHOICES, Range
from speedtrap_web.views.words import Words


@dataclass(frozen=True, slots=True)
class Choice:
    label: str
    href: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class Header:
    """`keep` are the choices that a form of own dates takes along."""

    plan: str
    has_plan: bool
    probe: str
    range_name: str
    first_day: str
    last_day: str
    probes: tuple[Choice, ...]
    ranges: tuple[Choice, ...]
    metrics: tuple[Choice, ...]
    tools: tuple[Choice, ...]
    keep: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Choices:
    """What the address says: each link changes one of them and keeps the others."""

    probe: str
    span: Range
    metric: str
    tool: str | None

    def href(self, **changes: str | None) -> str:
        query: dict[str, str | None] = {
            "probe": self.probe,
            **self.span.query,
            "metric": None if self.metric == "download" else self.metric,
            "tool": self.tool,
        }
        if "range" in changes:
            query |= {"since": None, "until": None}
        query |= changes
        return "/?" + urlencode({name: value for name, value in query.items() if value})


def header(
    chosen: Choices, probes: Sequence[Probe], plan: Plan | None, tools: Sequence[str], words: Words
) -> Header:
    span = chosen.span
    first, last = span.first_day, span.last_day
    if first is None or last is None:
        first = span.since.astimezone(words.zone).date()
        last = words.now.astimezone(words.zone).date()
    keep = {"probe": chosen.probe, "metric": chosen.metric, "tool": chosen.tool or ""}
    return Header(
        plan=plan_line(plan, words),
        has_plan=plan is not None,
        probe=chosen.probe,
        range_name=span.name,
        first_day=first.isoformat(),
        last_day=last.isoformat(),
        probes=tuple(
            Choice(name, chosen.href(probe=name, tool=None), name == chosen.probe)
            for name in sorted(probe.name for probe in probes)
        ),
        ranges=tuple(
            Choice(words.text(f"range.{name}"), chosen.href(range=name), name == span.name)
            for name in CHOICES
        ),
        metrics=tuple(
            Choice(
                words.text(f"metric.{slug}"),
                chosen.href(metric=None if slug == "download" else slug),
                slug == chosen.metric,
            )
            for slug in METRICS
        ),
        tools=(
            Choice(words.text("chart.best"), chosen.href(tool=None), chosen.tool is None),
            *(Choice(tool, chosen.href(tool=tool), tool == chosen.tool) for tool in tools),
        ),
        keep=tuple((name, value) for name, value in keep.items() if value),
    )


def plan_line(plan: Plan | None, words: Words) -> str:
    if plan is None:
        return words.text("header.no_plan")
    down = words.catalogue.plain(plan.download_mbps)
    if plan.upload_mbps is None:
        return words.text("header.plan", provider=plan.provider, down=down)
    up = words.catalogue.plain(plan.upload_mbps)
    return words.text("header.plan_both", provider=plan.provider, down=down, up=up)
