"""What a visitor who comes again may be told without making the page: that nothing has changed."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

MOST_PAGES = 2_000
"""Some hundred bytes each. What is forgotten is only made again, and is then found unchanged."""


@dataclass(frozen=True, slots=True)
class Made:
    """A page as it was made: of which state of graph's, and until when it says so by itself."""

    changes: str
    tag: str
    until: datetime


class Revisits:
    """Bounded; what was not asked for the longest time goes first."""

    def __init__(self, most_pages: int = MOST_PAGES) -> None:
        self._most_pages = most_pages
        self._made: OrderedDict[str, Made] = OrderedDict()

    def remember(self, key: str, made: Made) -> None:
        self._made[key] = made
        self._made.move_to_end(key)
        while len(self._made) > self._most_pages:
            self._made.popitem(last=False)

    def tag(self, key: str, changes: str, now: datetime) -> str | None:
        """The page's tag, if it would be the same to the letter if it were made now."""
        made = self._made.get(key)
        if made is None or made.changes != changes or now >= made.until:
            return None
        self._made.move_to_end(key)
        return made.tag
