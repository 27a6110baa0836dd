"""The snapshot as samples."""

from collections.abc import Container, Mapping

from speedtrap_graph.metrics.last_run import LastRun, ToolWord
from speedtrap_graph.metrics.names import Sheet
from speedtrap_graph.metrics.snapshot import Disk, House
from speedtrap_graph.metrics.standing import Line, RuleStanding
from speedtrap_graph.rules.model import FailureKind, Metric, Outcome
from speedtrap_graph.rules.permission import NoticeStatus
from speedtrap_graph.rules.plans import subscribed
from speedtrap_graph.rules.report import ServiceReport

DIRECTIONS = {Metric.DOWNLOAD: "download", Metric.UPLOAD: "upload"}
LOADED = {Metric.LOADED_LATENCY_DOWN: "down", Metric.LOADED_LATENCY_UP: "up"}
WEEK = "7d"

Figures = Mapping[Metric, float]


def put_line(sheet: Sheet, line: Line) -> None:
    probe = line.probe
    sheet.put("speedtrap_runs", line.run_count, probe)
    seen = line.last_seen_at
    sheet.put(
        "speedtrap_probe_last_seen_timestamp_seconds",
        None if seen is None else seen.timestamp(),
        probe,
    )
    sheet.put("speedtrap_probe_silent", line.is_silent, probe)
    sheet.put("speedtrap_open_breaches", line.open_breaches, probe)
    if line.plan is not None:
        sheet.put("speedtrap_plan_info", 1, probe, line.plan.provider)
        for metric, direction in DIRECTIONS.items():
            promised = _bits(subscribed(line.plan, metric))
            sheet.put("speedtrap_subscribed_bits_per_second", promised, probe, direction)
    for rule in line.rules:
        _put_rule(sheet, probe, rule)
    if line.last_run is not None:
        _put_run(sheet, probe, line.last_run)


def _put_rule(sheet: Sheet, probe: str, standing: RuleStanding) -> None:
    key, metric = standing.key, standing.rule.metric
    sheet.put("speedtrap_streak_allowed_runs", standing.rule.more_than, probe, key)
    sheet.put("speedtrap_streak_runs", standing.bad, probe, key)
    sheet.put("speedtrap_rule_broken", standing.is_broken, probe, key)
    if metric in DIRECTIONS:
        name, direction = "speedtrap_rule_bound_bits_per_second", DIRECTIONS[metric]
        sheet.put(name, _bits(standing.bound), probe, key, direction)
    elif metric is Metric.PACKET_LOSS:
        sheet.put("speedtrap_rule_bound_ratio", standing.bound, probe, key)
    else:
        sheet.put("speedtrap_rule_bound_seconds", _seconds(standing.bound), probe, key)


def _put_run(sheet: Sheet, probe: str, run: LastRun) -> None:
    sheet.put("speedtrap_last_run_timestamp_seconds", run.started_at.timestamp(), probe)
    if not run.is_fresh:
        return
    for outcome in Outcome:
        name = "speedtrap_last_run_outcome"
        sheet.put(name, outcome is run.outcome, probe, outcome.value)
    for metric, direction in DIRECTIONS.items():
        best = _bits(run.best.get(metric))
        sheet.put("speedtrap_observed_bits_per_second", best, probe, direction)
    idle = _seconds(run.best.get(Metric.LATENCY))
    sheet.put("speedtrap_observed_latency_seconds", idle, probe)
    for metric, direction in LOADED.items():
        loaded = _seconds(run.best.get(metric))
        sheet.put("speedtrap_observed_loaded_latency_seconds", loaded, probe, direction)
    lost = run.best.get(Metric.PACKET_LOSS)
    sheet.put("speedtrap_observed_packet_loss_ratio", lost, probe)
    for word in run.tools:
        _put_tool(sheet, probe, word)


