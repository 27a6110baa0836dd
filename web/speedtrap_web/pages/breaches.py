"""Breaches: all of them, one with its evidence and notices, their feed, and silencing a probe."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from speedtrap_web import site as web
from speedtrap_web.graphql.answers import Breach, NoticeLetter, Observation, Run
from speedtrap_web.http.forms import read_form
from speedtrap_web.http.session import own_path
from speedtrap_web.pages.login import to_login
from speedtrap_web.printing.pdf import evidence_data
from speedtrap_web.views import csv_rows
from speedtrap_web.views.breaches import breach_line, channel_name, obstacle
from speedtrap_web.views.drawings.evidence import HOURS_AROUND, evidence
from speedtrap_web.views.line.header import plan_line
from speedtrap_web.views.runs import run_table
from speedtrap_web.views.words import Words, zone_of

ON_A_PAGE = 50
IN_THE_FEED = 50
SILENCES = {"24h": 24, "3d": 72, "7d": 168, "30d": 720, "end": 0}
"""Hours by choice; `end` ends a silence."""


async def breach_list(request: Request) -> Response:
    site = web.of(request)
    state = await site.state(request)
    if state.held is not None:
        return web.not_modified(state.held)
    probe = request.query_params.get("probe") or None
    after = request.query_params.get("after")
    variables = {"probe": probe, "first": ON_A_PAGE, "after": after}
    page = (await site.graph.ask("breaches", variables))["breaches"]
    found = [Breach.model_validate(node) for node in page["nodes"]]
    lines = [breach_line(breach, site.words(request, zone_of(breach.plan))) for breach in found]
    context = {
        "breaches": lines,
        "probe": probe,
        "after": page["pageInfo"]["endCursor"] if page["pageInfo"]["hasNextPage"] else None,
    }
    return site.page(request, "breaches.html", context, state=state)


async def breach_page(request: Request) -> Response:
    """Public, but for the letters: those may name a recipient or an account."""
    site = web.of(request)
    state = await site.state(request)
    if state.held is not None:
        return web.not_modified(state.held)
    breach, runs = await _breach(request)
    words = site.words(request, zone_of(breach.plan))
    context = _context(breach, runs, words) | {
        "letters": await _letters(request, breach, words),
        "silences": tuple(SILENCES),
    }
    return site.page(request, "breach.html", context, state=state)


def _context(breach: Breach, runs: list[Run], words: Words) -> dict[str, Any]:
    """What the page and its PDF show to everybody."""
    return {
        "breach": breach,
        "line": breach_line(breach, words),
        "plan": plan_line(breach.plan, words),
        "rule_sentence": words.rule_sentence(breach.rule),
        "table": run_table(runs[::-1], words),
        "zone": words.catalogue.zone_name(words.zone),
    }


async def _breach(request: Request) -> tuple[Breach, list[Run]]:
    answer = await web.of(request).graph.ask("breach", {"id": request.path_params["id"]})
    if answer["breach"] is None:
        raise HTTPException(404)
    runs = [Run.model_validate(run) for run in answer["breach"]["runs"]]
    return Breach.model_validate(answer["breach"]), runs


async def _letters(request: Request, breach: Breach, words: Words) -> list[dict[str, Any]]:
    """The notices with their texts, for an admin, read with the admin's own key."""
    session = web.of(request).session(request)
    if session is None or not breach.notices:
        return []
    answer = await web.of(request).graph.ask("breachNotices", {"breach": breach.id}, session.key)
    letters = [NoticeLetter.model_validate(node) for node in answer["notices"]["nodes"]]
    return [
        {
            "letter": letter,
            "channel": channel_name(letter.channel, words),
            "waits": letter.status == "PLANNED",
            "obstacle": obstacle(letter.obstacle, words),
        }
        for letter in letters
    ]


async def evidence_csv(request: Request) -> Response:
    breach, runs = await _breach(request)
    return _download(csv_rows.header() + csv_rows.rows(runs), "text/csv", breach, "csv")


