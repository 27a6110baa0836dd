"""How long a page stays as it is while nothing new arrives: until time alone changes a word of it.

Pages name moments, not ages ("12 minutes ago" is their script's word), so most of them stay for
long. Whoever puts into words what time changes says when: a silence of so many hours, the end of a
range's last bucket, a plan that begins.
"""

from datetime import datetime, timedelta

LONGEST = timedelta(hours=1)
"""Then a page is made anew and compared, so that a change that nobody foretold is seen as well."""


class Freshness:
    """`now` is when the page is made, `until` the first moment at which it may be another one."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.until = now + LONGEST

    def ends(self, moment: datetime | None) -> None:
        """At *moment* something on the page changes; what is past changes no more."""
        if moment is not None and self.now < moment < self.until:
            self.until = moment
