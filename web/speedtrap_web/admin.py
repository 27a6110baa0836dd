"""Logging in, and the plan: what only an admin may change, asked of graph with the admin's key."""

from datetime import date, datetime, time
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo, available_timezones

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from speedtrap_web import site as web
from speedtrap_web.answers import Probe
from speedtrap_web.catalogue import Catalogue
from speedtrap_web.forms import read_form
from speedtrap_web.graph import KeyRefusedError, RefusedError
from speedtrap_web.session import Session, own_path
from speedtrap_web.views.words import zone_of

LONGEST_KEY = 512
PLAN_FIELDS = ("provider", "download_mbps", "upload_mbps", "time_zone", "since", "probe")


def to_login(request: Request, why: str) -> Response:
    """Off to the login, and back to the page that asked for it."""
    back = request.url.path if request.method == "GET" else "/"
    return RedirectResponse("/login?" + urlencode({"why": why, "next": back}), 303)


def seen_other(path: str, done: str) -> Response:
    return RedirectResponse(f"{path}?{urlencode({'done': done})}", 303)


async def login_form(request: Request) -> Response:
    site = web.of(request)
    why = request.query_params.get("why", "")
    message = site.catalogue(request).text(f"login.{why}") if why in {"expired", "needed"} else ""
    return _login_page(request, message, next_path=own_path(request.query_params.get("next")))


async def login(request: Request) -> Response:
    """Takes an admin key; graph itself says whose it is."""
    site = web.of(request)
    words = site.catalogue(request)
    form = await read_form(request)
    key = form.get("key", "")
    next_path = own_path(form.get("next"))
    client = request.client.host if request.client else ""
    wait_s = site.throttle.wait_s(client)
    if wait_s:
        response = _login_page(
            request, words.text("login.throttled", seconds=wait_s), 429, next_path
        )
        response.headers["Retry-After"] = str(wait_s)
        return response
    if not key:
        return _login_page(request, words.text("login.missing"), 400, next_path)
    try:
        caller = await _caller(site, key)
    except KeyRefusedError:
        site.throttle.failed(client)
        return _login_page(request, words.text("login.wrong"), 403, next_path)
    if caller["role"] != "ADMIN":
        site.throttle.failed(client)
        message = words.text(
            "login.not_admin", name=caller["name"], role=str(caller["role"]).lower()
        )
        return _login_page(request, message, 403, next_path)
    site.throttle.succeeded(client)
    response = RedirectResponse(next_path, 303)
    site.sessions.begin(request, response, Session(name=caller["name"], key=key))
    return response


async def _caller(site: web.Site, key: str) -> dict[str, Any]:
    # A header can carry printable ASCII only; anything else is no key that was ever made.
    if len(key) > LONGEST_KEY or not key.isascii() or not key.isprintable():
        raise KeyRefusedError("not a key")
    caller: dict[str, Any] = (await site.graph.ask("me", key=key))["me"]
    return caller


def _login_page(
    request: Request, message: str, status: int = 200, next_path: str = "/"
) -> Response:
    context = {"message": message, "next_path": next_path}
    return web.of(request).page(request, "login.html", context, status)


async def logout(request: Request) -> Response:
    response = RedirectResponse("/", 303)
    web.of(request).sessions.end(request, response)
    return response


async def plan_form(request: Request) -> Response:
    if web.of(request).session(request) is None:
        return to_login(request, "needed")
    return await _plan_page(request, dict.fromkeys(PLAN_FIELDS, ""), {})


async def set_plan(request: Request) -> Response:
    """Checks what can be checked here; what graph refuses is shown beside the field as well."""
    site = web.of(request)
    session = site.session(request)
    if session is None:
        return to_login(request, "needed")
    form = await read_form(request)
    given = {name: form.get(name, "") for name in PLAN_FIELDS}
    plan, problems = read_plan(given, site.catalogue(request))
    if not problems:
        try:
            await site.graph.ask("setPlan", {"plan": plan}, session.key)
        except RefusedError as refusal:
            problems = {_form_field(refusal.field): refusal.message}
        else:
            return seen_other("/", "plan")
    return await _plan_page(request, given, problems, 400)


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
            plan[key] = _mbps(given[name])
            if plan[key] is None:
                problems[name] = words.text("plan.number")
    if given["time_zone"] and given["time_zone"] not in available_timezones():
        problems["time_zone"] = words.text("plan.zone")
    if given["probe"]:
        plan["probe"] = given["probe"]
    if given["since"] and "time_zone" not in problems:
        plan["since"] = _midnight(given["since"], given["time_zone"])
        if plan["since"] is None:
            problems["since"] = words.text("plan.date")
    return plan, problems


def _midnight(text: str, time_zone: str) -> str | None:
    """The start of the day *text* on the clock of *time_zone*."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return datetime.combine(day, time(), ZoneInfo(time_zone)).isoformat()


def _mbps(text: str) -> float | None:
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None


def _form_field(graph_field: str | None) -> str:
    """The form's name of a field that graph names as `plan.downloadMbps` or `downloadMbps`."""
    last = (graph_field or "").rsplit(".", 1)[-1]
    snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in last)
    return snake if snake in PLAN_FIELDS else ""


async def _plan_page(
    request: Request, given: dict[str, str], problems: dict[str, str], status: int = 200
) -> Response:
    site = web.of(request)
    words = site.catalogue(request)
    data = await site.graph.ask("overview")
    probes = [Probe.model_validate(probe) for probe in data["probes"]]
    known = {plan.id: plan for probe in probes for plan in probe.plans}
    lines = []
    for plan in sorted(known.values(), key=lambda plan: plan.since, reverse=True):
        always = plan.since.year <= 1970
        since = (
            words.text("plan.known.always")
            if always
            else words.when(plan.since, zone_of(plan), year=True)
        )
        down = words.plain(plan.download_mbps)
        lines.append(words.text("plan.known.line", provider=plan.provider, down=down, since=since))
    context = {
        "given": given,
        "problems": problems,
        "probes": [probe.name for probe in probes],
        "zones": sorted(available_timezones()),
        "known": lines,
    }
    return site.page(request, "plan.html", context, status)
