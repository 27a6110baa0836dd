"""The ledger's reasons in the reader's language.

graph writes them in English, and they stay on record as they were written. Those of its own making
are known by the English catalogue's wording; a person's and the other side's own words stay theirs.
"""

import re
from collections.abc import Mapping
from functools import cache

from speedtrap_web.catalogue import EN, Catalogue

_PREFIX = "reason."
_PLACE = re.compile(r"\\{(\w+)\\}")


def reason(text: str, catalogue: Catalogue) -> str:
    """*text* as the reader would say it; unknown words as they are."""
    for key, pattern in _patterns().items():
        if found := pattern.fullmatch(text):
            inner = {name: reason(words, catalogue) for name, words in found.groupdict().items()}
            return catalogue.text(key, **inner)
    return text


@cache
def _patterns() -> Mapping[str, re.Pattern[str]]:
    """The longest wording first: it says the most."""
    mine = [key for key in EN.words if key.startswith(_PREFIX)]
    return {
        key: re.compile(_PLACE.sub(r"(?P<\1>.+)", re.escape(EN.words[key])), re.DOTALL)
        for key in sorted(mine, key=lambda key: -len(EN.words[key]))
    }
