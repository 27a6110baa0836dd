"""The probes and their keys: who measures, when each was heard last, how one more begins, and
how one ends."""

from dataclasses import dataclass
from datetime import UTC

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from speedtrap_web import site as web
from speedtrap_web.graphql.answers import Key, Probe
from speedtrap_web.graphql.client import RefusedError
from speedtrap_web.http.forms import read_form
from speedtrap_web.pages.breaches import SILENCES
from speedtrap_web.pages.login import seen_other, to_login
from speedtrap_web.views.probes import key_line, probe_lines
from speedtrap_web.views.words import zone_of

LONGEST_REASON = 500


async def probe_list(request: Request) -> Response:
    return await _page(request)


@dataclass(frozen=True, slots=True)
class Refused:
    """A deletion that was not made: of which probe, what had been filled in, and why not. `field`
    is what has to be put right, if it is one of them.
    """

    name: str
    typed: str
    reason: str
    problem: str
    field: str


NOTHING_REFUSED = Refused("", "", "", "", "")


async def _page(request: Request, refused: Refused = NOTHING_REFUSED) -> Response:
    site = web.of(request)
    session = site.session(request)
    if session is None:
        return to_login(request, "needed")
    data = await site.graph.ask("overview")
    probes = [Probe.model_validate(probe) for probe in data["probes"]]
    keys = (await site.graph.ask("keys", key=session.key))["keys"]
    words = site.words(request, UTC)
    context = {
        "keys": [key_line(Key.model_validate(key), words) for key in keys],
        "kept": refused.name,
        "typed": refused.typed,
        "reason": refused.reason,
        "problem": refused.problem,
        "problem_field": refused.field,
        "probes": [
            line
            for probe in probes
            for line in probe_lines([probe], site.words(request, zone_of(probe.plan)))
        ],
        "url": web.base_url(request),
        "silences": tuple(SILENCES),
    }
    return site.page(request, "probes.html", context, 400 if refused.problem else 200)


async def delete(request: Request) -> Response:
    """Takes a probe out with all that is of it, once its name has been typed."""
    site = web.of(request)
    session = site.session(request)
    if session is None:
        return to_login(request, "needed")
    form = await read_form(request)
    name, reason = form.get("name", ""), form.get("reason", "")[:LONGEST_REASON]
    typed, words = form.get("typed", ""), site.catalogue(request)

    async def refuse(problem: str, field: str) -> Response:
        return await _page(request, Refused(name, typed, reason, problem, field))

    if typed != name:
        return await refuse(words.text("probes.delete.typed"), "typed")
    if not reason:
        return await refuse(words.text("reason.missing"), "reason")
    try:
        await site.graph.ask("deleteProbe", {"name": name, "reason": reason}, session.key)
    except RefusedError as refusal:
        return await refuse(refusal.message, "none")
    return seen_other("/settings/keeping", "probe_deleted")


ROUTES = [
    Route("/settings/probes", probe_list),
    Route("/settings/probes/delete", delete, methods=["POST"]),
]
