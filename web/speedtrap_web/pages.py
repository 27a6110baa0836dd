"""The pages that anyone may see, and the questions that their script may ask."""

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from speedtrap_web import site as web
from speedtrap_web.answers import Breach, History, Probe, Report
from speedtrap_web.graph import BadVariableError
from speedtrap_web.views import ranges
from speedtrap_web.views.breaches import breach_line
from speedtrap_web.views.chart import chart
from speedtrap_web.views.header import header
from speedtrap_web.views.heat import heat_map
from speedtrap_web.views.tiles import tiles
from speedtrap_web.views.tools import last_run, tool_table
from speedtrap_web.views.verdict import verdict
from speedtrap_web.views.words import Words, zone_of

SCRIPT_OPERATIONS = frozenset({"history", "pulse"})
"""What `/api/q/` answers: reads that the page's script needs, with the page's own key."""


async def overview(request: Request) -> Response:
    """`/`: the verdict and what it stands on, for one probe and one range."""
    site = web.of(request)
    data = await site.graph.ask("overview")
    probes = [Probe.model_validate(probe) for probe in data["probes"]]
    probes = [probe for probe in probes if probe.run_count > 0]
    if not probes:
        return site.page(request, "empty.html", {"url": _base_url(request)})
    probe = _chosen(probes, request.query_params.get("probe"))
    words = Words(site.catalogue, zone_of(probe.plan), web.now())
    name = request.query_params.get("range", "")
    if name not in ranges.CHOICES:
        name = ranges.usual(words.now, probe.first_run_at)
    span = ranges.choose(name, words.now, words.zone, probe.first_run_at)
    answer = await site.graph.ask(
        "range",
        {
            "probe": probe.name,
            "since": span.since.isoformat(),
            "until": span.until.isoformat(),
            "buckets": span.buckets,
        },
    )
    context = _context(probe, probes, span, answer, words)
    return site.page(request, "overview.html", context)


def _chosen(probes: Sequence[Probe], name: str | None) -> Probe:
    """The probe asked for; else the one that was heard last."""
    for probe in probes:
        if probe.name == name:
            return probe
    return max(probes, key=lambda probe: (probe.last_seen_at is not None, probe.last_seen_at))


def _context(
    probe: Probe, probes: Sequence[Probe], span: ranges.Range, answer: dict[str, Any], words: Words
) -> dict[str, Any]:
    report = Report.model_validate(answer["serviceReport"])
    breaches = [Breach.model_validate(node) for node in answer["breaches"]["nodes"]]
    rule = probe.download_rule
    history = History.model_validate(answer["history"])
    return {
        "header": header(probe, probes, span, words),
        "verdict": verdict(probe, report, span.name, words),
        "tiles": tiles(probe, report, words),
        "chart": chart(history, rule, breaches, words.now, words),
        "chart_facts": _chart_facts(probe, span, breaches, words),
        "rule": words.rule(rule),
        "rule_short": words.rule_short(rule) if rule else "",
        "more_than": rule.more_than if rule else 0,
        "judged": report.plan is not None and rule is not None,
        "heat": heat_map(report, words),
        "tools": tool_table(report, words),
        "last": last_run(probe.last_run, words) if probe.last_run else None,
        "breaches": [breach_line(breach, words) for breach in breaches],
        "more_breaches": answer["breaches"]["pageInfo"]["hasNextPage"],
        "silence": probe.silence,
        "silenced_until": words.when(probe.silence.until) if probe.silence else "",
        "range_words": words.text(f"range.{span.name}.words"),
        "zone": str(words.zone),
    }


def _chart_facts(
    probe: Probe, span: ranges.Range, breaches: Sequence[Breach], words: Words
) -> dict[str, Any]:
    """What the live chart cannot read from its own question."""
    rule = probe.download_rule
    return {
        "probe": probe.name,
        "since": span.since.isoformat(),
        "until": span.until.isoformat(),
        "buckets": span.buckets,
        "points": span.points,
        "zone": str(words.zone),
        "belowRatio": rule.below_ratio if rule else None,
        "belowMbps": rule.below_mbps if rule else None,
        "breaches": [
            [
                breach.first_run_at.timestamp(),
                (breach.resolved_at or words.now).timestamp(),
            ]
            for breach in breaches
            if breach.status != "RETRACTED"
        ],
        "words": words.catalogue.chart_words,
    }


def _base_url(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}"


async def question(request: Request) -> Response:
    """`/api/q/<operation>?variable=...`: a packaged read, as JSON."""
    site = web.of(request)
    name = request.path_params["operation"]
    if name not in SCRIPT_OPERATIONS:
        allowed = ", ".join(sorted(SCRIPT_OPERATIONS))
        raise BadVariableError(f"operation: {name} is not one; allowed: {allowed}")
    variables = site.graph.operations[name].variables_from_text(dict(request.query_params))
    return web.revalidated(request, JSONResponse(await site.graph.ask(name, variables)))
