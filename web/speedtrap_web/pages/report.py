"""The service report of one month, to read and to print."""

from datetime import date, timedelta
from functools import reduce
from typing import Any
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from speedtrap_web import site as web
from speedtrap_web.graphql.answers import Breach, History, Probe, ServiceReport
from speedtrap_web.pages.overview import chosen_probe, measured_probes
from speedtrap_web.printing.pdf import report_data
from speedtrap_web.views.breaches import breach_line
from speedtrap_web.views.drawings.chart import chart
from speedtrap_web.views.drawings.heat import heat_map
from speedtrap_web.views.line import ranges
from speedtrap_web.views.line.header import plan_line
from speedtrap_web.views.line.metrics import METRICS
from speedtrap_web.views.line.tiles import tiles
from speedtrap_web.views.line.tools import tool_table
from speedtrap_web.views.line.verdict import verdict
from speedtrap_web.views.words import Words, zone_of

LINK_DAYS = (7, 30, 90)
MOST_MONTHS = 36
BREACHES_READ = 500


def months(probe: Probe, today: date) -> list[date]:
    """The first days of the months that have runs, newest first."""
    oldest = (probe.first_run_at.date() if probe.first_run_at else today).replace(day=1)
    found = [today.replace(day=1)]
    while found[-1] > oldest and len(found) < MOST_MONTHS:
        found.append((found[-1] - timedelta(days=1)).replace(day=1))
    return found


async def report(request: Request) -> Response:
    """`/report?probe=pi&month=2026-11`; without a month, the present one."""
    site = web.of(request)
    state = await site.state(request)
    if state.held is not None:
        return web.not_modified(state.held)
    probes = await measured_probes(site)
    if not probes:
        raise HTTPException(404)
    probe = chosen_probe(probes, request.query_params.get("probe"))
    context = await report_context(request, probe, request.query_params.get("month", ""))
    context |= {"shared_until": None, "link": None, "link_days": LINK_DAYS}
    return site.page(request, "report.html", context, state=state)


async def report_pdf(request: Request) -> Response:
    """The same, on paper."""
    probes = await measured_probes(web.of(request))
    if not probes:
        raise HTTPException(404)
    probe = chosen_probe(probes, request.query_params.get("probe"))
    return await report_file(request, probe, request.query_params.get("month", ""))


async def report_file(request: Request, probe: Probe, wanted: str) -> Response:
    site = web.of(request)
    state = await site.state(request)
    if state.held is not None:
        return web.not_modified(state.held)
    context = await report_context(request, probe, wanted)
    if wanted and context["month"] != wanted:
        raise HTTPException(404)
    data = report_data(context, site.catalogue(request))
    content = await site.press.pdf("report", data, context["today"])
    name = f"speedtrap-{context['month']}.pdf"
    headers = {"Content-Disposition": f'inline; filename="{name}"'}
    response = Response(content, media_type="application/pdf", headers=headers)
    return site.made(request, response, state)


async def report_context(request: Request, probe: Probe, wanted: str) -> dict[str, Any]:
    site = web.of(request)
    words = site.words(request, zone_of(probe.plan))
    today = words.now.astimezone(words.zone).date()
    known = months(probe, today)
    first = next((month for month in known if f"{month:%Y-%m}" == wanted), known[0])
    after = (first + timedelta(days=31)).replace(day=1)
    since, until = (ranges.midnight(day, words.zone) for day in (first, after))
    variables = {
        "probe": probe.name,
        "since": since.isoformat(),
        "until": until.isoformat(),
    }
    answer = await site.graph.ask("month", variables)
    days = await _days(request, probe.name, first, after, words)
    nodes = await site.graph.ask("breaches", {"probe": probe.name, "first": BREACHES_READ})
    every = [Breach.model_validate(node) for node in nodes["breaches"]["nodes"]]
    found = [
        breach
        for breach in every
        if breach.first_run_at < until and (breach.resolved_at or words.now) >= since
    ]
    figures = ServiceReport.model_validate(answer["serviceReport"])
    name = words.catalogue.month(first)
    # Judged as a month that is over: what holds right now does not belong here.
    past = probe.model_copy(update={"open_breach": None, "plan": figures.plan})
    return {
        "probe": probe.name,
        "plan": plan_line(figures.plan, words),
        "month": f"{first:%Y-%m}",
        "month_words": name,
        "months": [(f"{month:%Y-%m}", words.catalogue.month(month)) for month in known],
        "verdict": verdict(past, figures, name, words),
        "tiles": tiles(past, figures, words)[:5],
        "chart": chart(days, past.download_rule, found, words, METRICS["download"]),
        "heat": heat_map(figures, words),
        "tools": tool_table(figures, words),
        "breaches": [breach_line(breach, words) for breach in found],
        "made": f"{words.catalogue.day(words.now, words.zone)} {today.year}",
        "today": ranges.midnight(today, words.zone),
        "pdf": "/report.pdf?" + urlencode({"probe": probe.name, "month": f"{first:%Y-%m}"}),
        "zone": words.catalogue.zone_name(words.zone),
    }


async def _days(request: Request, probe: str, first: date, after: date, words: Words) -> History:
    """One bucket for each day of the line's own calendar."""
    parts = []
    for since, until, days in ranges.stretches(first, after, words.zone):
        variables = {"since": since.isoformat(), "until": until.isoformat(), "days": days}
        answer = await web.of(request).graph.ask("days", {"probe": probe, **variables})
        parts.append(History.model_validate(answer["history"]))
    return reduce(History.followed_by, parts)


ROUTES = [
    Route("/report", report),
    Route("/report.pdf", report_pdf),
]
