"""How long runs are kept one by one, and which probes were taken out."""

from datetime import UTC

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from speedtrap_web import site as web
from speedtrap_web.graphql.answers import DeletedProbe, Retention
from speedtrap_web.graphql.client import RefusedError
from speedtrap_web.http.forms import read_form
from speedtrap_web.pages.login import seen_other, to_login

MOST_DIGITS = 9


async def keeping_page(request: Request) -> Response:
    return await _page(request)


async def set_retention(request: Request) -> Response:
    """A number of days; empty is for ever."""
    site = web.of(request)
    session = site.session(request)
    if session is None:
        return to_login(request, "needed")
    given = (await read_form(request)).get("days", "")
    if given and not (given.isascii() and given.isdigit() and len(given) <= MOST_DIGITS):
        return await _page(request, given, site.catalogue(request).text("rules.whole.problem"))
    try:
        days = int(given) if given else None
        await site.graph.ask("setRetention", {"days": days}, session.key)
    except RefusedError as refusal:
        return await _page(request, given, refusal.message)
    return seen_other("/settings/keeping", "keeping")


async def _page(request: Request, given: str | None = None, problem: str = "") -> Response:
    site = web.of(request)
    session = site.session(request)
    if session is None:
        return to_login(request, "needed")
    words = site.words(request, UTC)
    data = await site.graph.ask("keeping", key=session.key)
    kept = Retention.model_validate(data["retention"])
    deleted = [DeletedProbe.model_validate(probe) for probe in data["deletedProbes"]]
    number = words.catalogue.number
    context = {
        "given": given if given is not None else "" if kept.days is None else str(kept.days),
        "problem": problem,
        "now": words.text("keeping.ever")
        if kept.days is None
        else words.text("keeping.days", days=number(kept.days)),
        "decided": words.text("keeping.decided", by=kept.by, when=words.when(kept.at))
        if kept.at
        else "",
        "removed": words.plural("keeping.removed", kept.removed_runs) if kept.removed_runs else "",
        "deleted": [
            (
                probe.name,
                words.text(
                    "sending.switched", by=probe.by, when=words.when(probe.at), reason=probe.reason
                ),
                words.text(
                    "keeping.gone" if probe.done_at else "keeping.going",
                    runs=number(probe.runs),
                    breaches=number(probe.breaches),
                    notices=number(probe.notices),
                ),
            )
            for probe in deleted
        ],
    }
    return site.page(request, "keeping.html", context, 400 if problem else 200)


ROUTES = [
    Route("/settings/keeping", keeping_page, methods=["GET"]),
    Route("/settings/keeping", set_retention, methods=["POST"]),
]
