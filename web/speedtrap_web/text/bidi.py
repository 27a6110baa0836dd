"""Text of others on a page: none of its characters may turn the order of what stands around it."""

import re

_TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Unicode's controls of the writing direction (UAX 9)."""


def visible(value: object) -> object:
    """*value* with each such control as its code point, e.g. `⟨U+202E⟩`; markup stays as it is."""
    if type(value) is not str or value.isascii():
        return value
    return _TURNING.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", value)
