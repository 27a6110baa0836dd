"""The overview."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from speedtrap_web import site as web
from speedtrap_web.graphql.answers import Breach, Finding, History, Plan, Probe, ServiceReport
from speedtrap_web.views.breaches import breach_line, longest_streak
from speedtrap_web.views.drawings.chart import chart, twice_shown
from speedtrap_web.views.drawings.curve import curve
from speedtrap_web.views.drawings.heat import heat_map
from speedtrap_web.views.line import ranges
from speedtrap_web.views.line.banners import banners
from speedtrap_web.views.line.findings import finding_lines
from speedtrap_web.views.line.header import Choices, header
from speedtrap_web.views.line.metrics import Metric, metric_of
from speedtrap_web.views.line.tiles import tiles
from speedtrap_web.views.line.tools import last_run, tool_table
from speedtrap_web.views.line.verdict import verdict
from speedtrap_web.views.words import Words, zone_of


@dataclass(frozen=True, slots=True)
class Asked:
    """What one overview is about."""

    probe: Probe
    span: ranges.Range
    metric: Metric
    tool: str | None

    @property
    def variables(self) -> dict[str, Any]:
        return {
            "probe": self.probe.name,
            "since": self.span.since.isoformat(),
            "until": self.span.until.isoformat(),
            "buckets": self.span.buckets,
            "metric": self.metric.name,
            "tool": self.tool,
        }


async def overview(request: Request) -> Response:
    """`/`: the verdict and what it stands on, for one probe and one range."""
    site = web.of(request)
    state = await site.state(request)
    if state.held is not None:
        return web.not_modified(state.held)
    probes = await measured_probes(site)
    if not probes:
        return await _first_start(request, state)
    probe = chosen_probe(probes, request.query_params.get("probe"))
    words = site.words(request, zone_of(probe.plan))
    asked = _asked(request, probe, words)
    answer = await site.graph.ask("range", asked.variables)
    context = _context(asked, probes, answer, words)
    return site.page(request, "overview.html", context, state=state)


async def measured_probes(site: web.Site) -> list[Probe]:
    """Those that have a run."""
    data = await site.graph.ask("overview")
    probes = [Probe.model_validate(probe) for probe in data["probes"]]
    return [probe for probe in probes if probe.run_count > 0]


def chosen_probe(probes: Sequence[Probe], name: str | None) -> Probe:
    """The probe asked for; else the one that was heard last."""
    for probe in probes:
        if probe.name == name:
            return probe
    return max(probes, key=lambda probe: (probe.last_seen_at is not None, probe.last_seen_at))


async def _first_start(request: Request, state: web.PageState) -> Response:
    """The wizard: what you pay for, the command to copy, and waiting for the first run."""
    site = web.of(request)
    plans = [Plan.model_validate(plan) for plan in (await site.graph.ask("plans"))["plans"]]
    context = {"url": web.base_url(request), "has_plan": bool(plans)}
    return site.page(request, "empty.html", context, state=state)


def _asked(request: Request, probe: Probe, words: Words) -> Asked:
    query = request.query_params
    metric = metric_of(query.get("metric"))
    tool = query.get("tool") or None
    own = ranges.own_dates(query.get("since", ""), query.get("until", ""), words.now, words.zone)
    if own is not None:
        words.freshness.ends(own.until)
        return Asked(probe, own, metric, tool)
    name = query.get("range", "")
    if name not in ranges.CHOICES:
        name = ranges.usual(words.now, probe.first_run_at)
    span = ranges.choose(name, words.now, words.zone, probe.first_run_at)
    for moment in (span.until, *ranges.turns(probe.first_run_at, words.now)):
        words.freshness.ends(moment)
    return Asked(probe, span, metric, tool)


def _context(
    asked: Asked, probes: Sequence[Probe], answer: dict[str, Any], words: Words
) -> dict[str, Any]:
    probe, span, metric = asked.probe, asked.span, asked.metric
    report = ServiceReport.model_validate(answer["serviceReport"])
    breaches = [Breach.model_validate(node) for node in answer["breaches"]["nodes"]]
    rule = probe.download_rule
    history = History.model_validate(answer["history"])
    tools = [figure.tool for figure in report.tools]
    range_words = _range_words(span, words)
    choices = Choices(probe.name, span, metric.slug, asked.tool)
    return {
        "header": header(choices, probes, probe.plan, tools, words),
        "standing": banners(probe, span, words),
        "verdict": verdict(probe, report, range_words, words),
        "tiles": tiles(probe, report, words),
        "chart": chart(history, probe.rule_of(metric.name), breaches, words, metric),
        "chart_facts": _chart_facts(asked, breaches, words),
        "metric": metric,
        "tool": asked.tool,
        "rule_sentence": words.rule_sentence(rule) if rule else "",
        "chart_rule": _chart_rule(asked, words),
        "judged": report.plan is not None and rule is not None,
        "heat": heat_map(report, words),
        "curve": curve(report, rule, words),
        "tools": tool_table(report, words),
        "findings": finding_lines(map(Finding.model_validate, answer["findings"]), words),
        "last": last_run(probe.last_run, words) if probe.last_run else None,
        "breaches": [breach_line(breach, words) for breach in breaches],
        "more_breaches": answer["breaches"]["pageInfo"]["hasNextPage"],
        "longest": longest_streak(report, rule, words),
        "silence": probe.silence,
        "silenced_until": words.when(probe.silence.until) if probe.silence else "",
        "range_words": range_words,
        "zone": words.catalogue.zone_name(words.zone),
    }


def _range_words(span: ranges.Range, words: Words) -> str:
    if span.first_day is None or span.last_day is None:
        return words.text(f"range.{span.name}.words")
    first, last = (
        words.day(ranges.midnight(day, words.zone)) for day in (span.first_day, span.last_day)
    )
    if span.first_day == span.last_day:
        return words.text("range.one_day.words", day=first)
    return words.text("range.own.words", first=first, last=last)


def _chart_rule(asked: Asked, words: Words) -> str:
    """The bound in the legend; empty where the metric has none."""
    rule = asked.probe.rule_of(asked.metric.name)
    needs_plan = rule is not None and rule.below_ratio is not None
    if rule is None or (needs_plan and asked.metric.promised(asked.probe.plan) is None):
        return ""
    return words.rule_short(rule)


def _chart_facts(asked: Asked, breaches: Sequence[Breach], words: Words) -> dict[str, Any]:
    """What the live chart cannot read from its own question."""
    span, rule = asked.span, asked.probe.rule_of(asked.metric.name)
    question = {
        "probe": asked.probe.name,
        "metric": asked.metric.name,
        "since": span.since.isoformat(),
        "until": span.until.isoformat(),
        "buckets": span.buckets,
        "points": span.points,
    }
    if asked.tool is not None:
        question["tool"] = asked.tool
    return {
        "question": question,
        "zone": str(words.zone),
        "twice": [
            [twice.start, twice.until, twice.zone]
            for twice in twice_shown(span.since, span.until, words.zone)
        ],
        "milliseconds": asked.metric.worse_above,
        "belowRatio": rule.below_ratio if rule else None,
        "belowMbps": rule.below_mbps if rule else None,
        "aboveMs": rule.above_ms if rule else None,
        "breaches": [
            [
                breach.first_run_at.timestamp(),
                breach.resolved_at.timestamp() if breach.resolved_at else None,
            ]
            for breach in breaches
            if breach.status != "RETRACTED"
        ],
        "words": words.catalogue.chart_words,
    }


ROUTES = [
    Route("/", overview),
]
