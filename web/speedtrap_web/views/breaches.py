"""Breaches, and for each what was said to whom, what waits, and why something was not sent."""

from dataclasses import dataclass

from speedtrap_web.graphql.answers import Breach, CoveredBreach, NoticeBrief, Rule, ServiceReport
from speedtrap_web.views.reasons import reason
from speedtrap_web.views.words import Words

WAITING = frozenset({"PLANNED"})
NOTICE_TONES = {
    "SENT": "good",
    "PLANNED": "warn",
    "UNKNOWN": "warn",
    "CHECKING": "warn",
    "DEAD": "bad",
}
NOTICE_GLYPHS = {
    "PLANNED": "✎",
    "APPROVED": "…",
    "DUE": "…",
    "CLAIMED": "…",
    "SENDING": "…",
    "SENT": "✓",
    "DEAD": "✖",
    "UNKNOWN": "?",
    "CHECKING": "?",
    "REJECTED": "\N{EN DASH}",
    "SUPPRESSED": "\N{EN DASH}",
    "SILENCED": "\N{EN DASH}",
}


CONTRADICTED_GLYPH = "▲"


@dataclass(frozen=True, slots=True)
class Link:
    text: str
    href: str


@dataclass(frozen=True, slots=True)
class NoticeLine:
    id: str
    name: str
    status: str
    why: str | None
    glyph: str
    tone: str
    waits: bool
    contradicted: str | None
    told: Link | None


@dataclass(frozen=True, slots=True)
class BreachLine:
    reference: str
    span: str
    figure: str
    count: str
    status: str
    tone: str
    glyph: str
    href: str
    silent_because: str | None
    notices: tuple[NoticeLine, ...]


def breach_line(breach: Breach, words: Words) -> BreachLine:
    tone, glyph = {
        "OPEN": ("bad", "▼"),
        "RESOLVED": ("none", "✓"),
        "RETRACTED": ("none", "\N{EN DASH}"),
    }[breach.status]
    return BreachLine(
        reference=breach.reference,
        span=_span(breach, words),
        figure=_figure(breach, words),
        count=words.plural("breach.count", breach.count),
        status=words.text(f"breach.status.{breach.status}"),
        tone=tone,
        glyph=glyph,
        href=f"/breaches/{breach.id}",
        silent_because=_silent_because(breach, words),
        notices=tuple(notice_line(notice, words) for notice in breach.notices),
    )


def _silent_because(breach: Breach, words: Words) -> str | None:
    """Why nothing was written about it, where nothing was."""
    if breach.notices:
        return None
    if breach.stale:
        return words.text("breach.stale")
    return words.text("breach.no_notice" if breach.status == "OPEN" else "breach.no_notice.over")


def longest_streak(report: ServiceReport, rule: Rule | None, words: Words) -> str | None:
    """Why low runs that made no breach were not reported."""
    if rule is None or not 0 < report.longest_streak <= rule.more_than:
        return None
    return words.plural(
        "breaches.longest",
        report.longest_streak,
        rule=words.rule(rule),
        needed=words.catalogue.number(rule.more_than + 1),
    )


def _span(breach: Breach, words: Words) -> str:
    start = words.when(breach.first_run_at)
    if breach.status == "OPEN":
        return words.text("breach.span.open", start=start)
    end = words.when(breach.resolved_at or breach.last_run_at)
    return words.text("breach.span", start=start, end=end)


def _figure(breach: Breach, words: Words) -> str:
    if breach.rule.metric not in {"DOWNLOAD", "UPLOAD"}:
        metric = words.text(f"rule.metric.{breach.rule.metric}")
        return metric + " " + words.text("rule.above", bound=words.rule(breach.rule))
    if breach.median_mbps is None:
        return words.text("breach.median.none")
    return words.text(
        "breach.median",
        median=words.catalogue.mbps(breach.median_mbps),
        ratio=words.catalogue.percent(breach.median_mbps / breach.subscribed_mbps),
        subscribed=words.catalogue.plain(breach.subscribed_mbps),
    )


def channel_name(channel: str, words: Words) -> str:
    """A channel that this page has no name for keeps its own."""
    known = f"channel.{channel}" in words.catalogue.words
    return words.text(f"channel.{channel}") if known else channel


def notice_line(notice: NoticeBrief, words: Words) -> NoticeLine:
    when = words.when(notice.sent_at) if notice.sent_at else ""
    status = words.text(f"notice.status.{notice.status}", when=when)
    return NoticeLine(
        id=notice.id,
        name=words.text(
            "notice.line",
            channel=channel_name(notice.channel, words),
            stage=words.text(f"stage.{notice.stage}"),
        ),
        status=status,
        why=_why(notice, words),
        glyph=CONTRADICTED_GLYPH if notice.contradicted_at else NOTICE_GLYPHS[notice.status],
        tone="bad" if notice.contradicted_at else NOTICE_TONES.get(notice.status, "none"),
        waits=notice.status in WAITING,
        contradicted=_contradicted(notice, words),
        told=_told(notice, words),
    )


def obstacle(why: str | None, words: Words) -> str | None:
    """What keeps a notice from being sent, to be said before anybody reads it."""
    if why is None:
        return None
    return words.text("notice.obstacle", why=reason(why, words.catalogue))


def _contradicted(notice: NoticeBrief, words: Words) -> str | None:
    """That what was sent is known not to have been so."""
    if notice.contradicted_at is None:
        return None
    return words.text(
        "notice.contradicted",
        when=words.when(notice.contradicted_at),
        why=reason(notice.contradicted_why or "", words.catalogue),
    )


def _told(notice: NoticeBrief, words: Words) -> Link | None:
    """Where the recipient reads of it instead, sent or yet to be."""
    digest = notice.told_in
    if digest is None:
        return None
    sent = words.when(digest.sent_at) if digest.sent_at else ""
    status = words.text(f"notice.status.{digest.status}", when=sent)
    text = words.text("notice.told", reference=digest.reference, status=status)
    return Link(text, f"/notices/{digest.id}")


def covered_line(breach: CoveredBreach, words: Words) -> Link:
    """One breach of a digest: its reference, when it was, and how it stands now."""
    text = words.text(
        "notice.covered",
        reference=breach.reference,
        start=words.when(breach.first_run_at),
        end=words.when(breach.resolved_at or breach.last_run_at),
        status=words.text(f"breach.status.{breach.status}"),
    )
    return Link(text, f"/breaches/{breach.id}")


def _why(notice: NoticeBrief, words: Words) -> str | None:
    if notice.status == "SENT" or notice.contradicted_at is not None:
        return None
    if notice.why:
        return words.text("notice.why", why=reason(notice.why, words.catalogue))
    if notice.due_at is not None and notice.due_at > words.now:
        words.freshness.ends(notice.due_at)
        return words.text("notice.due", when=words.when(notice.due_at))
    return None
