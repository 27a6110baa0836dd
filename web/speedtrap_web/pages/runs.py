"""Every run: the table, one run's page, its deletion by an admin, and all of them as a file."""

from collections.abc import AsyncIterator
from datetime import UTC
from typing import Any
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from speedtrap_web import site as web
from speedtrap_web.graphql.answers import DeletedRun, Probe, Run
from speedtrap_web.graphql.client import RefusedError
from speedtrap_web.http.forms import read_form
from speedtrap_web.pages.login import seen_other, to_login
from speedtrap_web.pages.overview import measured_probes
from speedtrap_web.views import csv_rows
from speedtrap_web.views.line import ranges
from speedtrap_web.views.runs import OUTCOMES, run_details, run_table
from speedtrap_web.views.words import Words, zone_of

ON_A_PAGE = 50
EXPORTED_AT_ONCE = 500
LONGEST_REASON = 1000
FILTERS = ("probe", "outcome", "since", "until")


async def run_list(request: Request) -> Response:
    """`/runs`: newest first, by probe, outcome and dates, from a cursor on."""
    site = web.of(request)
    state = await site.state(request)
    if state.held is not None:
        return web.not_modified(state.held)
    probes = await measured_probes(site)
    words = _words(request, probes)
    chosen = _chosen(request)
    wanted = {**_variables(chosen, words), "first": ON_A_PAGE}
    after = request.query_params.get("after")
    page = (await site.graph.ask("runs", {**wanted, "after": after}))["runs"]
    found = [Run.model_validate(node) for node in page["nodes"]]
    info = page["pageInfo"]
    context = {
        "table": run_table(found, words),
        "chosen": chosen,
        "probes": [probe.name for probe in probes],
        "outcomes": OUTCOMES,
        "older": _address(chosen, info["endCursor"]) if info["hasNextPage"] else None,
        "newest": _address(chosen) if after else None,
        "export": urlencode({name: value for name, value in chosen.items() if value}),
        "zone": words.catalogue.zone_name(words.zone),
    }
    return site.page(request, "runs.html", context, state=state)


def _words(request: Request, probes: list[Probe]) -> Words:
    """On the clock of the probe that is asked for, or of the first."""
    wanted = request.query_params.get("probe")
    found = next((probe for probe in probes if probe.name == wanted), None)
    probe = found or (probes[0] if probes else None)
    zone = zone_of(probe.plan if probe else None)
    return web.of(request).words(request, zone)


def _chosen(request: Request) -> dict[str, str]:
    chosen = {name: request.query_params.get(name, "") for name in FILTERS}
    if chosen["outcome"] not in OUTCOMES:
        chosen["outcome"] = ""
    return chosen


def _variables(chosen: dict[str, str], words: Words) -> dict[str, Any]:
    since, until = chosen["since"], chosen["until"]
    today = words.now.astimezone(words.zone).date().isoformat()
    span = None
    if since or until:
        first = since or ranges.FIRST_DAY.isoformat()
        span = ranges.own_dates(first, until or today, words.now, words.zone)
    last = ranges.DAY + span.last_day if span and span.last_day else None
    return {
        "probe": chosen["probe"] or None,
        "outcomes": [chosen["outcome"]] if chosen["outcome"] else None,
        "since": span.since.isoformat() if span else None,
        "until": ranges.midnight(last, words.zone).isoformat() if last else None,
    }


def _address(chosen: dict[str, str], after: str | None = None) -> str:
    query = {**{name: value for name, value in chosen.items() if value}}
    if after:
        query["after"] = after
    return "/runs" + (f"?{urlencode(query)}" if query else "")


async def run_page(request: Request) -> Response:
    return await _page(request)


async def _page(
    request: Request, problem: str = "", reason: str = "", status: int = 200
) -> Response:
    site = web.of(request)
    state = await site.state(request)
    if state.held is not None and not problem:
        return web.not_modified(state.held)
    run_id = str(request.path_params["id"])
    answer = await site.graph.ask("run", {"id": run_id})
    if answer["deletedRun"] is not None:
        return _tombstone(request, DeletedRun.model_validate(answer["deletedRun"]))
    if answer["run"] is None:
        raise HTTPException(404)
    run = Run.model_validate(answer["run"])
    words = site.words(request, zone_of(run.plan))
    context = {
        "run": run_details(run, words),
        "problem": problem,
        "reason": reason,
        "zone": words.catalogue.zone_name(words.zone),
    }
    return site.page(request, "run.html", context, status, state=state)


def _tombstone(request: Request, gone: DeletedRun) -> Response:
    site = web.of(request)
    words = site.words(request, UTC)
    values = {
        "when": words.when(gone.deleted_at),
        "by": gone.by,
        "reason": gone.reason,
        "started": words.when(gone.started_at),
        "probe": gone.probe,
    }
    context = {
        "title": words.text("run.deleted.title"),
        "text": words.text("run.deleted.text", **values),
        "retry": False,
    }
    return site.page(request, "error.html", context, 410)


async def delete(request: Request) -> Response:
    """Needs an admin and a reason; graph keeps who, when and why."""
    site = web.of(request)
    session = site.session(request)
    if session is None:
        return to_login(request, "needed")
    reason = (await read_form(request)).get("reason", "")[:LONGEST_REASON]
    if not reason:
        return await _page(request, site.catalogue(request).text("reason.missing"), status=400)
    run_id = str(request.path_params["id"])
    try:
        await site.graph.ask("deleteRun", {"id": run_id, "reason": reason}, session.key)
    except RefusedError as refusal:
        return await _page(request, refusal.message, reason, 409)
    return seen_other("/runs", "deleted")


async def export_csv(request: Request) -> Response:
    """Every run that the filters of `/runs` leave, streamed as it is read."""
    pages = await _pages(request)

    async def lines() -> AsyncIterator[str]:
        yield csv_rows.header()
        async for found in pages:
            yield csv_rows.rows(found)

    return _download(lines(), "text/csv; charset=utf-8", "speedtrap-runs.csv")


async def export_json(request: Request) -> Response:
    pages = await _pages(request)

    async def pieces() -> AsyncIterator[str]:
        state = "["
        async for found in pages:
            for run in found:
                yield state + run.model_dump_json(by_alias=True, exclude_none=True)
                state = ",\n"
        yield "[]\n" if state == "[" else "]\n"

    return _download(pieces(), "application/json", "speedtrap-runs.json")


async def _pages(request: Request) -> AsyncIterator[list[Run]]:
    """The first page is read at once, so that a refusal is still told as one."""
    site = web.of(request)
    words = _words(request, await measured_probes(site))
    wanted = {**_variables(_chosen(request), words), "first": EXPORTED_AT_ONCE}
    first = (await site.graph.ask("runs", wanted))["runs"]

    async def read() -> AsyncIterator[list[Run]]:
        page = first
        while True:
            yield [Run.model_validate(node) for node in page["nodes"]]
            if not page["pageInfo"]["hasNextPage"]:
                return
            after = page["pageInfo"]["endCursor"]
            page = (await site.graph.ask("runs", {**wanted, "after": after}))["runs"]

    return read()


def _download(content: AsyncIterator[str], media_type: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(content, media_type=media_type, headers=headers)


ROUTES = [
    Route("/runs", run_list),
    Route("/runs/{id:uuid}", run_page, methods=["GET"]),
    Route("/runs/{id:uuid}/delete", delete, methods=["POST"]),
    Route("/runs.csv", export_csv),
    Route("/runs.json", export_json),
]
