"""The ledger's reasons in the reader's language.

graph writes them in English, and they stay on record as they were written. Those of its own making
are known by the English catalogue's wording; a person's and the other side's own words stay theirs.
"""

import re
from collections.abc import Mapping
from functools import cache

from speedtrap_web.catalogue import EN, Catalogue

_PLACE = re.compile(r"\\{(\w+)\\}")


def reason(text: str, catalogue: Catalogue) -> str:
    """*text* as the reader would say it; unknown words as they are."""
    for name, pattern in _patterns().items():
        if found := pattern.fullmatch(text):
            said = {place: reason(words, catalogue) for place, words in found.groupdict().items()}
            return catalogue.text(f"because.{name}", **said)
    return text


@cache
def _patterns() -> Mapping[str, re.Pattern[str]]:
    """The longest wording first: it says the most."""
    mine = [(words, key) for key, words in EN.words.items() if key.startswith("because.")]
    return {
        key.removeprefix("because."): re.compile(
            _PLACE.sub(r"(?P<\1>.+)", re.escape(words)), re.DOTALL
        )
        for words, key in sorted(mine, key=lambda one: -len(one[0]))
    }
