"""Writes what is sent about a breach. Pure: the same breach gives the same bytes.

Polite, short, checkable: it shows the good results too, names tools and times, claims no
motive and asks for one thing.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from twitter_text import parse_tweet

from speedtrap_bots.content import Content, File
from speedtrap_bots.letter.chart import chart_png
from speedtrap_bots.letter.clean import clean
from speedtrap_bots.letter.evidence import (
    Evidence,
    chart_in_words,
    episode_of,
    gather,
    runs_csv,
)
from speedtrap_bots.letter.pack import pack_pdf
from speedtrap_bots.model import Breach, Stage
from speedtrap_bots.rendering import render

MAX_POST_WEIGHT = 280
CHART, CSV, PACK = "chart.png", "runs.csv", "evidence.pdf"


class Templates:
    """Where the operator's own templates are. Set once, by the composition root."""

    folder: Path | None = None


def letter(
    breach: Breach, stage: Stage, *, sender: str, contact: str, covered: Sequence[Breach] = ()
) -> Content:
    """The mail: *sender* signs it, *contact* is where answers and an opt-out go."""
    evidence, csv = gather(breach), runs_csv(breach, covered)
    episodes = [episode_of(other) for other in covered or [breach]]
    names = {
        "e": asdict(evidence),
        "csv_sha256": hashlib.sha256(csv).hexdigest(),
        "sender": clean(sender),
        "contact": clean(contact, 254),
        "chart_alt": chart_in_words(evidence),
        "has_pack": stage is Stage.REMINDER,
        "episodes": [asdict(episode) for episode in episodes],
        "one_rule": len({(e.rule, e.plan) for e in episodes}) == 1,
        "one_probe": len({e.probe for e in episodes}) == 1,
    }
    subject, text, html = _render(
        names, *(f"{stage.value.lower()}.{kind}" for kind in ("subject.txt", "txt", "html"))
    )
    files = [_chart(breach, evidence), File(CSV, "text/csv", csv)]
    if stage is Stage.REMINDER:
        files.append(File(PACK, "application/pdf", pack_pdf(breach, form=False)))
    return Content(subject=clean(subject, 180), text=text, html=html, files=tuple(files))


def post(breach: Breach, stage: Stage) -> Content:
    """A public post with the chart as its picture."""
    return Content(text=post_text(breach, stage), files=(_chart(breach, gather(breach)),))


def post_text(breach: Breach, stage: Stage) -> str:
    """At most 280 weighted characters: no mention, no tag, no link."""
    names = {"e": asdict(gather(breach))}
    long, short = _render(names, *(f"{stage.value.lower()}.{k}.txt" for k in ("post", "short")))
    text = " ".join(long.split())
    if parse_tweet(text).weightedLength > MAX_POST_WEIGHT:
        text = " ".join(short.split())
    return text


def note(breach: Breach, stage: Stage) -> Content:
    """A few lines for the subscriber, with the chart and the figures."""
    evidence = gather(breach)
    subject, text = _render(
        {"e": asdict(evidence)},
        *(f"{stage.value.lower()}.note.{kind}" for kind in ("subject.txt", "txt")),
    )
    files = (_chart(breach, evidence), File(CSV, "text/csv", runs_csv(breach)))
    return Content(subject=clean(subject, 180), text=text, files=files)


def _chart(breach: Breach, evidence: Evidence) -> File:
    return File(CHART, "image/png", chart_png(breach), chart_in_words(evidence))


def _render(names: Mapping[str, object], *templates: str) -> list[str]:
    return render(templates, names, Templates.folder)
