"""graph's reasons in the reader's language: of the ledger, and of a run's outcome.

graph writes them in English, and they stay on record as they were written. Those of its own making
are known by the English catalogue's wording; a person's and the other side's own words stay theirs.
"""

import re
from collections.abc import Mapping
from functools import cache

from speedtrap_web.text.catalogue import EN, Catalogue

_PLACE = re.compile(r"\\{(\w+)\\}")
_OF_WORDS = frozenset({"why", "when", "doubt", "nothing", "failures", "tools", "metric", "metrics"})
"""The places that hold more than one word; the others hold a number or a tool's name."""
_NUMBER = re.compile(r"\d+\.\d+")


def reason(text: str, catalogue: Catalogue) -> str:
    """Why a notice is where it is, as the reader would say it; unknown words as they are."""
    return _said("because.", text, catalogue)


def judgement(text: str, catalogue: Catalogue) -> str:
    """Why a run's outcome is what it is, likewise."""
    return _said("judged.", text, catalogue)


def _said(kind: str, text: str, catalogue: Catalogue) -> str:
    for name, pattern in _patterns(kind).items():
        if found := pattern.fullmatch(text):
            places = {
                place: _said(kind, words, catalogue) for place, words in found.groupdict().items()
            }
            return catalogue.text(f"{kind}{name}", **places)
    for mark in ("; ", ", "):
        first, several, rest = text.partition(mark)
        if several:
            return f"{_said(kind, first, catalogue)}{mark}{_said(kind, rest, catalogue)}"
    return text.replace(".", catalogue.marks["decimal"]) if _NUMBER.fullmatch(text) else text


@cache
def _patterns(kind: str) -> Mapping[str, re.Pattern[str]]:
    """The longest wording first: it says the most."""
    mine = [(words, key) for key, words in EN.words.items() if key.startswith(kind)]
    return {
        key.removeprefix(kind): re.compile(_PLACE.sub(_place, re.escape(words)), re.DOTALL)
        for words, key in sorted(mine, key=lambda one: -len(one[0]))
    }


def _place(found: re.Match[str]) -> str:
    name = found[1]
    return f"(?P<{name}>.+)" if name in _OF_WORDS else f"(?P<{name}>[^\\s:]+)"
