"""The six figures. Each says how many runs it stands on; with few it keeps its colour to itself."""

from dataclasses import dataclass

from speedtrap_web.graphql.answers import Probe, ServiceReport
from speedtrap_web.views.line.verdict import GLYPHS
from speedtrap_web.views.words import ENOUGH_TO_JUDGE, Words

FCC_TONES = {"AT_LEAST_95": "good", "FROM_80_TO_95": "warn", "BELOW_80": "bad"}
SHARE_BAD = 0.20
"""Below the rule in a fifth of all runs: the FCC's 80/80 turned round."""
DROP_WARN, DROP_BAD = 0.10, 0.30


@dataclass(frozen=True, slots=True)
class Tile:
    title: str
    value: str
    detail: str
    n: str
    tone: str = "none"
    unit: str = ""

    @property
    def glyph(self) -> str:
        return "" if self.tone == "none" else GLYPHS[self.tone]


def tiles(probe: Probe, report: ServiceReport, words: Words) -> tuple[Tile, ...]:
    return (
        _median(probe, report, words),
        _below(probe, report, words),
        _consistent(report, words),
        _peak(report, words),
        _outages(report, words),
        _last(probe, report, words),
    )


def _n(n: int, words: Words) -> str:
    written = words.plural("tile.n", n)
    return written if n == 0 or n >= ENOUGH_TO_JUDGE else f"{written}: {words.text('tile.few')}"


def _judged(tone: str, n: int) -> str:
    return tone if n >= ENOUGH_TO_JUDGE else "none"


def _share_tone(ratio: float) -> str:
    return "good" if ratio >= 0.95 else "warn" if ratio >= 0.80 else "bad"


def _median(probe: Probe, report: ServiceReport, words: Words) -> Tile:
    if report.n == 0 and probe.plan is not None:
        return _nothing_measured(words.text("tile.median"), words)
    median = words.catalogue.mbps(report.median_mbps)
    if report.plan is None or report.median_ratio is None:
        detail = words.text("tile.median.no_plan.detail")
        unit = words.text("unit.mbps") if report.median_mbps is not None else ""
        title = words.text("tile.median.no_plan")
        return Tile(title, median, detail, _n(report.n, words), unit=unit)
    detail = words.text(
        "tile.median.plans" if report.has_several_plans else "tile.median.detail",
        median=median,
        subscribed=words.catalogue.plain(report.plan.download_mbps),
    )
    tone = FCC_TONES.get(report.fcc_band or "", "none")
    return Tile(
        words.text("tile.median"),
        words.catalogue.percent(report.median_ratio),
        detail,
        _n(report.n, words),
        _judged(tone, report.n),
    )


def _below(probe: Probe, report: ServiceReport, words: Words) -> Tile:
    rule = probe.download_rule
    if rule is not None and probe.plan is not None and _counted(report) == 0:
        return _nothing_measured(words.text("tile.below", rule=words.rule_short(rule)), words)
    if rule is None or report.below_share is None:
        return Tile(
            words.text("tile.below.no_plan"),
            words.text("tile.none"),
            words.text("tile.below.no_plan.detail"),
            "",
        )
    total = _counted(report)
    detail = words.text(
        "tile.below.detail",
        below=words.catalogue.number(report.below_count),
        total=words.catalogue.number(total),
    )
    share = report.below_share
    tone = "good" if share == 0 else "bad" if share >= SHARE_BAD else "warn"
    return Tile(
        words.text("tile.below", rule=words.rule_short(rule)),
        words.catalogue.percent(share, 1 if 0 < share < 0.1 else 0),
        detail,
        _n(total, words),
        _judged(tone, total),
    )


def _nothing_measured(title: str, words: Words) -> Tile:
    return Tile(title, words.text("tile.none"), words.text("tile.nothing"), _n(0, words))


def _counted(report: ServiceReport) -> int:
    """Runs that kept or broke the rule: measured ones and outages."""
    if report.below_share:
        return round(report.below_count / report.below_share)
    return report.n + report.outage_runs


def _consistent(report: ServiceReport, words: Words) -> Tile:
    title = words.text("tile.consistent")
    if report.consistent_mbps is None:
        none = words.text("tile.consistent.none")
        return Tile(title, words.text("tile.none"), none, _n(report.peak.n, words))
    mbps = words.catalogue.mbps(report.consistent_mbps)
    detail = words.text("tile.consistent.detail", mbps=mbps)
    if report.consistent_ratio is None:
        unit = words.text("unit.mbps")
        return Tile(title, mbps, detail, _n(report.peak.n, words), unit=unit)
    return Tile(
        title,
        words.catalogue.percent(report.consistent_ratio),
        detail,
        _n(report.peak.n, words),
        _judged(_share_tone(report.consistent_ratio), report.peak.n),
    )


def _peak(report: ServiceReport, words: Words) -> Tile:
    peak, off = report.peak, report.off_peak
    title = words.text("tile.peak")
    n = words.text(
        "tile.n_two", peak=words.catalogue.number(peak.n), off=words.catalogue.number(off.n)
    )
    few = min(peak.n, off.n) < ENOUGH_TO_JUDGE
    n = f"{n}: {words.text('tile.few')}" if few and peak.n + off.n else n
    if report.has_several_plans:
        return Tile(title, words.text("tile.none"), words.text("tile.peak.plans"), n)
    if peak.median is None or not off.median:
        return Tile(title, words.text("tile.none"), words.text("tile.peak.none"), n)
    change = peak.median / off.median - 1
    sign = "+" if change >= 0.005 else ""
    detail = words.text(
        "tile.peak.detail",
        peak=words.catalogue.mbps(peak.median),
        off=words.catalogue.mbps(off.median),
    )
    tone = "bad" if -change >= DROP_BAD else "warn" if -change >= DROP_WARN else "good"
    value = sign + words.catalogue.percent(change)
    return Tile(title, value, detail, n, "none" if few or report.plan is None else tone)


def _outages(report: ServiceReport, words: Words) -> Tile:
    count = report.outages.count
    if count == 0:
        detail = words.text("tile.outages.none")
    else:
        duration = words.catalogue.duration(report.outages.duration_s)
        detail = words.text("tile.outages.detail", duration=duration)
    n = report.n + report.outage_runs
    tone = "none" if report.plan is None else "warn" if count else "good"
    return Tile(
        words.text("tile.outages"),
        words.catalogue.number(count),
        detail,
        _n(n, words),
        _judged(tone, n),
    )


def _last(probe: Probe, report: ServiceReport, words: Words) -> Tile:
    title = words.text("tile.last")
    run = probe.last_run
    if run is None:
        return Tile(title, words.text("tile.none"), "", "")
    rule = probe.download_rule
    streak = ""
    if report.plan is not None and rule is not None:
        key = "tile.last.streak" if probe.streak else "tile.last.no_streak"
        streak = words.text(
            key, count=words.catalogue.number(probe.streak), rule=words.rule_short(rule)
        )
    outcome = words.text(f"outcome.{run.outcome}")
    detail = words.text("tile.last.detail", ago=words.ago(run.started_at), outcome=outcome)
    tone = "bad" if probe.open_breach else "none"
    unit = words.text("unit.mbps") if run.download_mbps is not None else ""
    return Tile(title, words.catalogue.mbps(run.download_mbps), detail, streak, tone, unit)
