"""The last good form of each public page, for the time in which graph does not answer."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

MOST_PAGES = 64
MOST_CHARACTERS = 8_000_000
"""Of all pages together: some megabytes of memory, whatever is asked for."""


@dataclass(frozen=True, slots=True)
class KnownPage:
    html: str
    at: datetime


class LastKnown:
    """Bounded; what was not shown for the longest time goes first."""

    def __init__(
        self, most_pages: int = MOST_PAGES, most_characters: int = MOST_CHARACTERS
    ) -> None:
        self._most_pages = most_pages
        self._most_characters = most_characters
        self._characters = 0
        self._pages: OrderedDict[str, KnownPage] = OrderedDict()

    def keep(self, key: str, page: KnownPage) -> None:
        self._forget(key)
        self._pages[key] = page
        self._characters += len(page.html)
        while len(self._pages) > self._most_pages or self._characters > self._most_characters:
            self._forget(next(iter(self._pages)))

    def last(self, key: str) -> KnownPage | None:
        page = self._pages.get(key)
        if page is not None:
            self._pages.move_to_end(key)
        return page

    def _forget(self, key: str) -> None:
        page = self._pages.pop(key, None)
        if page is not None:
            self._characters -= len(page.html)
