"""How often Python looks for forgotten objects that hold each other, and where."""

import gc

_NEW_OBJECTS = 50_000
"""A batch of runs makes some 10,000 at once, nearly all without rings: after every 700, as Python
has it, looking took a fifth of the time of taking runs in."""


def look_seldom() -> None:
    """For a process that is set up and about to serve: what it has by now stays for good."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 20, 20)
