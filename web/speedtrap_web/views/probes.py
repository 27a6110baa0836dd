"""Probes as lines of a list."""

from collections.abc import Iterable
from dataclasses import dataclass

from speedtrap_web.graphql.answers import Key, Probe
from speedtrap_web.views.line.banners import silent_since
from speedtrap_web.views.line.header import plan_line
from speedtrap_web.views.words import Words


@dataclass(frozen=True, slots=True)
class ProbeLine:
    """`tone` is bad for a line that is down now, warn for a probe that is silent."""

    name: str
    state: str
    tone: str
    glyph: str
    seen: str
    expected: str
    runs: str
    plan: str
    silenced: str


def key_line(key: Key, words: Words) -> tuple[str, str, str]:
    """Whose it is, for what, and when it was last used."""
    role = words.text(f"role.{key.role}")
    seen = words.ago(key.last_seen_at) if key.last_seen_at else words.text("keys.never")
    return key.name, role, seen


def probe_lines(probes: Iterable[Probe], words: Words) -> list[ProbeLine]:
    return [_line(probe, words) for probe in probes]


def _line(probe: Probe, words: Words) -> ProbeLine:
    state, tone, glyph = _state(probe, words)
    none = words.text("tile.none")
    return ProbeLine(
        name=probe.name,
        state=state,
        tone=tone,
        glyph=glyph,
        seen=words.ago(probe.last_seen_at) if probe.last_seen_at else none,
        expected=words.when(probe.expected_at) if probe.expected_at else none,
        runs=words.catalogue.number(probe.run_count),
        plan=plan_line(probe.plan, words),
        silenced=words.text(
            "breaches.silenced",
            until=words.when(probe.silence.until),
            reason=probe.silence.reason,
        )
        if probe.silence
        else "",
    )


def _state(probe: Probe, words: Words) -> tuple[str, str, str]:
    since = silent_since(probe, words)
    if since is not None:
        return words.text("probes.silent", duration=words.lasted(since)), "warn", "◌"
    if probe.last_run is not None and probe.last_run.outcome == "OUTAGE":
        return words.text("outcome.OUTAGE"), "bad", "✖"
    if probe.last_run is None:
        return words.text("probes.new"), "none", "○"
    return words.text("probes.measuring"), "good", "✓"
