"""The probes and their keys: who measures, when each was heard last, how one more begins, and
how one ends."""

from datetime import UTC

from starlette.requests import Request
from starlette.responses import Response

from speedtrap_web import site as web
from speedtrap_web.admin import seen_other, to_login
from speedtrap_web.answers import Key, Probe
from speedtrap_web.breaches import SILENCES
from speedtrap_web.forms import read_form
from speedtrap_web.graph import RefusedError
from speedtrap_web.views.probes import key_line, probe_lines
from speedtrap_web.views.words import zone_of

LONGEST_REASON = 500


async def probe_list(request: Request) -> Response:
    return await _page(request)


async def _page(request: Request, name: str = "", problem: str = "") -> Response:
    """*problem* is why the probe *name* was not deleted."""
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
        "kept": name,
        "problem": problem,
        "probes": [
            line
            for probe in probes
            for line in probe_lines([probe], site.words(request, zone_of(probe.plan)))
        ],
        "url": web.base_url(request),
        "silences": tuple(SILENCES),
    }
    return site.page(request, "probes.html", context, 400 if problem else 200)


async def delete(request: Request) -> Response:
    """Takes a probe out with all that is of it, once its name has been typed."""
    site = web.of(request)
    session = site.session(request)
    if session is None:
        return to_login(request, "needed")
    form = await read_form(request)
    name, reason = form.get("name", ""), form.get("reason", "")[:LONGEST_REASON]
    if form.get("typed") != name:
        return await _page(request, name, site.catalogue(request).text("probes.delete.typed"))
    if not reason:
        return await _page(request, name, site.catalogue(request).text("reason.missing"))
    try:
        await site.graph.ask("deleteProbe", {"name": name, "reason": reason}, session.key)
    except RefusedError as refusal:
        return await _page(request, name, refusal.message)
    return seen_other("/settings/keeping", "probe_deleted")
