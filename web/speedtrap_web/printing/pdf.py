"""Pages on paper: a PDF of the month's report, and of what a breach stands on.

They show what the pages show, from the same views and the same words. What probes and servers say
goes in as JSON and never becomes typst's source. The same data gives the same bytes.
"""

import asyncio
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import typst
from markupsafe import Markup, escape

from speedtrap_web.text.catalogue import Catalogue
from speedtrap_web.views.breaches import BreachLine
from speedtrap_web.views.drawings.chart import HEIGHT, WIDTH, Dot, Picture
from speedtrap_web.views.drawings.evidence import Evidence
from speedtrap_web.views.line.tools import ToolTable
from speedtrap_web.views.runs import Table

TEMPLATES_DIR = Path(__file__).parents[1] / "templates"
STANDARD: Final[Literal["ua-1"]] = "ua-1"
"""PDF/UA: headings, tables and pictures can be read aloud."""
AT_ONCE = 1
"""Setting a page keeps a core busy; a second one would take it from those who read."""
WAITING_AT_MOST = 8
LONGEST_TEXT = 1000
PICTURE = "chart"
"""The entry that is SVG, made here of numbers."""
ROWS_AT_MOST = 500
"""Runs in an evidence PDF; all of them are in its CSV."""
COLOURS = {
    "median": "#1d4ed8", "band": "#bfdbfe", "breach": "#fee2e2", "subscribed": "#4b5563",
    "threshold": "#b45309", "broke": "#b91c1c", "kept": "#1d4ed8", "outage": "#b91c1c",
    "inconclusive": "#4b5563",
}  # fmt: skip
GLYPHS = {
    "median": "━", "band": "■", "breach": "■", "subscribed": "━", "threshold": "╌", "broke": "▼",
    "kept": "○", "outage": "▮", "inconclusive": "▯",
}  # fmt: skip
"""Of what a picture on paper shows: told apart by shape as well as by colour."""
_EDGES = {"left": 60, "top": 10, "right": 10, "bottom": 45}


class PrintingError(Exception):
    """The document cannot be set, or too many others wait to be."""


