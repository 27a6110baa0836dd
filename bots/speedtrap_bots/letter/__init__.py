"""Writes what is sent about a breach. Pure: the same breach gives the same bytes.

Polite, short, checkable: it shows the good results too, names tools and times, claims no
motive and asks for one thing.
"""

from functools import cache

from jinja2 import PackageLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from twitter_text import parse_tweet

from speedtrap_bots.content import Content, File
from speedtrap_bots.letter.chart import chart_png
from speedtrap_bots.letter.clean import clean
from speedtrap_bots.letter.evidence import Evidence, gather, runs_csv
from speedtrap_bots.model import Breach, Stage

MAX_POST_WEIGHT = 280
CHART, CSV = "chart.png", "runs.csv"


def letter(breach: Breach, stage: Stage, *, sender: str, contact: str) -> Content:
    """The mail: *sender* signs it, *contact* is where answers and an opt-out go."""
    evidence = gather(breach)
    names = {"e": evidence, "sender": clean(sender), "contact": clean(contact, 254)}
    template = stage.value.lower()
    return Content(
        subject=clean(_render(f"{template}.subject.txt", names), 180),
        text=_render(f"{template}.txt", names),
        html=_render(f"{template}.html", {**names, "chart_alt": chart_in_words(evidence)}),
        files=(_chart(breach, evidence), File(CSV, "text/csv", runs_csv(breach))),
    )


def post(breach: Breach, stage: Stage) -> Content:
    """A public post of at most 280 weighted characters: no mention, no tag, no link."""
    evidence = gather(breach)
    text = " ".join(_render(f"{stage.value.lower()}.post.txt", {"e": evidence}).split())
    if parse_tweet(text).weightedLength > MAX_POST_WEIGHT:
        text = " ".join(_render(f"{stage.value.lower()}.short.txt", {"e": evidence}).split())
    return Content(text=text, files=(_chart(breach, evidence),))


def chart_in_words(evidence: Evidence) -> str:
    """The chart for who does not see it; at most 1000 characters, as X wants it."""
    return (
        f"Chart of {evidence.window_count} measurements of our {evidence.provider} line from "
        f"{evidence.window[0].when if evidence.window else evidence.first_at} on: "
        f"{evidence.count} in a row broke the rule "
        f"({evidence.rule}), with a median of {evidence.breach_median}; "
        f"{evidence.good_count} others around them did not."
    )[:1000]


def _chart(breach: Breach, evidence: Evidence) -> File:
    return File(CHART, "image/png", chart_png(breach), chart_in_words(evidence))


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        loader=PackageLoader("speedtrap_bots.letter"),
        undefined=StrictUndefined,
        autoescape=lambda name: name is not None and name.endswith(".html"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _render(template: str, names: dict[str, object]) -> str:
    return _environment().get_template(template).render(names)