def _put_tool(sheet: Sheet, probe: str, word: ToolWord) -> None:
    of, figures = (probe, word.tool), word.figures
    # One that was skipped, say for the data budget, is neither up nor down.
    if word.failure is not FailureKind.SKIPPED:
        sheet.put("speedtest_up", word.failure is None, *of)
    if word.failure is not None:
        sheet.put("speedtrap_tool_failure", 1, *of, word.failure.value)
    if word.server_id is not None and word.server_id.isascii() and word.server_id.isdigit():
        sheet.put("speedtest_server_id", int(word.server_id), *of)
    for metric, direction in DIRECTIONS.items():
        sheet.put(f"speedtest_{direction}_bits_per_second", _bits(figures.get(metric)), *of)
    # Milliseconds here alone, because the exporters that people know have them so.
    sheet.put("speedtest_ping_latency_milliseconds", figures.get(Metric.LATENCY), *of)
    sheet.put("speedtest_jitter_latency_milliseconds", figures.get(Metric.JITTER), *of)
    sheet.put("speedtrap_packet_loss_ratio", figures.get(Metric.PACKET_LOSS), *of)
    for metric, direction in LOADED.items():
        loaded = _seconds(figures.get(metric))
        sheet.put("speedtrap_loaded_latency_seconds", loaded, *of, direction)


def put_week(sheet: Sheet, probe: str, report: ServiceReport) -> None:
    of = (probe, WEEK)
    counts = {
        Outcome.MEASURED: report.n,
        Outcome.OUTAGE: report.outage_runs,
        Outcome.INCONCLUSIVE: report.inconclusive_runs,
    }
    for outcome, count in counts.items():
        sheet.put("speedtrap_report_runs", count, *of, outcome.value)
    sheet.put("speedtrap_report_median_bits_per_second", _bits(report.median_mbps), *of)
    sheet.put("speedtrap_report_median_ratio", report.median_ratio, *of)
    sheet.put("speedtrap_report_consistent_bits_per_second", _bits(report.consistent_mbps), *of)
    sheet.put("speedtrap_report_below_ratio", report.below_share, *of)
    sheet.put("speedtrap_report_outages", report.outages.count, *of)
    sheet.put("speedtrap_report_outage_seconds", report.outages.duration_s, *of)
    for tool in report.tools:
        by_tool = (probe, tool.tool, WEEK)
        median = _bits(tool.median)
        sheet.put("speedtrap_report_tool_median_bits_per_second", median, *by_tool)
        sheet.put("speedtrap_report_tool_runs", tool.n, *by_tool)
        sheet.put("speedtrap_report_tool_failures", tool.failures, *by_tool)


def put_house(sheet: Sheet, house: House, most: int, exporters: Container[str]) -> None:
    sheet.put("speedtrap_probes", house.probes)
    sheet.put("speedtrap_probes_left_out", max(0, house.probes - most))
    sheet.put("speedtrap_silent_probes", house.silent_probes)
    sheet.put("speedtrap_sending_on", house.sending_is_on)
    sheet.put("speedtrap_unrolled_spans", house.unrolled_spans)
    for channel in sorted({channel for channel, _ in house.notices}):
        for status in NoticeStatus:
            count = house.notices.get((channel, status.value), 0)
            sheet.put("speedtrap_notices", count, channel, status.value)
    for stream, seq in house.events.items():
        sheet.put("speedtrap_events_total", seq, stream)
    for exporter, at in sorted(house.exports.items()):
        if exporter in exporters:
            name = "speedtrap_exporter_reached_timestamp_seconds"
            sheet.put(name, at.timestamp(), exporter)


def put_disk(sheet: Sheet, disk: Disk) -> None:
    sheet.put("speedtrap_database_bytes", disk.data)
    sheet.put("speedtrap_database_filesystem_bytes", disk.file_system)
    sheet.put("speedtrap_database_filesystem_used_bytes", disk.file_system_used)


def _bits(mbps: float | None) -> float | None:
    return None if mbps is None else mbps * 1_000_000


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else ms / 1000
