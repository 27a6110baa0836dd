"""One sentence that answers the question, and what it stands on."""

from dataclasses import dataclass

from speedtrap_web.graphql.answers import Figure, Probe, Rule, ServiceReport
from speedtrap_web.views.reasons import judgement
from speedtrap_web.views.words import ENOUGH_TO_JUDGE, Words

PEAK_IS_SLOWER = 0.9
"""Evenings are worth a word when their median is below this share of the rest's."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`tone` is good, warn, bad or none; the glyph says the same without colour."""

    tone: str
    glyph: str
    headline: str
    sentences: tuple[str, ...]
    ask_for_plan: bool = False


GLYPHS = {"good": "✓", "warn": "◆", "bad": "▼", "none": "○"}


def verdict(probe: Probe, report: ServiceReport, range_words: str, words: Words) -> Verdict:
    """*range_words* say the range, as in "in the last 30 days"."""
    if report.n == 0 and report.outage_runs == 0:
        return _nothing(probe, words, ask=probe.plan is None)
    if report.plan is None:
        return _without_plan(report, words)
    if report.verdict == "TOO_FEW":
        few = words.plural("verdict.too_few.text", report.judged_runs, range=range_words)
        return _made("none", "verdict.too_few", [few, *_typical(report, range_words, words)], words)
    rule = probe.download_rule
    sentences = [
        *_open(probe, rule, words),
        *_typical(report, range_words, words),
        *_peak(report, words),
        *([] if report.judged_by_peak else [words.text("verdict.all_hours")]),
        *_share(report, rule, words),
    ]
    tone, key = _headline(probe, report)
    return _made(tone, key, sentences, words)


def _headline(probe: Probe, report: ServiceReport) -> tuple[str, str]:
    """Tone and key. What holds now comes before what holds on the whole."""
    if probe.open_breach is not None and report.verdict != "NOT_DELIVERED":
        return "bad", "verdict.not_now"
    slow_peak = _drop(report) is not None
    return {
        "DELIVERED": (
            "good",
            "verdict.delivered_but_peak" if slow_peak else "verdict.delivered",
        ),
        "PARTLY": ("warn", "verdict.partly_peak" if slow_peak else "verdict.partly"),
        "NOT_DELIVERED": (
            "bad",
            "verdict.not_delivered_peak" if slow_peak else "verdict.not_delivered",
        ),
    }[report.verdict]


def peak_drop(peak: Figure, off_peak: Figure) -> float | None:
    """How much lower the evenings are (0..1), if they clearly are; None without enough of both."""
    if min(peak.n, off_peak.n) < ENOUGH_TO_JUDGE or not peak.median or not off_peak.median:
        return None
    ratio = peak.median / off_peak.median
    return 1 - ratio if ratio < PEAK_IS_SLOWER else None


def _drop(report: ServiceReport) -> float | None:
    """What ran on different plans is not compared by the clock."""
    return None if report.has_several_plans else peak_drop(report.peak, report.off_peak)


def _made(tone: str, key: str, sentences: list[str], words: Words) -> Verdict:
    return Verdict(tone, GLYPHS[tone], words.text(key), tuple(sentences))


def _nothing(probe: Probe, words: Words, *, ask: bool) -> Verdict:
    sentences = []
    if probe.last_run is not None and probe.last_run.outcome == "MEASURED":
        sentences.append(
            words.text("verdict.no_runs.text", ago=words.ago(probe.last_run.started_at))
        )
    elif probe.last_run is not None:
        sentences.append(judgement(probe.last_run.outcome_reason, words.catalogue))
    key = "verdict.no_plan" if ask else "verdict.no_runs"
    if ask:
        sentences.append(words.text("verdict.no_plan.text"))
    return Verdict("none", GLYPHS["none"], words.text(key), tuple(sentences), ask_for_plan=ask)


def _without_plan(report: ServiceReport, words: Words) -> Verdict:
    sentences = [words.text("verdict.no_plan.text")]
    if report.median_mbps is not None:
        median = words.catalogue.mbps(report.median_mbps)
        sentences.insert(0, words.text("verdict.no_plan.typical", median=median))
    headline = words.text("verdict.no_plan")
    return Verdict("none", GLYPHS["none"], headline, tuple(sentences), ask_for_plan=True)


def _typical(report: ServiceReport, range_words: str, words: Words) -> list[str]:
    if report.median_mbps is None or report.median_ratio is None or report.plan is None:
        return []
    sentence = words.text(
        "verdict.typical.plans" if report.has_several_plans else "verdict.typical",
        range=range_words,
        median=words.catalogue.mbps(report.median_mbps),
        ratio=words.catalogue.percent(report.median_ratio),
        subscribed=words.catalogue.plain(report.plan.download_mbps),
    )
    return [sentence[0].upper() + sentence[1:]]


def _peak(report: ServiceReport, words: Words) -> list[str]:
    drop = _drop(report)
    if drop is None:
        return []
    peak = words.catalogue.mbps(report.peak.median)
    return [words.text("verdict.peak", peak=peak, drop=words.catalogue.percent(drop))]


def _share(report: ServiceReport, rule: Rule | None, words: Words) -> list[str]:
    if report.below_count == 0 or report.below_share is None:
        return []
    total = words.catalogue.number(round(report.below_count / report.below_share))
    return [
        words.plural("verdict.share", report.below_count, total=total, rule=words.rule(rule)),
    ]


def _open(probe: Probe, rule: Rule | None, words: Words) -> list[str]:
    if probe.open_breach is None:
        return []
    return [
        words.text(
            "verdict.open",
            count=words.catalogue.number(probe.open_breach.count),
            rule=words.rule(rule),
            since=words.when(probe.open_breach.first_run_at),
        )
    ]
