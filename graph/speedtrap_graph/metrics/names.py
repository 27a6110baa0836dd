"""Every metric of `/metrics` but those of Python itself: its name, its labels and what it means.

The first six are those of the exporters that people already graph, with their units. An unmeasured
figure has no sample: 0 always means nought.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

Family = CounterMetricFamily | GaugeMetricFamily

Kind = Literal["gauge", "counter"]


@dataclass(frozen=True, slots=True)
class Name:
    """`of_process`: each copy of the service has its own; the others come from the database."""

    name: str
    labels: tuple[str, ...]
    text: str
    kind: Kind = "gauge"
    of_process: bool = False

    def family(self) -> Family:
        if self.kind == "counter":
            return CounterMetricFamily(self.name, self.text, labels=self.labels)
        return GaugeMetricFamily(self.name, self.text, labels=self.labels)


_TOOL = ("probe", "tool")
_REPORT = ("probe", "window")
PROCESS = "process"


def _house(name: str, labels: Iterable[str], text: str, kind: Kind = "gauge") -> tuple[str, Name]:
    return name, Name(name, tuple(labels), text, kind)


def _own(name: str, labels: Iterable[str], text: str, kind: Kind = "gauge") -> tuple[str, Name]:
    return name, Name(name, (*labels, PROCESS), text, kind, of_process=True)


NAMES: dict[str, Name] = dict(
    (
        # The newest run, tool by tool. Gone while the probe is silent.
        _house("speedtest_up", _TOOL, "1: the tool measured in the newest run; 0: it failed."),
        _house("speedtest_server_id", _TOOL, "The server it measured against."),
        _house("speedtest_download_bits_per_second", _TOOL, "Download of the newest run."),
        _house("speedtest_upload_bits_per_second", _TOOL, "Upload of the newest run."),
        _house("speedtest_ping_latency_milliseconds", _TOOL, "Idle round trip."),
        _house("speedtest_jitter_latency_milliseconds", _TOOL, "How much the round trip varies."),
        _house(
            "speedtrap_loaded_latency_seconds",
            (*_TOOL, "direction"),
            "Round trip while the line is full, down or up.",
        ),
        _house("speedtrap_packet_loss_ratio", _TOOL, "Lost packets, 0 to 1."),
        _house("speedtrap_tool_failure", (*_TOOL, "kind"), "1: why it has no figure."),
        # The newest run as a whole.
        _house("speedtrap_last_run_timestamp_seconds", ("probe",), "When the newest run started."),
        _house(
            "speedtrap_last_run_outcome",
            ("probe", "outcome"),
            "1 for the newest run's outcome, 0 for the others.",
        ),
        _house(
            "speedtrap_observed_bits_per_second",
            ("probe", "direction"),
            "What the newest run says of the line: its best internet tool's figure.",
        ),
        _house("speedtrap_observed_latency_seconds", ("probe",), "The best idle round trip of it."),
        _house(
            "speedtrap_observed_loaded_latency_seconds",
            ("probe", "direction"),
            "The best round trip under load of it.",
        ),
        _house("speedtrap_observed_packet_loss_ratio", ("probe",), "The least loss of it."),
        _house("speedtrap_runs", ("probe",), "Runs of it that were taken and not deleted."),
        _house(
            "speedtrap_probe_last_seen_timestamp_seconds", ("probe",), "When it was heard of last."
        ),
        _house("speedtrap_probe_silent", ("probe",), "1: overdue, and not heard of since."),
        # Against the plan and the rules.
        _house(
            "speedtrap_subscribed_bits_per_second",
            ("probe", "direction"),
            "What the plan in force promises.",
        ),
        _house("speedtrap_plan_info", ("probe", "provider"), "1: the plan in force is theirs."),
        _house(
            "speedtrap_rule_bound_bits_per_second",
            ("probe", "rule", "direction"),
            "A throughput below this breaks the rule.",
        ),
        _house(
            "speedtrap_rule_bound_seconds", ("probe", "rule"), "A latency above this breaks it."
        ),
        _house(
            "speedtrap_rule_bound_ratio", ("probe", "rule"), "A packet loss above this breaks it."
        ),
        _house(
            "speedtrap_rule_broken",
            ("probe", "rule"),
            "1: the newest run broke the rule, outages included; 0: it kept it.",
        ),
        _house(
            "speedtrap_streak_runs",
            ("probe", "rule"),
            "Bad runs that count now; of an open breach all of its own.",
        ),
        _house("speedtrap_streak_allowed_runs", ("probe", "rule"), "More bad ones make a breach."),
        _house("speedtrap_open_breaches", ("probe",), "Breaches that are not resolved."),
        # The page's report on the last seven days.
        _house(
            "speedtrap_report_runs",
            (*_REPORT, "outcome"),
            "Runs in the window by outcome.",
        ),
        _house(
            "speedtrap_report_median_bits_per_second", _REPORT, "Median download of the window."
        ),
        _house("speedtrap_report_median_ratio", _REPORT, "Median share of the subscribed speed."),
        _house(
            "speedtrap_report_consistent_bits_per_second",
            _REPORT,
            "What 80 % of the runs at peak reach.",
        ),
        _house(
            "speedtrap_report_below_ratio",
            _REPORT,
            "Share of the runs that broke the rule, outages included.",
        ),
        _house("speedtrap_report_outages", _REPORT, "Outages as spans."),
        _house("speedtrap_report_outage_seconds", _REPORT, "How long they were together."),
        _house(
            "speedtrap_report_tool_median_bits_per_second",
            (*_TOOL, "window"),
            "A tool's median download.",
        ),
        _house("speedtrap_report_tool_runs", (*_TOOL, "window"), "Runs in which it measured."),
        _house("speedtrap_report_tool_failures", (*_TOOL, "window"), "Runs in which it failed."),
        # The house.
        _house("speedtrap_probes", (), "Probes of which a run has come."),
        _house(
            "speedtrap_probes_left_out",
            (),
            "Probes beyond SPEEDTRAP_GRAPH_METRICS_PROBES, of which nothing is shown here.",
        ),
        _house("speedtrap_silent_probes", (), "Probes that are silent, of all."),
        _house("speedtrap_notices", ("channel", "status"), "Notices by where they stand."),
        _house("speedtrap_sending_on", (), "0: somebody has switched all sending off."),
        _house("speedtrap_events_total", ("stream",), "Events ever numbered.", "counter"),
        _house(
            "speedtrap_exporter_reached_timestamp_seconds",
            ("exporter",),
            "Runs up to then have left by this exporter.",
        ),
        _house("speedtrap_unrolled_spans", (), "Spans of time that are to be rolled up again."),
        _house("speedtrap_database_bytes", (), "Data and indexes on the disk."),
        _house("speedtrap_database_filesystem_bytes", (), "The database's file system."),
        _house("speedtrap_database_filesystem_used_bytes", (), "What of it is used."),
        # This process.
        _own("speedtrap_build_info", ("version",), "1."),
        _own("speedtrap_database_up", (), "1: MongoDB answers, and takes writes."),
        _own(
            "speedtrap_scrape_complete",
            (),
            "0: MongoDB was away, or too slow for SPEEDTRAP_GRAPH_METRICS_TIMEOUT_S.",
        ),
        _own("speedtrap_scrape_duration_seconds", (), "How long this answer took."),
        _own(
            "speedtrap_runs_submitted_total",
            ("result",),
            "Runs submitted here: accepted, duplicate or rejected.",
            "counter",
        ),
        _own(
            "speedtrap_runs_rejected_total",
            ("reason",),
            "Runs rejected here, by the field that was wrong.",
            "counter",
        ),
        _own("speedtrap_errors_total", ("code",), "Errors told to callers.", "counter"),
        _own(
            "speedtrap_requests_refused_total",
            (),
            "Requests and operations refused because a key asked too often.",
            "counter",
        ),
        _own("speedtrap_subscribers", ("subscription",), "Open subscriptions."),
        _own("speedtrap_lagging_subscribers", (), "Those that read the store to catch up."),
        _own("speedtrap_event_queue_length", (), "Events that wait for subscribers."),
        _own(
            "speedtrap_change_stream_behind_events",
            (),
            "Events in the database that this copy has not been told of.",
        ),
        _own(
            "speedtrap_change_stream_quiet_seconds",
            (),
            "Since the change stream answered last: about 1 at most while all is well.",
        ),
    )
)


class Sheet:
    """Metrics being filled in. What is None is left out, and so has no sample."""

    def __init__(self, names: Iterable[Name]) -> None:
        self._families: dict[str, Family] = {name.name: name.family() for name in names}

    def put(self, name: str, value: float | None, *labels: str) -> None:
        if value is not None:
            self._families[name].add_metric(labels, value)

    def families(self) -> list[Metric]:
        return list(self._families.values())
