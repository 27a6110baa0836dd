"""The ways out: how each is, what it carried, and how its last test ended."""

from collections.abc import Iterable
from dataclasses import dataclass

from speedtrap_web.graphql.answers import Channel, ChannelTest
from speedtrap_web.views.breaches import channel_name
from speedtrap_web.views.reasons import reason
from speedtrap_web.views.words import Words

TONES = {
    "READY": ("good", "✓"),
    "QUIET": ("none", "◐"),
    "STOPPED": ("bad", "✖"),
    "UNCONFIGURED": ("none", "○"),
    "ENDED": ("warn", "◌"),
}
COUNTS = ("waiting", "due", "sent", "unknown", "dead")
_TEST_TONES = {"SENT": "good", "FAILED": "bad", "UNKNOWN": "warn", "EXPIRED": "warn"}


@dataclass(frozen=True, slots=True)
class ChannelLine:
    """`name` is graph's, `title` the reader's. `tone` is bad for a channel that has stopped, warn
    for one whose bot is gone.
    """

    name: str
    title: str
    state: str
    tone: str
    glyph: str
    why: str
    recipient: str
    leave: str
    seen: str
    counts: list[tuple[str, str]]
    test: str
    test_tone: str
    testable: bool


def channel_lines(channels: Iterable[Channel], words: Words) -> list[ChannelLine]:
    return [_line(channel, words) for channel in channels]


def _line(channel: Channel, words: Words) -> ChannelLine:
    state = channel.state if channel.alive else "ENDED" if channel.state else None
    tone, glyph = TONES.get(state or "", ("none", "○"))
    number = words.catalogue.number
    return ChannelLine(
        name=channel.name,
        title=channel_name(channel.name, words),
        state=words.text(f"channels.{state or 'never'}"),
        tone=tone,
        glyph=glyph,
        why=(channel.why or "") if channel.alive else "",
        recipient=channel.recipient or words.text("channels.nobody"),
        leave=words.text("channels.leave" if channel.needs_leave else "channels.no_leave"),
        seen=words.ago(channel.last_seen_at) if channel.last_seen_at else words.text("tile.none"),
        counts=[
            (words.text(f"channels.{name}"), number(getattr(channel, name))) for name in COUNTS
        ],
        test=_told(channel.last_test, words) if channel.last_test else "",
        test_tone=_TEST_TONES.get(channel.last_test.state, "none") if channel.last_test else "none",
        testable=channel.alive and state != "UNCONFIGURED",
    )


def _told(test: ChannelTest, words: Words) -> str:
    said = words.text(
        f"channels.test.{test.state}",
        by=test.asked_by,
        when=words.when(test.ended_at or test.asked_at),
    )
    return f"{said} {reason(test.why, words.catalogue)}" if test.why else said
