"""The service report of one month for whoever holds a link, until it expires."""

from datetime import timedelta

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from speedtrap_web import site as web
from speedtrap_web.graphql.answers import Probe
from speedtrap_web.http.forms import read_form
from speedtrap_web.http.shared_links import Share
from speedtrap_web.pages.login import to_login
from speedtrap_web.pages.overview import measured_probes
from speedtrap_web.pages.report import LINK_DAYS, report_context, report_file
from speedtrap_web.views.words import zone_of


async def share(request: Request) -> Response:
    """Makes a link; for admins, because whoever holds it reads without a login."""
    site = web.of(request)
    if site.session(request) is None:
        return to_login(request, "needed")
    form = await read_form(request)
    days = {str(days): days for days in LINK_DAYS}.get(form.get("days", ""))
    probes = await measured_probes(site)
    names = {probe.name: probe for probe in probes}
    if days is None or form.get("probe") not in names:
        raise HTTPException(400)
    probe = names[form["probe"]]
    context = await report_context(request, probe, form.get("month", ""))
    until = site.clock() + timedelta(days=days)
    token = site.links.seal(Share(probe.name, context["month"], until))
    context |= {
        "shared_until": None,
        "link": f"{web.base_url(request)}/shared/{token}",
        "link_days": LINK_DAYS,
    }
    return site.page(request, "report.html", context)


async def shared(request: Request) -> Response:
    """What a link shows: one report, and no way on from it but to its PDF."""
    site = web.of(request)
    probe, found = await _opened(request)
    context = await report_context(request, probe, found.month)
    if context["month"] != found.month:
        raise HTTPException(404)
    words = site.words(request, zone_of(probe.plan))
    context |= {"shared_until": words.when(found.until), "link": None, "link_days": LINK_DAYS}
    context |= {"pdf": f"/shared/{request.path_params['token']}/report.pdf"}
    response = site.page(request, "report.html", context)
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


async def shared_pdf(request: Request) -> Response:
    probe, found = await _opened(request)
    response = await report_file(request, probe, found.month)
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


async def _opened(request: Request) -> tuple[Probe, Share]:
    """The probe and the month of the link; 404 for one that is not ours, or has expired."""
    site = web.of(request)
    found = site.links.open(request.path_params["token"], site.clock())
    if found is None:
        raise HTTPException(404)
    probes = [probe for probe in await measured_probes(site) if probe.name == found.probe]
    if not probes:
        raise HTTPException(404)
    return probes[0], found


ROUTES = [
    Route("/report/share", share, methods=["POST"]),
    Route("/shared/{token}", shared),
    Route("/shared/{token}/report.pdf", shared_pdf),
]
