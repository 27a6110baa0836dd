"""The probes and their keys: who measures, when each was heard last, and how one more begins."""

from starlette.requests import Request
from starlette.responses import Response

from speedtrap_web import site as web
from speedtrap_web.admin import to_login
from speedtrap_web.answers import Probe
from speedtrap_web.breaches import SILENCES
from speedtrap_web.views.probes import probe_lines
from speedtrap_web.views.words import Words, zone_of


async def probe_list(request: Request) -> Response:
    site = web.of(request)
    if site.session(request) is None:
        return to_login(request, "needed")
    catalogue, now = site.catalogue(request), web.now()
    data = await site.graph.ask("overview")
    probes = [Probe.model_validate(probe) for probe in data["probes"]]
    context = {
        "probes": [
            line
            for probe in probes
            for line in probe_lines([probe], Words(catalogue, zone_of(probe.plan), now))
        ],
        "url": web.base_url(request),
        "silences": tuple(SILENCES),
    }
    return site.page(request, "probes.html", context)
