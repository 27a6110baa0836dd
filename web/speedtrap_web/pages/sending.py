"""What leaves the house: the switch for everything, what needs a person, and who wants no more."""

from datetime import UTC

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from speedtrap_web import site as web
from speedtrap_web.graphql.answers import Channel, NoticeBrief, Stop, Switch
from speedtrap_web.graphql.client import RefusedError
from speedtrap_web.http.forms import read_form
from speedtrap_web.pages.login import seen_other, to_login
from speedtrap_web.views.breaches import notice_line
from speedtrap_web.views.channels import channel_lines

LONGEST_REASON = 500


async def sending_page(request: Request) -> Response:
    return await _page(request)


async def _page(
    request: Request, problem: str = "", status: int = 200, *, untested: str = "", tried: str = ""
) -> Response:
    site = web.of(request)
    session = site.session(request)
    if session is None:
        return to_login(request, "needed")
    # The zone of no line in particular: the ledger is about people.
    words = site.words(request, UTC)
    data = await site.graph.ask("sending", key=session.key)
    switch = Switch.model_validate(data["sending"]) if data["sending"] else None
    stops = [Stop.model_validate(stop) for stop in data["stops"]]
    nodes = data["notices"]["nodes"]
    context = {
        "on": switch is None or switch.on,
        "switched": words.text(
            "sending.switched", by=switch.by, when=words.when(switch.at), reason=switch.reason
        )
        if switch
        else "",
        "stops": [(stop.recipient, words.when(stop.at), stop.by, stop.reason) for stop in stops],
        "notices": [
            (node["reference"], notice_line(NoticeBrief.model_validate(node), words))
            for node in nodes
        ],
        "channels": channel_lines(map(Channel.model_validate, data["channels"]), words),
        "problem": problem,
        "untested": untested,
        "tried": tried,
        "zone": words.catalogue.zone_name(words.zone),
    }
    return site.page(request, "sending.html", context, status)


async def switch(request: Request) -> Response:
    """On or off, with a reason that stays beside the switch."""
    site = web.of(request)
    session = site.session(request)
    if session is None:
        return to_login(request, "needed")
    form = await read_form(request)
    reason = form.get("reason", "")[:LONGEST_REASON]
    if not reason:
        return await _page(request, site.catalogue(request).text("reason.missing"), 400)
    variables = {"on": form.get("on") == "yes", "reason": reason}
    await site.graph.ask("setSending", variables, session.key)
    return seen_other("/settings/sending", "sending")


async def test(request: Request) -> Response:
    """A bot of the channel sends the subscriber one real message; the page says how it ended."""
    site = web.of(request)
    session = site.session(request)
    if session is None:
        return to_login(request, "needed")
    form = await read_form(request)
    channel = form.get("channel", "")
    try:
        await site.graph.ask("sendTest", {"channel": channel}, session.key)
    except RefusedError as refusal:
        return await _page(request, status=400, untested=refusal.message, tried=channel)
    return seen_other("/settings/sending", "test")


ROUTES = [
    Route("/settings/sending", sending_page, methods=["GET"]),
    Route("/settings/sending", switch, methods=["POST"]),
    Route("/settings/sending/test", test, methods=["POST"]),
]
