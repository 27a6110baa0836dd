"""The evidence pack: a PDF with everything, for a regulator's form that a person files.

What probes and servers say goes in as JSON and never becomes typst's source. The same breach gives
the same bytes.
"""

import hashlib
import json
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import typst
from matplotlib import get_data_path

from speedtrap_bots.errors import LetterError
from speedtrap_bots.letter.chart import chart_svg, hours_svg
from speedtrap_bots.letter.evidence import Evidence, chart_in_words, gather, runs_csv
from speedtrap_bots.letter.runs import all_runs
from speedtrap_bots.model import Breach

LAYOUT = Path(__file__).with_name("pack.typ")
RUNS_AT_MOST = 1000
"""The ledger gives at most 500 of the breach and 500 around it."""
STANDARD: Final = "ua-1"
"""PDF/UA: headings, tables and pictures can be read aloud."""

_STAGES = {
    "OPENING": "a complaint", "REMINDER": "a reminder", "RECOVERY": "that it had recovered",
    "DIGEST": "a summary",
}  # fmt: skip
_WAYS = {"mail": "by mail", "twitter": "by a post on X"}
"""The channels that reach the provider; the others tell the subscriber."""


def pack_pdf(breach: Breach, *, form: bool = True) -> bytes:
    """The pack; without *form* it has no page for a complaint form, as it goes to the provider.

    Raises LetterError when it cannot be set.
    """
    source = LAYOUT.read_bytes()
    data = json.dumps(pack_data(breach, form=form), sort_keys=True)
    try:
        made = _compiler().compile(
            source,
            format="pdf",
            sys_inputs={"data": data},
            pdf_standards=STANDARD,
            timestamp=int(_written_at(breach)),
        )
    except typst.TypstError as error:
        raise LetterError(f"the evidence pack cannot be set: {error.message}") from error
    if not isinstance(made, bytes):
        raise LetterError("the evidence pack cannot be set: no document came out")
    return made


def runs_json(breach: Breach) -> bytes:
    """The breach, its rule and plan, and every run with every tool's word, as JSON."""
    breach = breach.model_copy(update={"window": tuple(all_runs(breach))})
    document = breach.model_dump(mode="json", by_alias=True, exclude={"id", "notices"})
    text = json.dumps(document, indent=1, sort_keys=True, allow_nan=False)
    return f"{text}\n".encode()


def pack_data(breach: Breach, *, form: bool = True) -> dict[str, Any]:
    """What the layout fills in: strings that are cleaned, and pictures as SVG."""
    e = gather(breach, max_rows=RUNS_AT_MOST)
    files = {"runs.csv": runs_csv(breach), "runs.json": runs_json(breach)}
    return {
        "e": asdict(e),
        "title": f"{e.metric.capitalize()} of our {e.provider} line: evidence",
        "summary": _summary(e),
        "figures": _figures(e),
        "correspondence": _correspondence(breach),
        "form": _form(e, breach) if form else [],
        "charts": [
            {"svg": chart_svg(breach), "alt": chart_in_words(e), "caption": "Each run over time"},
            {
                "svg": hours_svg(breach),
                "alt": f"The same {e.window_count} runs over their hour of the day in {e.zone}.",
                "caption": "The same runs over their hour of the day",
            },
        ],
        "limits": _limits(e),
        "hashes": [
            {"name": name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in files.items()
        ],
    }


def _summary(e: Evidence) -> str:
    state = f" It ended {e.resolved_at}, after {e.duration}." if e.resolved_at else ""
    share = f" ({e.breach_share} of the subscribed {e.subscribed} Mbps)" if e.breach_share else ""
    return (
        f"From {e.first_at} to {e.last_at}, {e.times} of our line's"
        f" {e.metric} were {e.broken}, with a median of {e.breach_median}{share}.{state}"
        f" All {e.window_count} measurements of the period are in this document;"
        f" {e.good_count} of them kept the rule."
    )


def _figures(e: Evidence) -> list[list[str]]:
    month = e.month
    whole = f"{e.judged_count} runs that count of {e.window_count}, median {e.window_median}"
    rows = [
        ["Provider and plan", e.plan],
        ["Rule", f"{e.rule}; {e.counted}"],
        ["In the breach", f"{e.count}{e.in_a_row}, median {e.breach_median}"],
        ["Whole period", whole],
        ["Lasted", e.duration if e.resolved_at else f"{e.duration} so far"],
    ]
    if month:
        rows += [
            [f"Download in the month ({month.span})", f"median {month.median}, n = {month.n}"],
            ["Consistent speed", month.consistent and f"{month.consistent}: 80 % of the runs at"
             " peak reach it"],
            ["Peak", month.peak and f"{month.peak} (weekdays 19:00 to 23:00, {e.zone})"],
            ["Off peak", month.off_peak],
            ["Outages", month.outages],
        ]  # fmt: skip
    return [row for row in rows if row[1]]


def _form(e: Evidence, breach: Breach) -> list[list[str]]:
    """The fields of the FCC's informal complaint about internet service, in its order."""
    issue = "Speed" if e.is_throughput else "Speed (the nearest of the form's choices)"
    written = _correspondence(breach)
    told = "; ".join(written) or "nothing was sent by speedtrap: tell the provider first"
    return [
        ["Your name, email, phone, address", "yours; not in this document"],
        ["Subject", f"Internet {e.metric} {e.broken} [{e.reference}]"],
        ["Issue", f"Internet: {issue}"],
        ["How you get the internet", "yours to choose (cable, fiber, DSL, ...)"],
        ["Company", e.provider],
        ["Account number", "yours; on the form only, never in a public post"],
        ["Steps already taken", told],
        ["Description", _summary(e)],
        ["What would resolve it", f"The provider restores the {e.metric} that was subscribed to, or"
         " says what it can deliver at this address."],
        ["Attach", "this PDF and runs.csv"],
    ]  # fmt: skip


def _correspondence(breach: Breach) -> list[str]:
    """What reached the provider, oldest first; who exactly got it is nobody's business here."""
    zone = ZoneInfo(breach.plan.time_zone)
    sent = sorted(
        (notice.sent_at, notice.stage, notice.channel)
        for notice in breach.notices
        if notice.sent_at and notice.status == "SENT" and notice.channel in _WAYS
    )
    return [
        f"{at.astimezone(zone):%Y-%m-%d %H:%M %Z}: {_STAGES.get(stage, 'a message')},"
        f" {_WAYS[channel]}"
        for at, stage, channel in sent
    ]


def _limits(e: Evidence) -> list[str]:
    return [
        "This is one home's line, measured from inside. It says what reached this home, not why.",
        f"Times are in {e.zone}. Throughput is megabits (10^6 bits) per second of payload.",
        "A run that was not judged (the tools failed or were refused, the household used the line,"
        " or the home network was slower than the rule) neither extends nor ends the breach.",
    ]


def _written_at(breach: Breach) -> float:
    """The moment in the file's metadata: the evidence's newest, not that of printing."""
    return max(breach.last_run_at, breach.resolved_at or breach.last_run_at).timestamp()


@cache
def _compiler() -> typst.Compiler:
    """DejaVu comes with matplotlib: the same letters on every machine, and as in the charts."""
    return typst.Compiler(
        font_paths=[f"{get_data_path()}/fonts/ttf"], ignore_system_fonts=True, root=LAYOUT.parent
    )
