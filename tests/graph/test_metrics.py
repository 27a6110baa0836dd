"""`/metrics` tells what was measured in full, what is unknown not at all, and strangers nothing."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from speedtrap_graph.app import create_app
from speedtrap_graph.metrics.__main__ import PAGE, page
from speedtrap_graph.metrics.names import NAMES
from speedtrap_graph.services.intake.submission import Submission
from speedtrap_graph.services.intake.submission_counts import SubmissionCounts
from speedtrap_graph.services.intake.validate import Rejection
from speedtrap_graph.settings import GraphSettings

from tests.lab.figures import Figures, read, scraped
from tests.lab.mongo import Mongod, fresh_database, running_mongod
from tests.lab.runs import SUBMIT, a_run, slow_runs
from tests.lab.service import Service, running_service

PLAN = """
mutation($probe: String, $mbps: Float!) {
  setPlan(plan: {probe: $probe, provider: "Example \\"Fiber\\"", downloadMbps: $mbps,
    uploadMbps: 100, timeZone: "Europe/Berlin", since: "2020-01-01T00:00:00Z"}) { provider }
}
"""
REPORT = """
query($probe: String!, $since: DateTime!, $until: DateTime!) {
  serviceReport(probe: $probe, since: $since, until: $until) {
    n medianMbps medianRatio consistentMbps belowShare outageRuns
    outages { count durationS } tools { tool median n failures }
  }
}
"""


@pytest.fixture(scope="module")
def database(mongod: Mongod) -> Iterator[str]:
    with fresh_database(mongod) as name:
        yield name


@pytest.fixture(scope="module")
def service(
    mongod: Mongod, database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with running_service(
        mongod,
        database,
        folder,
        SPEEDTRAP_GRAPH_METRICS_PROBES="50",
        SPEEDTRAP_GRAPH_METRICS_TIMEOUT_S="60",
    ) as running:
        yield running


def figures(service: Service, role: str = "viewer", **more: bool) -> Figures:
    return scraped(f"{service.base_url}/metrics", {"X-API-Key": service.keys[role]}, **more)


def submit(service: Service, *runs: dict[str, Any]) -> None:
    result = service.query(SUBMIT, {"runs": list(runs)})["submitRuns"]
    assert not result["rejected"]


def a_tool(tool: str, **figures: Any) -> dict[str, Any]:
    at = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    return {"tool": tool, "startedAt": at, "durationS": 9.5, **figures}


def a_failed(tool: str, kind: str) -> dict[str, Any]:
    return a_tool(tool, failure={"kind": kind, "message": "no"})


def test_every_tools_figures_are_told_in_the_units_of_their_names(service: Service) -> None:
    service.query(PLAN, {"probe": "attic", "mbps": 940})
    ookla = a_tool(
        "ookla",
        downloadMbps=512.25,
        uploadMbps=40,
        latencyMs=12.5,
        jitterMs=0,
        packetLossRatio=0,
        loadedLatencyDownMs=80,
        server={"id": "4711"},
    )
    fast = a_tool("fast", downloadMbps=480.0, server={"id": "ams-1"})
    broken = [a_failed("ndt7", "TIMEOUT"), a_failed("iperf3", "SKIPPED")]
    submit(service, a_run(probe="attic", measurements=[ookla, fast, *broken]))
    told = figures(service)
    of = {"probe": "attic", "tool": "ookla"}
    assert told.get("speedtest_download_bits_per_second", **of) == 512_250_000
    assert told.get("speedtest_upload_bits_per_second", **of) == 40_000_000
    assert told.get("speedtest_ping_latency_milliseconds", **of) == 12.5
    assert told.get("speedtest_jitter_latency_milliseconds", **of) == 0
    assert told.get("speedtrap_packet_loss_ratio", **of) == 0
    assert told.get("speedtrap_loaded_latency_seconds", **of, direction="down") == 0.08
    assert told.get("speedtest_server_id", **of) == 4711
    assert told.get("speedtest_up", **of) == 1
    assert told.get(
        "speedtrap_subscribed_bits_per_second", probe="attic", direction="download"
    ) == (940_000_000)
    assert told.get("speedtrap_plan_info", probe="attic", provider='Example "Fiber"') == 1
    observed = told.get("speedtrap_observed_bits_per_second", probe="attic", direction="download")
    assert observed == 512_250_000
    assert told.get("speedtest_up", probe="attic", tool="ndt7") == 0
    assert told.get("speedtrap_tool_failure", probe="attic", tool="ndt7", kind="TIMEOUT") == 1


def test_what_was_not_measured_has_no_sample(service: Service) -> None:
    submit(
        service,
        a_run(
            probe="bare",
            measurements=[a_tool("fast", downloadMbps=5), a_failed("iperf3", "SKIPPED")],
        ),
    )
    told = figures(service)
    mine = {name for (name, labels) in told.samples if ("probe", "bare") in labels}
    assert told.get("speedtest_download_bits_per_second", probe="bare", tool="fast") == 5_000_000
    absent = {
        "speedtest_upload_bits_per_second",
        "speedtest_ping_latency_milliseconds",
        "speedtest_jitter_latency_milliseconds",
        "speedtest_server_id",
        "speedtrap_loaded_latency_seconds",
        "speedtrap_packet_loss_ratio",
        "speedtrap_observed_latency_seconds",
        "speedtrap_observed_packet_loss_ratio",
        # Without a plan nothing was promised.
        "speedtrap_subscribed_bits_per_second",
        "speedtrap_rule_bound_bits_per_second",
        "speedtrap_rule_broken",
        "speedtrap_report_median_ratio",
    }
    assert absent <= set(NAMES)
    assert mine & absent == set()
    assert not told.of("speedtest_up", probe="bare", tool="iperf3")


def test_an_outage_is_a_gap_that_breaks_the_rule_and_no_throughput_of_0(service: Service) -> None:
    service.query(PLAN, {"probe": "cut", "mbps": 100})
    down = {"lineUp": False, "medium": "WIRED"}
    submit(service, a_run(90, probe="cut", hours_ago=2))
    submit(service, a_run(None, probe="cut", conditions=down))
    told = figures(service)
    assert not told.of("speedtest_download_bits_per_second", probe="cut")
    assert not told.of("speedtrap_observed_bits_per_second", probe="cut")
    assert told.get("speedtrap_last_run_outcome", probe="cut", outcome="OUTAGE") == 1
    assert told.get("speedtrap_last_run_outcome", probe="cut", outcome="MEASURED") == 0
    assert told.get("speedtrap_rule_broken", probe="cut", rule="DOWNLOAD") == 1
    assert told.get("speedtrap_streak_runs", probe="cut", rule="DOWNLOAD") == 1
    assert told.get("speedtrap_report_runs", probe="cut", window="7d", outcome="OUTAGE") == 1
    assert told.get("speedtrap_report_below_ratio", probe="cut", window="7d") == 0.5


def test_a_streak_grows_into_an_open_breach(service: Service) -> None:
    service.query(PLAN, {"probe": "slow", "mbps": 940})
    *first, last = slow_runs(6, probe="slow")
    submit(service, *first)
    told = figures(service)
    of = {"probe": "slow", "rule": "DOWNLOAD"}
    assert told.get("speedtrap_streak_runs", **of) == 5
    assert told.get("speedtrap_streak_allowed_runs", **of) == 5
    assert told.get("speedtrap_open_breaches", probe="slow") == 0
    bound = told.get("speedtrap_rule_bound_bits_per_second", **of, direction="download")
    assert bound == 470_000_000
    submit(service, last)
    told = figures(service)
    assert told.get("speedtrap_streak_runs", **of) == 6
    assert told.get("speedtrap_open_breaches", probe="slow") == 1


def test_a_silent_probes_last_figures_are_not_drawn_on(
    service: Service, mongod: Mongod, database: str
) -> None:
    submit(service, a_run(90, probe="gone"))
    assert figures(service).of("speedtest_download_bits_per_second", probe="gone")
    past = datetime.now(UTC) - timedelta(hours=1)
    with mongod.client() as client:
        client[database]["probes"].update_one(
            {"_id": "gone"},
            {"$set": {"last_seen_at": past, "next_run_at": past - timedelta(minutes=1)}},
        )
    told = figures(service)
    assert not told.of("speedtest_download_bits_per_second", probe="gone")
    assert not told.of("speedtrap_last_run_outcome", probe="gone")
    assert told.get("speedtrap_probe_silent", probe="gone") == 1
    assert told.of("speedtrap_last_run_timestamp_seconds", probe="gone")


def test_a_run_of_days_ago_that_nobody_promised_another_speaks_for_no_line(
    service: Service,
) -> None:
    submit(service, a_run(90, probe="by-hand", hours_ago=30))
    told = figures(service)
    assert not told.of("speedtest_download_bits_per_second", probe="by-hand")
    assert told.get("speedtrap_probe_silent", probe="by-hand") == 0


def test_the_week_is_that_of_the_service_report(service: Service) -> None:
    service.query(PLAN, {"probe": "weekly", "mbps": 100})
    runs = [a_run(40 + 7.5 * place, probe="weekly", hours_ago=place + 1) for place in range(7)]
    failed = a_run(probe="weekly", hours_ago=9, measurements=[a_failed("ookla", "RATE_LIMITED")])
    submit(service, *runs, failed)
    now = datetime.now(UTC)
    times = {"since": (now - timedelta(days=7)).isoformat(), "until": now.isoformat()}
    report = service.query(REPORT, {"probe": "weekly", **times})["serviceReport"]
    told = figures(service)
    of = {"probe": "weekly", "window": "7d"}
    assert told.get("speedtrap_report_runs", **of, outcome="MEASURED") == report["n"] == 7
    assert told.get("speedtrap_report_runs", **of, outcome="INCONCLUSIVE") == 1
    assert told.get("speedtrap_report_median_bits_per_second", **of) == report["medianMbps"] * 1e6
    assert told.get("speedtrap_report_median_ratio", **of) == report["medianRatio"]
    assert told.get("speedtrap_report_below_ratio", **of) == report["belowShare"]
    [tool] = report["tools"]
    by_tool = {**of, "tool": "ookla"}
    assert told.get("speedtrap_report_tool_runs", **by_tool) == tool["n"]
    assert told.get("speedtrap_report_tool_failures", **by_tool) == tool["failures"] == 1
    median = told.get("speedtrap_report_tool_median_bits_per_second", **by_tool)
    assert median == tool["median"] * 1e6


def test_strangers_are_refused_and_so_are_keys_that_are_for_other_things(service: Service) -> None:
    url = f"{service.base_url}/metrics"
    for headers in ({}, {"X-API-Key": "a key that nobody has"}):
        assert httpx.get(url, headers=headers).status_code == 401
    # Only the gateway may say who calls, and here is none.
    assert httpx.get(url, headers={"X-Speedtrap-Caller": "operator:admin"}).status_code == 401
    for role, status in {"viewer": 200, "admin": 200, "probe": 403, "bot": 403}.items():
        bearer = {"Authorization": f"Bearer {service.keys[role]}"}
        assert httpx.get(url, headers=bearer).status_code == status
    refusal = httpx.get(url, headers={"X-API-Key": service.keys["bot"]}).json()
    assert refusal["error"]["code"] == "FORBIDDEN"
    assert httpx.post(url, headers={"X-API-Key": service.keys["admin"]}).status_code == 405


@pytest.mark.parametrize("in_open_metrics", [False, True])
def test_it_is_valid_and_every_metric_says_what_it_means(
    service: Service, in_open_metrics: bool
) -> None:
    told = figures(service, in_open_metrics=in_open_metrics)
    # A counter's name ends in _total in the samples, and does not in the OpenMetrics text.
    assert {name.removesuffix("_total") for name in NAMES} <= {
        name.removesuffix("_total") for name in told.documented
    }
    assert ("# EOF" in told.text) is in_open_metrics
    for key in service.keys.values():
        assert key not in told.text


def test_whoever_has_no_time_is_told_what_is_known_without_mongodb(service: Service) -> None:
    """Prometheus says how long it waits; a late answer would be none."""
    headers = {
        "X-API-Key": service.keys["viewer"],
        "X-Prometheus-Scrape-Timeout-Seconds": "0.000001",
    }
    told = scraped(f"{service.base_url}/metrics", headers)
    assert told.one("speedtrap_scrape_complete") == 0
    assert not told.of("speedtrap_probes")
    assert told.of("process_resident_memory_bytes")


def test_it_comes_packed_to_whoever_can_unpack_it(service: Service) -> None:
    headers = {"X-API-Key": service.keys["viewer"]}
    url = f"{service.base_url}/metrics"
    answer = httpx.get(url, headers={**headers, "Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert "speedtrap_database_up" in answer.text
    plain = httpx.get(url, headers={**headers, "Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers


def test_what_this_process_did_is_counted_by_reasons_that_are_few(service: Service) -> None:
    before = figures(service)
    good, bad = a_run(probe="count"), a_run(probe="count")
    bad["measurements"][0]["downloadMbps"] = -1
    invented = {**a_run(probe="count"), "a field that nobody knows": 1}
    service.query(SUBMIT, {"runs": [good, good, bad, invented]})
    told = figures(service)

    def more(name: str, **labels: str) -> float:
        known = sum(before.of(name, **labels).values())
        return told.one(name, **labels) - known

    submitted = "speedtrap_runs_submitted_total"
    assert more(submitted, result="accepted") == 1
    assert more(submitted, result="duplicate") == 1
    assert more(submitted, result="rejected") == 2
    rejected = "speedtrap_runs_rejected_total"
    assert more(rejected, reason="measurements.downloadMbps") == 1
    assert more(rejected, reason="unknown") == 1
    count = "speedtrap_operation_duration_seconds_count"
    assert more(count, type="mutation", field="submitRuns") == 1
    assert "a field that nobody knows" not in told.text


def test_reasons_that_somebody_invents_are_one() -> None:
    submission_counts = SubmissionCounts()
    rejected = [Rejection(None, place, f"field{place}", "no") for place in range(1000)]
    submission_counts.add(Submission(rejected=rejected))
    assert dict(submission_counts.rejected) == {"unknown": 1000}


def test_errors_are_counted_by_their_codes(service: Service) -> None:
    before = figures(service).of("speedtrap_errors_total", code="BAD_INPUT")
    service.post("{ nothingOfThatName }")
    after = figures(service).one("speedtrap_errors_total", code="BAD_INPUT")
    assert after == sum(before.values()) + 1


@asynccontextmanager
async def a_copy(
    mongod: Mongod, database: str, service: Service, **settings: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """graph in this process, with the keys of *service*; asked as a viewer."""
    app = create_app(
        GraphSettings(
            mongodb_uri=SecretStr(mongod.uri),
            database=database,
            keys_file=service.keys_file,
            **settings,
        )
    )
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://graph",
            headers={"X-API-Key": service.keys["admin"]},
            timeout=60,
        ) as client,
    ):
        yield client


async def told_by(client: httpx.AsyncClient) -> Figures:
    return read((await client.get("/metrics")).text)


async def submitted(client: httpx.AsyncClient, *runs: dict[str, Any]) -> None:
    body = {"query": SUBMIT, "variables": {"runs": list(runs)}}
    answer = (await client.post("/graphql", json=body)).json()
    assert len(answer["data"]["submitRuns"]["accepted"]) == len(runs)


async def test_two_copies_tell_the_same_of_the_lines_and_each_its_own_of_itself(
    service: Service, mongod: Mongod, database: str
) -> None:
    submit(service, a_run(probe="shared"))
    async with a_copy(mongod, database, service, metrics_probes=50, metrics_timeout_s=60) as other:
        first, second = figures(service), await told_by(other)
    # MongoDB writes by itself now and then, and what is rolled up is so in the background.
    moving = {name for name in NAMES if name.startswith(("speedtrap_database", "speedtrap_unr"))}

    def lines(told: Figures) -> dict[Any, float]:
        return {key: value for key, value in told.shared().items() if key[0] not in moving}

    assert lines(first) == lines(second)
    assert first.of("speedtest_download_bits_per_second", probe="shared")
    processes = {
        dict(labels)["process"]
        for told in (first, second)
        for labels in told.of("speedtrap_database_up")
    }
    assert len(processes) == 2


async def test_of_a_fleet_so_many_are_told_as_the_operator_allows(
    mongod: Mongod, database_name: str, service: Service
) -> None:
    async with a_copy(
        mongod, database_name, service, metrics_probes=2, metrics_timeout_s=60
    ) as small:
        await submitted(small, *(a_run(probe=f"p{place}") for place in range(5)))
        told = await told_by(small)
    assert told.get("speedtrap_probes") == 5
    assert told.get("speedtrap_probes_left_out") == 3
    shown = {dict(labels).get("probe") for _, labels in told.samples} - {None}
    assert shown == {"p0", "p1"}


async def test_while_mongodb_is_away_it_tells_what_it_can(tmp_path: Path, service: Service) -> None:
    with running_mongod(tmp_path / "mongod") as mine:
        async with a_copy(mine, "speedtrap", service, metrics_timeout_s=2) as copy:
            await submitted(copy, a_run())
            told = await told_by(copy)
            assert told.one("speedtrap_database_up") == told.one("speedtrap_scrape_complete") == 1
            mine.kill()
            told = await told_by(copy)
            assert told.one("speedtrap_database_up") == 0
            assert told.one("speedtrap_scrape_complete") == 0
            assert not told.of("speedtest_download_bits_per_second")
            assert not told.of("speedtrap_probes")
            assert told.one("speedtrap_runs_submitted_total", result="accepted") == 1
            assert told.of("process_resident_memory_bytes")
            mine.start()
            async with asyncio.timeout(60):
                while not (told := await told_by(copy)).one("speedtrap_scrape_complete"):
                    pass
            assert told.of("speedtest_download_bits_per_second")


def test_the_page_of_metrics_is_as_the_code_has_it() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()
