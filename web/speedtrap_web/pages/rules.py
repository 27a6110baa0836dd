"""The rules: what counts as too little, how often in a row, and until when."""

from datetime import UTC
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from speedtrap_web import site as web
from speedtrap_web.graphql.answers import Rule
from speedtrap_web.graphql.client import RefusedError
from speedtrap_web.http.forms import read_form, read_number
from speedtrap_web.pages.login import seen_other, to_login
from speedtrap_web.text.catalogue import Catalogue
from speedtrap_web.views.preview import foretold_by
from speedtrap_web.views.rules import BOUNDS, METRICS, rule_lines

FIELDS = (
    "metric", "bound", "unit", "more_than", "out_of", "recovered_after", "probe", "tool", "name",
    "only_at_peak",
)  # fmt: skip
PLACES = {
    "belowRatio": "bound", "belowMbps": "bound", "aboveMs": "bound", "aboveRatio": "bound",
    "moreThan": "more_than", "outOf": "out_of", "recoveredAfter": "recovered_after",
    "probe": "probe", "tool": "tool", "name": "name",
}  # fmt: skip
"""Where a field of graph's stands in the form."""
USUAL = {"metric": "DOWNLOAD", "bound": "50", "unit": "ratio", "more_than": "5"}


async def rule_form(request: Request) -> Response:
    """`?correct=ID` brings that rule into the form."""
    if web.of(request).session(request) is None:
        return to_login(request, "needed")
    return await _page(request, None, {})


async def set_rule(request: Request) -> Response:
    site = web.of(request)
    session = site.session(request)
    if session is None:
        return to_login(request, "needed")
    form = await read_form(request)
    given = {name: form.get(name, "") for name in FIELDS}
    rule, problems = read_rule(given, site.catalogue(request))
    preview = None
    if not problems:
        try:
            if form.get("look"):
                preview = await site.graph.ask("preview", {"rule": rule}, session.key)
            else:
                await site.graph.ask("setRule", {"rule": rule}, session.key)
                return seen_other("/settings/rules", "rule")
        except RefusedError as refusal:
            last = (refusal.field or "").rsplit(".", 1)[-1]
            problems = {PLACES.get(last, ""): refusal.message}
    return await _page(request, given, problems, preview)


async def delete_rule(request: Request) -> Response:
    site = web.of(request)
    session = site.session(request)
    if session is None:
        return to_login(request, "needed")
    form = await read_form(request)
    answer = await site.graph.ask("deleteRule", {"id": form.get("id", "")}, session.key)
    return seen_other("/settings/rules", "rule_deleted" if answer["deleteRule"] else "rule_usual")


def read_rule(given: dict[str, str], words: Catalogue) -> tuple[dict[str, Any], dict[str, str]]:
    """The rule that a form holds, and for each field that cannot be read, why."""
    problems: dict[str, str] = {}
    metric = given["metric"] if given["metric"] in METRICS else "DOWNLOAD"
    rule: dict[str, Any] = {"metric": metric, "onlyAtPeak": given["only_at_peak"] == "yes"}
    unit = given["unit"] if given["unit"] in BOUNDS else "ratio"
    bound = read_number(given["bound"])
    if bound is None:
        problems["bound"] = words.text("rules.bound.problem")
    else:
        field, factor = BOUNDS[unit].field_of(metric), BOUNDS[unit].factor
        rule[field] = bound / factor
    for name, key, needed in (
        ("more_than", "moreThan", True),
        ("recovered_after", "recoveredAfter", False),
        ("out_of", "outOf", False),
    ):
        if given[name].isascii() and given[name].isdigit():
            rule[key] = int(given[name][:9])
        elif given[name] or needed:
            problems[name] = words.text("rules.whole.problem")
    rule |= {name: given[name] for name in ("probe", "tool", "name") if given[name]}
    return rule, problems


async def _page(
    request: Request,
    given: dict[str, str] | None,
    problems: dict[str, str],
    preview: dict[str, Any] | None = None,
) -> Response:
    site = web.of(request)
    words = site.words(request, UTC)
    probes = (await site.graph.ask("rules"))["probes"]
    rules = [Rule.model_validate(rule) for probe in probes for rule in probe["rules"]]
    wanted = request.query_params.get("correct")
    corrected = next((rule for rule in rules if rule.id == wanted), None)
    context = {
        "given": given or (_as_given(corrected) if corrected else _usual()),
        "problems": problems,
        "corrects": corrected is not None,
        "probes": [probe["name"] for probe in probes],
        "tools": sorted({figure for probe in probes for figure in _tools(probe)}),
        "metrics": METRICS,
        "bounds": BOUNDS,
        "rules": rule_lines(rules, words),
        "preview": foretold_by(preview, words),
    }
    return site.page(request, "rules.html", context, 400 if problems else 200)


def _tools(probe: dict[str, Any]) -> list[str]:
    run = probe["lastRun"] or {"measurements": []}
    return [found["tool"] for found in run["measurements"] if not found["local"]]


def _usual() -> dict[str, str]:
    return {**dict.fromkeys(FIELDS, ""), **USUAL, "recovered_after": "1"}


def _as_given(rule: Rule) -> dict[str, str]:
    """What somebody would have typed."""
    unit, bound = next(
        (name, found * bound.factor)
        for name, bound in BOUNDS.items()
        if (found := bound.of(rule)) is not None
    )
    return {
        "metric": rule.metric,
        "bound": f"{bound:g}",
        "unit": unit,
        "more_than": str(rule.more_than),
        "out_of": "" if rule.out_of is None else str(rule.out_of),
        "recovered_after": str(rule.recovered_after),
        "probe": rule.probe or "",
        "tool": rule.tool or "",
        "name": rule.name,
        "only_at_peak": "yes" if rule.only_at_peak else "",
    }


ROUTES = [
    Route("/settings/rules", rule_form, methods=["GET"]),
    Route("/settings/rules", set_rule, methods=["POST"]),
    Route("/settings/rules/delete", delete_rule, methods=["POST"]),
]
