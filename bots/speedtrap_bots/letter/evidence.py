"""What a letter says about a breach, in words and figures ready for a template. Pure."""

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from zoneinfo import ZoneInfo

from speedtrap_bots.letter.clean import MAX_SENTENCE_CHARACTERS, clean, clean_for_post, csv_cell
from speedtrap_bots.letter.method import method_of
from speedtrap_bots.letter.runs import (
    all_runs,
    runs_that_broke,
    said_to_the_rule,
    tool_figure,
)
from speedtrap_bots.letter.wording import (
    METRICS,
    amount,
    broken_in_words,
    is_in_a_row,
    kept_in_words,
    metric_in_words,
    number,
    plain,
    rule_in_words,
    share_of,
    threshold,
    times_in_words,
)
from speedtrap_bots.model import Breach, Figure, Measurement, Observation, Rule, Run

_FAILURES = {
    "NO_NETWORK": "no network",
    "TIMEOUT": "timed out",
    "RATE_LIMITED": "rate-limited",
    "TOOL_MISSING": "not installed",
    "TOOL_FAILED": "failed",
    "SKIPPED": "skipped",
}
_CSV_COLUMNS = (
    "timestamp", "run_id", "probe", "tool", "tool_version", "download_mbps", "upload_mbps",
    "latency_ms", "jitter_ms", "packet_loss_ratio", "server", "failure", "run_outcome",
    "in_breach",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One run as a line of the letter's tables."""

    when: str
    figure: str
    share: str
    tools: str
    below: bool


@dataclass(frozen=True, slots=True)
class ToolMedian:
    """One tool's medians, in the breach and over the whole period."""

    tool: str
    in_breach: str
    overall: str
    n: int
    failures: int


@dataclass(frozen=True, slots=True)
class Episode:
    """One breach as a line of a digest."""

    reference: str
    probe: str
    plan: str
    rule: str
    first_at: str
    last_at: str
    duration: str
    count: int
    in_a_row: str
    median: str
    share: str
    subscribed: str
    kept: str
    resolved_at: str
    written_on: str
    """When its opening was sent by mail; empty where this digest is the first word of it."""


@dataclass(frozen=True, slots=True)
class Month:
    """What the line delivered in the month up to the breach's end; empty texts are left out."""

    span: str
    n: int
    median: str
    consistent: str
    peak: str
    off_peak: str
    outages: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that the templates may use; each string is cleaned."""

    reference: str
    provider: str
    provider_in_post: str
    probe: str
    zone: str
    metric: str
    unit: str
    plan: str
    rule: str
    broken: str
    kept: str
    count: int
    times: str
    """E.g. "6 measurements in a row"; not in a row where good ones may lie between."""
    in_a_row: str
    counted: str
    figure_of: str
    is_throughput: bool
    subscribed: str
    threshold: str
    breach_median: str
    breach_share: str
    window_median: str
    window_count: int
    judged_count: int
    good_count: int
    first_at: str
    last_at: str
    resolved_at: str
    not_yet: str
    """That the line is not yet what was bought, where it has recovered to less."""
    written_on: str
    """When its opening was sent by mail; empty before that."""
    duration: str
    media: str
    rows: tuple[Row, ...]
    window: tuple[Row, ...]
    tools: tuple[ToolMedian, ...]
    table_is_cut: bool
    month: Month | None
    method: tuple[str, ...]
    csv_sha256: str


def runs_csv(breach: Breach, covered: Sequence[Breach] = ()) -> bytes:
    """Every measurement of the window, one a line: figures are those of the tool, unrounded.

    Of a digest, those of all the breaches that it covers.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(_CSV_COLUMNS)
    every = [breach, *covered]
    in_breach = {run.id for one in every for run in one.runs}
    runs = {run.id: run for one in every for run in all_runs(one)}
    zone = ZoneInfo(breach.plan.time_zone)
    for run in sorted(runs.values(), key=lambda run: (run.started_at, run.id)):
        for m in run.measurements:
            writer.writerow(_csv_row(breach, run, m, zone, run.id in in_breach))
    return out.getvalue().encode()


def gather(breach: Breach, max_rows: int = 60) -> Evidence:
    """*breach* in words. The tables end after *max_rows*; the CSV has every run."""
    unit = METRICS.get(breach.rule.metric, METRICS["DOWNLOAD"])[1]
    zone = ZoneInfo(breach.plan.time_zone)
    ids = {run.id for run in breach.runs}
    window = all_runs(breach)
    said = said_to_the_rule(breach)
    judged = [o for run in window if (o := said.get(run.id)) and o.broken is not None]
    figures = [o.value for o in judged if o.value is not None]
    rows = [_row(run, breach, zone, run.id in ids, said.get(run.id)) for run in window]
    own_rows = [row for row in rows if row.below]
    own_median = _median_in(breach)
    return Evidence(
        reference=clean(breach.reference, 20),
        provider=clean(breach.plan.provider),
        provider_in_post=clean_for_post(breach.plan.provider),
        probe=clean(breach.probe),
        zone=clean(breach.plan.time_zone),
        metric=metric_in_words(breach.rule),
        unit=unit,
        plan=_plan_in_words(breach),
        rule=rule_in_words(breach),
        broken=broken_in_words(breach),
        kept=kept_in_words(breach),
        count=breach.count,
        times=times_in_words(breach),
        in_a_row=" in a row" if is_in_a_row(breach.rule) else "",
        counted=_counted(breach.rule),
        figure_of="Best figure" if breach.rule.tool is None else clean(breach.rule.tool, 30),
        is_throughput=unit == "Mbps",
        subscribed=number(breach.subscribed_mbps),
        threshold=amount(threshold(breach), breach.rule.metric),
        breach_median=amount(own_median, breach.rule.metric),
        breach_share=share_of(own_median, breach),
        window_median=amount(median(figures) if figures else None, breach.rule.metric),
        window_count=len(window),
        judged_count=len(judged),
        good_count=sum(1 for o in judged if not o.broken),
        first_at=_moment(breach.first_run_at, zone),
        last_at=_moment(breach.last_run_at, zone),
        resolved_at=_moment(breach.resolved_at, zone) if breach.resolved_at else "",
        not_yet=_not_yet(breach),
        written_on=_written_on(breach, zone),
        duration=_duration(breach),
        media=_media(runs_that_broke(breach)),
        rows=tuple(own_rows[-max_rows:]),
        window=tuple(rows[-max_rows:]),
        tools=_tool_medians(window, breach),
        table_is_cut=len(rows) > max_rows,
        month=_month(breach, zone),
        method=method_of(breach),
        csv_sha256=hashlib.sha256(runs_csv(breach)).hexdigest(),
    )


def chart_in_words(evidence: Evidence) -> str:
    """The chart for who does not see it; at most 1000 characters, as X wants it."""
    return (
        f"Chart of {evidence.window_count} measurements of our {evidence.provider} line from "
        f"{evidence.window[0].when if evidence.window else evidence.first_at} on: "
        f"{evidence.count}{evidence.in_a_row} broke the rule "
        f"({evidence.rule}), with a median of {evidence.breach_median}; "
        f"{evidence.good_count} around them kept it."
    )[:1000]


def episode_of(breach: Breach) -> Episode:
    zone = ZoneInfo(breach.plan.time_zone)
    middle = _median_in(breach)
    return Episode(
        reference=clean(breach.reference, 20),
        probe=clean(breach.probe),
        plan=_plan_in_words(breach),
        rule=rule_in_words(breach),
        first_at=_moment(breach.first_run_at, zone),
        last_at=_moment(breach.last_run_at, zone),
        duration=_duration(breach),
        count=breach.count,
        in_a_row=" in a row" if is_in_a_row(breach.rule) else "",
        median=amount(middle, breach.rule.metric),
        share=share_of(middle, breach),
        subscribed=number(breach.subscribed_mbps),
        kept=kept_in_words(breach),
        resolved_at=_moment(breach.resolved_at, zone) if breach.resolved_at else "",
        written_on=_written_on(breach, zone),
    )


def _median_in(breach: Breach) -> float | None:
    """Of the runs that broke the rule. Graph lists the newest 500, and knows the median of all."""
    said = said_to_the_rule(breach)
    own = [f for run in runs_that_broke(breach) if (f := said[run.id].value) is not None]
    if breach.count > len(breach.runs):
        return breach.median_mbps
    return median(own) if own else None


def _counted(rule: Rule) -> str:
    if rule.tool is None:
        return "each measurement counts with the best of its tools"
    return f"each measurement counts with what {clean(rule.tool, 30)} gave"


_BANDS = {
    "AT_LEAST_95": "at least 95 % of the subscribed speed",
    "FROM_80_TO_95": "80 % to 95 % of the subscribed speed",
    "BELOW_80": "below 80 % of the subscribed speed",
}
"""The FCC's bands, Measuring Broadband America."""


def _month(breach: Breach, zone: ZoneInfo) -> Month | None:
    """graph reports on the download, by the best of all tools: of no use beside another figure."""
    report = breach.report
    is_about_it = breach.rule.metric == "DOWNLOAD" and breach.rule.tool is None
    if report is None or report.n == 0 or not is_about_it:
        return None
    band = _BANDS.get(report.fcc_band or "", "")
    outages = report.outages
    since, until = report.since.astimezone(zone), report.until.astimezone(zone)
    return Month(
        span=f"{since:%Y-%m-%d} to {until:%Y-%m-%d}",
        n=report.n,
        median=_of_subscribed(report.median_mbps, report.median_ratio)
        + (f"; FCC band: {band}" if band else ""),
        consistent=_of_subscribed(report.consistent_mbps, report.consistent_ratio),
        peak=_median_of(report.peak),
        off_peak=_median_of(report.off_peak),
        outages=f"{outages.count}, {_hours(outages.duration_s)} together" if outages.count else "",
    )


def _of_subscribed(mbps: float | None, ratio: float | None) -> str:
    if mbps is None:
        return ""
    return f"{mbps:.1f} Mbps" + (f" ({ratio * 100:.0f} %)" if ratio is not None else "")


def _median_of(found: Figure) -> str:
    return "" if found.median is None else f"{found.median:.1f} Mbps, n = {found.n}"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h"


def _csv_row(
    breach: Breach, run: Run, m: Measurement, zone: ZoneInfo, in_breach: bool
) -> list[str]:
    figures = (m.download_mbps, m.upload_mbps, m.latency_ms, m.jitter_ms, m.packet_loss_ratio)
    server = clean(", ".join(filter(None, (m.server.name, m.server.location))) if m.server else "")
    failure = clean(
        f"{m.failure.kind}: {m.failure.message}" if m.failure else "", MAX_SENTENCE_CHARACTERS
    )
    return [
        m.started_at.astimezone(zone).isoformat(timespec="seconds"),
        run.id,
        csv_cell(clean(breach.probe)),
        csv_cell(clean(m.tool)),
        csv_cell(clean(m.tool_version, 30)),
        *("" if value is None else repr(value) for value in figures),
        csv_cell(server),
        csv_cell(failure),
        run.outcome,
        "yes" if in_breach else "no",
    ]


def _row(run: Run, breach: Breach, zone: ZoneInfo, below: bool, said: Observation | None) -> Row:
    value = None if said is None or said.broken is None else said.value
    shown = amount(value, breach.rule.metric)
    if run.outcome == "OUTAGE":
        shown = "no connection"
    elif said is None or said.broken is None:
        shown = "not judged"
    tool = breach.rule.tool
    mine = [m for m in run.measurements if tool in {None, m.tool}]
    return Row(
        when=_moment(run.started_at, zone),
        figure=shown,
        share=share_of(value, breach),
        tools=", ".join(_tool_in_words(m, breach.rule.metric) for m in mine[:8]),
        below=below,
    )


def _tool_in_words(m: Measurement, metric: str) -> str:
    tool = clean(m.tool, 30) + (" (home network)" if m.local else "")
    if m.failure:
        return f"{tool} {_FAILURES.get(m.failure.kind, 'failed')}"
    value = tool_figure(m, metric)
    return f"{tool} {plain(value, metric)}" if value is not None else f"{tool} none"


def _tool_medians(window: Sequence[Run], breach: Breach) -> tuple[ToolMedian, ...]:
    """Of the runs that the rule judged; of a rule for one tool that one alone."""
    said = said_to_the_rule(breach)
    judged = [run for run in window if run.id in said and said[run.id].broken is not None]
    only = breach.rule.tool
    every = [m for run in judged for m in run.measurements if only in {None, m.tool}]
    tools = {m.tool for m in every if not m.local}
    broke = {run.id for run in runs_that_broke(breach)}
    return tuple(_tool_median(tool, judged, broke, breach.rule.metric) for tool in sorted(tools))


def _tool_median(tool: str, runs: Sequence[Run], broke: set[str], metric: str) -> ToolMedian:
    ours = [(run.id, m) for run in runs for m in run.measurements if m.tool == tool]
    figures = [(run, f) for run, m in ours if (f := tool_figure(m, metric)) is not None]
    in_breach = [f for run, f in figures if run in broke]
    return ToolMedian(
        tool=clean(tool, 30),
        in_breach=amount(median(in_breach) if in_breach else None, metric),
        overall=amount(median(f for _, f in figures) if figures else None, metric),
        n=len(figures),
        failures=sum(1 for _, m in ours if m.failure),
    )


DELIVERED = 0.95
"""From this share of the subscribed speed on a line counts as delivered (the FCC's band)."""


def _not_yet(breach: Breach) -> str:
    if breach.resolved_at is None or breach.rule.metric not in {"DOWNLOAD", "UPLOAD"}:
        return ""
    said, since = said_to_the_rule(breach), breach.resolved_at
    figures = [
        o.value
        for run in all_runs(breach)
        if run.started_at >= since and (o := said.get(run.id)) and o.value is not None
    ]
    middle = median(figures) if figures else None
    if middle is None or middle >= DELIVERED * breach.subscribed_mbps:
        return ""
    return (
        f"The line is not yet what was bought: {amount(middle, breach.rule.metric)} since then,"
        f" {share_of(middle, breach)} of the subscribed {number(breach.subscribed_mbps)} Mbps."
    )


def _plan_in_words(breach: Breach) -> str:
    plan = breach.plan
    upload = f", {number(plan.upload_mbps)} Mbps up" if plan.upload_mbps is not None else ""
    return f"{clean(plan.provider)}: {number(plan.download_mbps)} Mbps down{upload}"


def _moment(moment: datetime, zone: ZoneInfo) -> str:
    return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M %Z")


def _duration(breach: Breach) -> str:
    end = breach.resolved_at or breach.last_run_at
    minutes = round((end - breach.first_run_at).total_seconds() / 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "min"))
    return " ".join(f"{n} {unit}" for n, unit in parts if n) or "under a minute"


def _written_on(breach: Breach, zone: ZoneInfo) -> str:
    sent = [
        notice.sent_at
        for notice in breach.notices
        if notice.channel == "mail" and notice.stage == "OPENING" and notice.sent_at
    ]
    return f"{min(sent).astimezone(zone):%Y-%m-%d}" if sent else ""


def _media(runs: Sequence[Run]) -> str:
    media = {run.conditions.medium for run in runs}
    if media == {"WIRED"}:
        return "over a wired connection"
    return "over Wi-Fi" if media == {"WIFI"} else ""
