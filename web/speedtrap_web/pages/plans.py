"""The plans: what was purchased, from when on. One more is added, or one is put right."""

from datetime import UTC, date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from speedtrap_web import site as web
from speedtrap_web.graphql.answers import Plan, Probe
from speedtrap_web.graphql.client import RefusedError
from speedtrap_web.http.forms import read_form, read_number
from speedtrap_web.pages.login import seen_other, to_login
from speedtrap_web.text.catalogue import Catalogue
from speedtrap_web.views.preview import foretold_by
from speedtrap_web.views.rules import plan_lines
from speedtrap_web.views.words import zone_of

FIELDS = ("provider", "download_mbps", "upload_mbps", "time_zone", "since", "probe", "moment")
"""`moment` is the start of a plan that is being put right, to the second."""
ALWAYS = 1970
"""The year that stands for "from the first run on"."""


async def plan_form(request: Request) -> Response:
    """`?correct=ID` brings that plan into the form."""
    if web.of(request).session(request) is None:
        return to_login(request, "needed")
    return await _page(request, None, {})


async def set_plan(request: Request) -> Response:
    """Checks what can be checked here; what graph refuses is shown beside the field as well."""
    site = web.of(request)
    session = site.session(request)
    if session is None:
        return to_login(request, "needed")
    form = await read_form(request)
    given = {name: form.get(name, "") for name in FIELDS}
    plan, problems = read_plan(given, site.catalogue(request))
    preview = None
    if not problems:
        try:
            if form.get("look"):
                preview = await site.graph.ask("preview", {"plan": plan}, session.key)
            else:
                await site.graph.ask("setPlan", {"plan": plan}, session.key)
                return seen_other("/", "plan")
        except RefusedError as refusal:
            problems = {_form_field(refusal.field): refusal.message}
    return await _page(request, given, problems, preview)


def read_plan(given: dict[str, str], words: Catalogue) -> tuple[dict[str, Any], dict[str, str]]:
    """The plan that a form holds, and for each field that cannot be read, why."""
    problems = {
        name: words.text("plan.missing")
        for name in ("provider", "download_mbps", "time_zone")
        if not given[name]
    }
    plan: dict[str, Any] = {"provider": given["provider"], "timeZone": given["time_zone"]}
    for name, key in (("download_mbps", "downloadMbps"), ("upload_mbps", "uploadMbps")):
        if given[name]:
            plan[key] = read_number(given[name])
            if plan[key] is None:
                problems[name] = words.text("plan.number")
    if given["time_zone"] and given["time_zone"] not in available_timezones():
        problems["time_zone"] = words.text("plan.zone")
    if given["probe"]:
        plan["probe"] = given["probe"]
    if given["since"] and "time_zone" not in problems:
        plan["since"] = _start(given)
        if plan["since"] is None:
            problems["since"] = words.text("plan.date")
    return plan, problems


def _start(given: dict[str, str]) -> str | None:
    """The start of the day on the plan's clock, or the very moment that was on that day before."""
    try:
        day, zone = date.fromisoformat(given["since"]), ZoneInfo(given["time_zone"])
        if given.get("moment"):
            before = datetime.fromisoformat(given["moment"])
            if before.tzinfo is not None and before.astimezone(zone).date() == day:
                return before.isoformat()
    except ValueError:
        return None
    return datetime.combine(day, time(), zone).isoformat()


def _form_field(graph_field: str | None) -> str:
    """The form's name of a field that graph names as `plan.downloadMbps` or `downloadMbps`."""
    last = (graph_field or "").rsplit(".", 1)[-1]
    snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in last)
    return snake if snake in FIELDS else ""


def _as_given(plan: Plan) -> dict[str, str]:
    """What somebody would have typed."""
    local = plan.since.astimezone(zone_of(plan))
    always = plan.since.year <= ALWAYS
    return {
        "provider": plan.provider,
        "download_mbps": f"{plan.download_mbps:g}",
        "upload_mbps": "" if plan.upload_mbps is None else f"{plan.upload_mbps:g}",
        "time_zone": plan.time_zone,
        "since": "" if always else f"{local:%Y-%m-%d}",
        "probe": plan.probe or "",
        "moment": "" if always else plan.since.isoformat(),
    }


async def _page(
    request: Request,
    given: dict[str, str] | None,
    problems: dict[str, str],
    preview: dict[str, Any] | None = None,
) -> Response:
    site = web.of(request)
    words = site.words(request, UTC)
    plans = [Plan.model_validate(plan) for plan in (await site.graph.ask("plans"))["plans"]]
    data = await site.graph.ask("overview")
    probes = [Probe.model_validate(probe) for probe in data["probes"]]
    wanted = request.query_params.get("correct")
    corrected = next((plan for plan in plans if plan.id == wanted), None)
    empty = dict.fromkeys(FIELDS, "")
    context = {
        "given": given or (_as_given(corrected) if corrected else empty),
        "problems": problems,
        "corrects": corrected is not None,
        "probes": [probe.name for probe in probes],
        "zones": sorted(available_timezones()),
        "plans": plan_lines(plans, words),
        "preview": foretold_by(preview, words),
    }
    return site.page(request, "plan.html", context, 400 if problems else 200)


ROUTES = [
    Route("/settings/plan", plan_form, methods=["GET"]),
    Route("/settings/plan", set_plan, methods=["POST"]),
]
