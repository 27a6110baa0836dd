"""What every view needs to put its figures into words: the language, the zone, the moment."""

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from markupsafe import Markup

from speedtrap_web.graphql.answers import Plan, Rule
from speedtrap_web.http.freshness import Freshness
from speedtrap_web.text.bidi import visible
from speedtrap_web.text.catalogue import NARROW_SPACE, Catalogue
from speedtrap_web.views.line import ranges

ENOUGH_TO_JUDGE = 6
"""Fewer figures than this get no colour and no verdict; the service report draws the same line."""


@dataclass(frozen=True, slots=True)
class Words:
    """What they say of days and years holds until midnight on the clock of `zone`."""

    catalogue: Catalogue
    zone: tzinfo
    freshness: Freshness

    def __post_init__(self) -> None:
        today = self.now.astimezone(self.zone).date()
        self.freshness.ends(ranges.midnight(today + ranges.DAY, self.zone))

    @property
    def now(self) -> datetime:
        return self.freshness.now

    def text(self, key: str, **values: object) -> str:
        """Markup if one of *values* is."""
        if not any(isinstance(value, Markup) for value in values.values()):
            return self.catalogue.text(key, **values)
        shown = {name: visible(value) for name, value in values.items()}
        pattern = Markup(self.catalogue.words[key])  # noqa: S704 - our own words
        return pattern.format(space=NARROW_SPACE, **shown)

    def plural(self, key: str, n: int, **values: object) -> str:
        return self.catalogue.plural(key, n, **values)

    def when(self, moment: datetime) -> str:
        """A time of day, with its year only when it is not this one."""
        other_year = moment.astimezone(self.zone).year != self.now.astimezone(self.zone).year
        return self.catalogue.when(moment, self.zone, year=other_year)

    def day(self, moment: datetime) -> str:
        """The day, with its year only when it is not this one."""
        local = moment.astimezone(self.zone)
        other_year = local.year != self.now.astimezone(self.zone).year
        day = self.catalogue.day(moment, self.zone)
        return f"{day} {local.year}" if other_year else day

    def ago(self, moment: datetime) -> Markup:
        """A moment in the past; the page's script says instead how long ago that is."""
        return self._time(moment, self.when(moment), "instead")

    def when_and_ago(self, moment: datetime) -> Markup:
        """The same, where there is place for both."""
        return self._time(moment, self.when(moment), "beside")

    def lasted(self, since: datetime) -> Markup:
        """How long it has been, no finer than anybody needs to know."""
        span = self.now - since
        whole = self.catalogue.whole(span)
        self.freshness.ends(since + whole + self.catalogue.step(span))
        return self._time(since, self.catalogue.lasted(whole), "for")

    def _time(self, moment: datetime, text: str, ago: str) -> Markup:
        time = Markup('<time datetime="{}" data-ago="{}">{}</time>')
        return time.format(moment.astimezone(UTC).isoformat(timespec="seconds"), ago, text)

    def rule(self, rule: Rule | None) -> str:
        """The bound of a download rule, as in "below ..."."""
        if rule is not None and rule.below_ratio is not None:
            return self.text("rule.ratio", ratio=self.catalogue.percent(rule.below_ratio))
        if rule is not None and rule.below_mbps is not None:
            return self.text("rule.mbps", mbps=self.catalogue.plain(rule.below_mbps))
        if rule is not None and rule.above_ms is not None:
            return self.text("rule.ms", ms=self.catalogue.plain(rule.above_ms))
        if rule is not None and rule.above_ratio is not None:
            return self.catalogue.percent(rule.above_ratio, 1)
        return self.text("rule.none")

    def rule_sentence(self, rule: Rule) -> str:
        """When it opens a breach."""
        above = rule.above_ms is not None or rule.above_ratio is not None
        bound = self.text("rule.above" if above else "rule.below", bound=self.rule(rule))
        more = self.catalogue.number(rule.more_than)
        if rule.out_of is None:
            return self.plural("rule.in_a_row", rule.more_than, bound=bound)
        last = self.catalogue.number(rule.out_of)
        return self.text("rule.out_of", more=more, last=last, bound=bound)

    def rule_short(self, rule: Rule) -> str:
        if rule.below_ratio is not None:
            return self.catalogue.percent(rule.below_ratio)
        return self.rule(rule)


def zone_of(plan: Plan | None) -> tzinfo:
    """The plan's time zone; UTC without a plan, or where this machine does not know the zone."""
    if plan is None:
        return UTC
    try:
        return ZoneInfo(plan.time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC
