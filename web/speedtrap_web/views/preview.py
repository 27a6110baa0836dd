"""What a plan or a rule would change, in sentences."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from speedtrap_web.graphql.answers import BreachChange, Preview
from speedtrap_web.views.words import Words

MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Foretold:
    """`sentences` say how much; `changes` name the breaches, the first twenty."""

    sentences: tuple[str, ...]
    changes: tuple[str, ...]


def foretold_by(answer: Mapping[str, Any] | None, words: Words) -> Foretold | None:
    """Of graph's whole answer; None where nobody asked."""
    if answer is None:
        return None
    return foretold(Preview.model_validate(answer["rejudgePreview"]), words)


def foretold(preview: Preview, words: Words) -> Foretold:
    counts = (
        ("preview.runs_changed", preview.runs_changed),
        ("preview.appearing", preview.appearing),
        ("preview.vanishing", preview.vanishing),
        ("preview.changing", preview.changing),
        ("preview.announced", sum(change.would_be_announced for change in preview.changes)),
        ("preview.withdrawn", sum(len(change.withdrawn or ()) for change in preview.changes)),
        ("preview.contradicted", sum(len(change.contradicted or ()) for change in preview.changes)),
    )
    told = tuple(words.plural(key, n) for key, n in counts if n)
    judged = words.plural("preview.runs", preview.runs)
    return Foretold(
        sentences=(judged, *(told or (words.text("preview.nothing"),))),
        changes=tuple(_change(change, words) for change in preview.changes[:MOST_SHOWN]),
    )


def _change(change: BreachChange, words: Words) -> str:
    was, will = change.before, change.after
    either = will or was
    if either is None:
        return change.probe
    is_alike = was is not None and will is not None and was.count == will.count
    return words.text(
        "preview.alike" if is_alike else f"preview.{change.kind}",
        probe=change.probe,
        reference=was.reference if was else "",
        since=words.when(either.first_run_at),
        before=words.catalogue.number(was.count if was else 0),
        after=words.catalogue.number(will.count if will else 0),
    )