async def evidence_json(request: Request) -> Response:
    """What the breach stands on: the rule, the plan, every run with every tool's word, and what
    each run, also those around it, said to the rule.
    """
    breach, runs = await _breach(request)
    _, observations = await _around(request)
    content = {
        "breach": breach.model_dump(
            mode="json", by_alias=True, exclude_none=True, exclude={"notices", "id"}
        ),
        "runs": [run.model_dump(mode="json", by_alias=True, exclude_none=True) for run in runs],
        "observations": [
            said.model_dump(mode="json", by_alias=True, exclude_none=True) for said in observations
        ],
    }
    return _download(bytes(JSONResponse(content).body), "application/json", breach, "json")


async def evidence_pdf(request: Request) -> Response:
    """What the page shows to everybody, on paper."""
    site = web.of(request)
    state = await site.state(request)
    if state.held is not None:
        return web.not_modified(state.held)
    breach, runs = await _breach(request)
    words = site.words(request, zone_of(breach.plan))
    context = _context(breach, runs, words)
    context["evidence"] = evidence(breach, *await _around(request), words)
    data = evidence_data(context, words.catalogue)
    content = await site.press.pdf("evidence", data, breach.resolved_at or breach.last_run_at)
    response = _download(content, "application/pdf", breach, "pdf")
    return site.made(request, response, state)


async def _around(request: Request) -> tuple[list[Run], list[Observation]]:
    """The runs of the breach's time and somewhat more, and what each says to its rule."""
    variables = {"id": request.path_params["id"], "hours": HOURS_AROUND}
    answer = await web.of(request).graph.ask("evidence", variables)
    found = answer["breach"] or {"window": [], "observations": []}
    runs = [Run.model_validate(run) for run in found["window"]]
    return runs, [Observation.model_validate(said) for said in found["observations"]]


def _download(content: str | bytes, media_type: str, breach: Breach, suffix: str) -> Response:
    name = f"{breach.reference}.{suffix}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=media_type, headers=headers)


async def silence(request: Request) -> Response:
    """No notice about a probe for a while; the breaches are still recorded."""
    site = web.of(request)
    session = site.session(request)
    if session is None:
        return to_login(request, "needed")
    form = await read_form(request)
    hours, reason = SILENCES.get(form.get("for", "")), form.get("reason", "")
    if hours is None or not form.get("probe"):
        raise HTTPException(400)
    if not reason and hours == 0:
        reason = "ended"
    until = site.clock() + timedelta(hours=hours)
    variables = {"probe": form["probe"], "until": until.isoformat(), "reason": reason}
    await site.graph.ask("silence", variables, session.key)
    return RedirectResponse(f"{own_path(form.get('next'))}?done=silence", 303)


async def feed(request: Request) -> Response:
    """Atom: one entry a breach, renewed when it grows or ends."""
    site = web.of(request)
    variables = {"probe": request.query_params.get("probe") or None, "first": IN_THE_FEED}
    nodes = (await site.graph.ask("breaches", variables))["breaches"]["nodes"]
    found = [Breach.model_validate(node) for node in nodes]
    entries = [
        (breach, breach_line(breach, site.words(request, zone_of(breach.plan))), _updated(breach))
        for breach in found
    ]
    context = {"entries": entries, "url": web.base_url(request), "updated": _newest(found)}
    body = site.render(request, "feed.xml", context)
    return web.revalidated(request, Response(body, media_type="application/atom+xml"))


def _updated(breach: Breach) -> str:
    return (breach.resolved_at or breach.last_run_at).isoformat()


def _newest(found: Sequence[Breach]) -> str:
    return max((_updated(breach) for breach in found), default="1970-01-01T00:00:00+00:00")


ROUTES = [
    Route("/breaches", breach_list),
    Route("/breaches/{id}", breach_page),
    Route("/breaches/{id}/runs.csv", evidence_csv),
    Route("/breaches/{id}/evidence.json", evidence_json),
    Route("/breaches/{id}/evidence.pdf", evidence_pdf),
    Route("/silence", silence, methods=["POST"]),
    Route("/feed.atom", feed),
]
