"""The head of the overview: plan, probes and ranges, with the address of each choice."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from speedtrap_web.answers import Plan, Probe
from speedtrap_web.views.ranges import CHOICES, Range
from speedtrap_web.views.words import Words


@dataclass(frozen=True, slots=True)
class Choice:
    label: str
    href: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class Header:
    plan: str
    has_plan: bool
    probe: str
    range_name: str
    probes: tuple[Choice, ...]
    ranges: tuple[Choice, ...]


def header(probe: Probe, probes: Sequence[Probe], span: Range, words: Words) -> Header:
    return Header(
        plan=_plan(probe.plan, words),
        has_plan=probe.plan is not None,
        probe=probe.name,
        range_name=span.name,
        probes=tuple(
            Choice(other.name, _href(other.name, span.name), other.name == probe.name)
            for other in sorted(probes, key=lambda each: each.name)
        ),
        ranges=tuple(
            Choice(words.text(f"range.{name}"), _href(probe.name, name), name == span.name)
            for name in CHOICES
        ),
    )


def _href(probe: str, range_name: str) -> str:
    return "/?" + urlencode({"probe": probe, "range": range_name})


def _plan(plan: Plan | None, words: Words) -> str:
    if plan is None:
        return words.text("header.no_plan")
    down = words.catalogue.plain(plan.download_mbps)
    if plan.upload_mbps is None:
        return words.text("header.plan", provider=plan.provider, down=down)
    up = words.catalogue.plain(plan.upload_mbps)
    return words.text("header.plan_both", provider=plan.provider, down=down, up=up)
