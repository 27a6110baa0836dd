"""`GET /export/runs.ndjson` and `/export/runs.csv`: everything, for a spreadsheet or a backup."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from speedtrap_graph.api.context import Context
from speedtrap_graph.api.services import Services
from speedtrap_graph.errors import BadInputError, ForbiddenError, GraphError
from speedtrap_graph.services.read.runs_export import Format, Wanted, export, raw_since
from speedtrap_graph.timestamps import format_moment, parse_moment

RUNS_SINCE = "Speedtrap-Runs-Since"
"""A header, only where runs are kept for a time: from when on the export has all of them."""

_PARAMETERS = ("probe", "since", "until")


@dataclass(frozen=True)
class ExportView:
    """An ASGI app behind the gate, which found out who calls."""

    services: Callable[[], Services]
    form: Format

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        context = Context(caller=request.state.caller, services=self.services())
        try:
            wanted = _wanted(request, context)
            rows = export(context.services.store, wanted, self.form)
        except GraphError as error:
            status = 403 if isinstance(error, ForbiddenError) else 400
            told = {"code": error.code, "message": str(error), "field": error.field}
            return JSONResponse({"error": told}, status)
        headers = {
            "Content-Disposition": f'attachment; filename="runs.{self.form}"',
            "Cache-Control": "no-store",
        }
        since = await raw_since(context.services.store, wanted.probe)
        if since is not None:
            headers[RUNS_SINCE] = format_moment(since)
        return StreamingResponse(rows, media_type=self.form.media_type, headers=headers)


def _wanted(request: Request, context: Context) -> Wanted:
    """A probe's key gets its own runs, as it does from `runs`."""
    given = request.query_params
    for name in given:
        if name not in _PARAMETERS:
            allowed = ", ".join(_PARAMETERS)
            raise BadInputError(f"there is no {name[:64]!r} here, only {allowed}", field=name[:64])
    return Wanted(
        probe=context.own(given.get("probe")),
        since=_moment("since", given.get("since")),
        until=_moment("until", given.get("until")),
    )


def _moment(field: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_moment(text)
    except ValueError as error:
        raise BadInputError(f"{field} {error}", field=field) from error
