"""`/api/q/<operation>`: the page's own reads as JSON, for its script and for anybody's."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from speedtrap_web import site as web
from speedtrap_web.graphql.client import BadVariableError

PUBLIC_OPERATIONS = frozenset(
    {
        "breach",
        "breaches",
        "changes",
        "days",
        "history",
        "month",
        "overview",
        "plans",
        "range",
        "rules",
        "run",
        "runs",
    }
)
"""What pages that need no login are made of, asked with the page's own key."""

_TIMELESS = frozenset({"days", "history"})
"""Between two changes their answer is the same at any time of asking; in the others is what passes
by itself, such as a probe's silence.
"""


async def question(request: Request) -> Response:
    """The variables stand in the query string, a list's values separated by commas."""
    site = web.of(request)
    name = request.path_params["operation"]
    if name not in PUBLIC_OPERATIONS:
        raise BadVariableError("operation", f"{name} is not one", sorted(PUBLIC_OPERATIONS))
    variables = site.graph.operations[name].variables_from_text(_given(request))
    if name not in _TIMELESS:
        return web.revalidated(request, JSONResponse(await site.graph.ask(name, variables)))
    tag = site.tag(request, await site.changes())
    if web.has(request, tag):
        return web.not_modified(tag)
    return web.revalidated(request, JSONResponse(await site.graph.ask(name, variables)), tag)


def _given(request: Request) -> Mapping[str, str]:
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in given:
            raise BadVariableError(name, "is given twice; a list's values are separated by commas")
        given[name] = value
    return given


ROUTES = [
    Route("/api/q/{operation}", question),
]
