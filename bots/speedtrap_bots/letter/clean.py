"""Strings from probes, tools and servers are data: made harmless before they reach a letter."""

import re
import unicodedata

MAX_NAME_CHARACTERS = 60
MAX_SENTENCE_CHARACTERS = 160

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]"
)
"""Zero-width, bidirectional, filler and tag characters: text that reads differently than it is."""
_MENTION_MARKS = re.compile("[@\uff20#\uff03$\uff04\ufe69\ufe5f\ufe6b]")
_DOT_IN_A_WORD = re.compile(r"(?<=\w)[.\u3002\uff0e\uff61](?=\w)")
_SCHEME = re.compile(r"\w+://", re.ASCII)
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def clean(text: str | None, limit: int = MAX_NAME_CHARACTERS) -> str:
    """One line of visible NFC text of at most *limit* characters.

    `=?` is broken up, because CPython before 3.11.10 decodes it inside header values
    (CVE-2024-6923).
    """
    # Cut first: normalizing a megabyte is work that a hostile probe would order.
    line = unicodedata.normalize("NFC", (text or "")[: limit * 4])
    line = _INVISIBLE.sub("", line)
    line = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in line)
    line = " ".join(line.split()).replace("=?", "= ?")
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def clean_for_post(text: str | None, limit: int = 40) -> str:
    """Also without anything that a social network turns into a mention, tag, cashtag or link."""
    line = _MENTION_MARKS.sub("", clean(text, limit))
    return _DOT_IN_A_WORD.sub(" ", _SCHEME.sub("", line)).strip()


def csv_cell(text: str) -> str:
    """*text* so that a spreadsheet shows it and never computes it."""
    return "'" + text if text.startswith(_FORMULA_STARTS) else text