class Press:
    """Sets one document at a time, beside the event loop."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def pdf(self, layout: str, data: Mapping[str, Any], made: datetime) -> bytes:
        """*layout* names a template (`report`); *made* is the moment in the file's metadata.

        Raises PrintingError.
        """
        if self._waiting >= WAITING_AT_MOST:
            raise PrintingError("too many documents are being made")
        self._waiting += 1
        try:
            async with self._free:
                return await asyncio.to_thread(set_pdf, layout, data, made)
        finally:
            self._waiting -= 1


def set_pdf(layout: str, data: Mapping[str, Any], made: datetime) -> bytes:
    text = json.dumps(_inert(data), sort_keys=True)
    source = (TEMPLATES_DIR / f"{layout}.typ").read_bytes()
    try:
        return _compiled(source, text, made, STANDARD)
    except typst.TypstError:
        # A letter that no font here has may stand in no PDF/UA; elsewhere it is an empty box.
        try:
            return _compiled(source, text, made, None)
        except typst.TypstError as error:
            raise PrintingError(f"the document cannot be set: {error.message}") from error


def _compiled(source: bytes, text: str, made: datetime, standard: Literal["ua-1"] | None) -> bytes:
    document = _compiler().compile(
        source,
        format="pdf",
        sys_inputs={"data": text},
        pdf_standards=standard,
        timestamp=int(made.timestamp()),
    )
    if not isinstance(document, bytes):
        raise PrintingError("the document cannot be set: nothing came out")
    return document


@cache
def _compiler() -> typst.Compiler:
    """Only the letters that typst brings along: the same on every machine."""
    return typst.Compiler(ignore_system_fonts=True, root=TEMPLATES_DIR)


def _inert(value: Any) -> Any:
    """No character of others turns the order of what stands around it, or hides in it."""
    if isinstance(value, Mapping):
        return {key: inner if key == PICTURE else _inert(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_inert(inner) for inner in value]
    if not isinstance(value, str):
        return value
    if isinstance(value, Markup):
        value = value.striptags()
    cut = value if len(value) <= LONGEST_TEXT else f"{value[:LONGEST_TEXT]}…"
    return "".join(map(_shown, cut))


def _shown(letter: str) -> str:
    """Controls, joiners and private letters by their code point: PDF/UA has no place for them."""
    if letter.isspace() or not unicodedata.category(letter).startswith("C"):
        return letter
    return f"⟨U+{ord(letter):04X}⟩"


def report_data(context: Mapping[str, Any], words: Catalogue) -> dict[str, Any]:
    """What report.typ fills in, from what report.html is filled with."""
    t, chart = words.text, context["chart"]
    rows = [row for row in reversed(chart.rows) if row.n or row.outages or row.inconclusive]
    heat = context["heat"]
    days_head = [
        t(key)
        for key in (
            "table.when", "table.median", "table.p10", "table.p90", "table.n", "table.below",
            "table.outages",
        )
    ]  # fmt: skip
    verdict = context["verdict"]
    return {
        "language": words.language,
        "title": t("report.title", month=context["month_words"]),
        "source": f"{context['plan']} · {t('header.probe')} {context['probe']}",
        "made": t("report.made", when=context["made"]),
        "zone": t("site.times", zone=context["zone"]),
        "verdict": {"headline": verdict.headline, "text": " ".join(verdict.sentences)},
        "tiles": [asdict(tile) | {"glyph": tile.glyph} for tile in context["tiles"]],
        "chart_title": t("chart.title.download"),
        "chart": None if chart.empty else chart_svg(chart.picture),
        "chart_legend": _legend(
            ("median", t("chart.legend.median", bucket=chart.bucket)),
            ("band", t("chart.legend.band")),
            ("breach", t("chart.legend.breach")),
            ("outage", t("chart.legend.outage")),
            ("inconclusive", t("chart.legend.inconclusive")),
        ),
        "breaches_title": t("breaches.title"),
        "breaches": [breach_words(line) for line in context["breaches"]],
        "tools": tools_data(context["tools"], words),
        "heat_title": t("heat.title"),
        "heat": None if heat is None else asdict(heat),
        "days_title": t("report.days_title"),
        "days_head": days_head,
        "days": [
            [row.start, row.median, row.p10, row.p90, str(row.n), str(row.below), str(row.outages)]
            for row in rows
        ],
    }


def _legend(*entries: tuple[str, str]) -> list[list[str]]:
    """Glyph, colour and words of each."""
    return [[GLYPHS[key], COLOURS[key], words] for key, words in entries]


def breach_words(line: BreachLine) -> str:
    return (
        f"{line.glyph} {line.reference}: {line.figure}, {line.span}, {line.count} ({line.status})"
    )


def tools_data(table: ToolTable, words: Catalogue) -> dict[str, Any]:
    keys = ("tools.tool", "tools.median", "tools.ratio", "tools.n", "tools.failures")
    return {
        "title": words.text("tools.title"),
        "head": [words.text(key) for key in keys],
        "rows": [
            [
                f"{line.tool} ({words.text('tools.lan')})" if line.local else line.tool,
                line.median,
                line.ratio,
                line.n,
                str(line.failures),
            ]
            for line in table.lines
        ],
        "finding": table.finding or ("" if table.lines else words.text("tools.empty")),
    }


def evidence_data(context: Mapping[str, Any], words: Catalogue) -> dict[str, Any]:
    """What evidence.typ fills in, from what breach.html is filled with, without any letter."""
    t, line, breach = words.text, context["line"], context["breach"]
    table: Table = context["table"]
    keys = ("runs.when", "runs.outcome", "runs.best", "tools.ratio")
    return {
        "language": words.language,
        "title": t("breach.title", reference=line.reference),
        "figure": f"{line.glyph} {line.figure}",
        "status": line.status,
        "source": f"{context['plan']} · {t('header.probe')} {breach.probe}",
        "span": f"{line.span} · {line.count}",
        "rule": context["rule_sentence"],
        "zone": t("site.times", zone=context["zone"]),
        **_evidence_chart(context["evidence"]),
        "notices_title": t("breach.notices"),
        "notices": [
            f"{notice.glyph} {notice.name} {notice.status}" for notice in line.notices
        ] or [line.silent_because or t("breach.no_notice")],
        "runs_title": t("breach.runs"),
        "cut": t("pdf.cut", n=ROWS_AT_MOST) if len(table.lines) > ROWS_AT_MOST else "",
        "runs_head": [*(t(key) for key in keys), t("run.measurements"), t("run.conditions")],
        "runs": [
            [
                run.when,
                run.outcome,
                run.figure,
                run.ratio,
                "; ".join(
                    f"{tool}: {'✖ ' + cell.failure if cell.failure else cell.figure}"
                    for tool, cell in zip(table.tools, run.cells, strict=True)
                    if cell.failure or cell.figure
                ),
                run.conditions,
            ]
            for run in table.lines[:ROWS_AT_MOST]
        ],
    }  # fmt: skip


def _evidence_chart(found: Evidence | None) -> dict[str, Any]:
    if found is None:
        return {PICTURE: None}
    return {
        PICTURE: chart_svg(found.picture),
        "chart_title": found.title,
        "chart_alt": found.alt,
        "chart_legend": _legend(*found.legend),
    }


def chart_svg(picture: Picture) -> str:
    """The page's still picture with its marks; the numbers beside it say the same in words."""
    left, top = _EDGES["left"], _EDGES["top"]
    width = left + WIDTH + _EDGES["right"]
    height = top + HEIGHT + _EDGES["bottom"]
    text = 'font-size="15" font-family="Libertinus Serif" fill="#4b5563"'
    shaded = (
        f'<rect x="{span.x}" y="0" width="{span.width}" height="{HEIGHT}" '
        f'fill="{COLOURS["breach"]}"/>'
        for span in picture.breaches
    )
    grid = (
        f'<path d="M0 {mark.at * HEIGHT / 100}H{WIDTH}" stroke="#e5e7eb"/>'
        f'<text x="-8" y="{mark.at * HEIGHT / 100 + 5}" text-anchor="end" {text}>'
        f"{escape(mark.label)}</text>"
        for mark in picture.y_marks
    )
    days = (
        f'<text x="{mark.at * WIDTH / 100}" y="{HEIGHT + 38}" {text}>{escape(mark.label)}</text>'
        for mark in picture.x_marks
    )
    lines = (
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{thick}"'
        f' stroke-dasharray="{dashes}"/>'
        for path, colour, thick, dashes in (
            (picture.subscribed, COLOURS["subscribed"], 1.5, "none"),
            (picture.threshold, COLOURS["threshold"], 1.5, "7 5"),
            (picture.median, COLOURS["median"], 3, "none"),
        )
        if path
    )
    outages = (
        f'<rect x="{x}" y="{HEIGHT + 5}" width="4" height="12" fill="{COLOURS["outage"]}"/>'
        for x in picture.outages
    )
    inconclusive = (
        f'<rect x="{x}" y="{HEIGHT + 6}" width="3" height="10" fill="none" '
        f'stroke="{COLOURS["inconclusive"]}"/>'
        for x in picture.inconclusive
    )
    band = f'<path d="{picture.band}" fill="{COLOURS["band"]}"/>' if picture.band else ""
    dots = map(_dot, picture.dots)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">'
        f'<g transform="translate({left} {top})">'
        f"{''.join(shaded)}{''.join(grid)}{band}{''.join(lines)}{''.join(dots)}"
        f"{''.join(outages)}{''.join(inconclusive)}{''.join(days)}</g></svg>"
    )


def _dot(dot: Dot) -> str:
    """A triangle that points down for a run that is held against the line, else a circle."""
    if dot.broke:
        return (
            f'<path d="M{dot.x - 6:.1f} {dot.y - 5:.1f}h12l-6 10z" fill="{COLOURS["broke"]}" '
            'stroke="#fff"/>'
        )
    return (
        f'<circle cx="{dot.x}" cy="{dot.y}" r="4" fill="#fff" stroke="{COLOURS["kept"]}" '
        'stroke-width="2"/>'
    )
