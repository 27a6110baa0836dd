"""Runs leave as InfluxDB's line protocol, read by a strict parser of it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from speedtrap_graph.exporters.influx import Influx, InfluxSettings, lines_of
from speedtrap_graph.store.database import Store

from tests.graph.exporting import exporting, started, submit
from tests.lab.line_protocol import parse
from tests.lab.receiver import Posted, running_receiver
from tests.lab.runs import a_run
from tests.lab.waiting import until

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


def malformed(posted: Posted) -> bool:
    try:
        return not parse(posted.body.decode())
    except ValueError:
        return True


def stored(**changes: Any) -> dict[str, Any]:
    measurement = {"tool": "ookla", "started_at": AT, "duration_s": 20.0, "download_mbps": 500}
    run = {"_id": UUID(int=7), "probe": "laptop", "started_at": AT, "outcome": "MEASURED"}
    return {**run, "best": {"DOWNLOAD": 500}, "measurements": [measurement], **changes}


async def test_runs_are_written_with_the_token_of_a_file_and_only_what_was_measured(
    store: Store, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("planted-token\n")
    with running_receiver() as receiver:
        receiver.refuses = malformed
        settings = InfluxSettings(
            influx_url=receiver.url, influx_token_file=token, influx_org="home", influx_bucket="b 1"
        )
        async with exporting(store, Influx(settings)):
            await started(store, "influx")
            receiver.answers = [503]
            run = a_run(123.4)
            await submit(store, run, a_run(None))
            await until(lambda: sum(len(parse(p.body.decode())) for p in receiver.taken) >= 4)
    posted = receiver.taken[0]
    assert posted.headers["authorization"] == "Token planted-token"
    assert urlsplit(posted.path).path == "/api/v2/write"
    assert parse_qs(urlsplit(posted.path).query) == {
        "org": ["home"],
        "bucket": ["b 1"],
        "precision": ["ms"],
    }
    points = [point for posted in receiver.taken for point in parse(posted.body.decode())]
    best = next(p for p in points if p.fields.get("run_id") == run["id"])
    assert best.tags == {"probe": "laptop"}
    assert best.fields["download_mbps"] == 123.4
    assert best.at == int(datetime.fromisoformat(run["startedAt"]).timestamp() * 1000)
    failed = next(p for p in points if p.fields.get("failure") == "TOOL_FAILED")
    assert set(failed.fields) == {"failure", "duration_s"}


async def test_a_token_that_is_away_for_a_while_ends_nothing(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token = tmp_path / "token"
    token.touch()
    with running_receiver() as receiver:
        settings = InfluxSettings(
            influx_url=receiver.url, influx_token_file=token, influx_bucket="b"
        )
        token.unlink()
        async with exporting(store, Influx(settings)):
            await until(lambda: "INFLUX_TOKEN_FILE cannot be read (No such file" in caplog.text)
            token.write_text("planted-token")
            await started(store, "influx")
            await submit(store, a_run())
            await until(lambda: bool(receiver.taken))
    assert receiver.taken[0].headers["authorization"] == "Token planted-token"


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1).map(
        lambda text: f"a, =\\{text}z"
    ),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_any_text_and_figure_is_escaped_so_that_it_comes_back(name: str, figure: float) -> None:
    line = next(iter(lines_of(stored(probe=name, outcome=f'"{name}\\', best={"LATENCY": figure}))))
    [point] = parse(line)
    assert point.tags == {"probe": name}
    assert point.fields["outcome"] == f'"{name}\\'
    assert point.fields["latency_ms"] == figure


@pytest.mark.parametrize(
    "line", ["m", "m f= 1", "m,t= f=1 1", "m f=1,", 'm f="a 1', "m f=1 x", "m  f=1 1", "m f=nan 1"]
)
def test_the_parser_refuses_what_is_wrong(line: str) -> None:
    with pytest.raises(ValueError, match="not line protocol"):
        parse(line)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"influx_url": "example.org"}, "http or https address"),
        ({"influx_url": "https://me:planted@example.org", "influx_bucket": "b"}, "without a login"),
        ({"influx_url": "https://example.org"}, "INFLUX_BUCKET is not set"),
        (
            {"influx_url": "https://a.example", "influx_bucket": "b", "influx_token_file": "none"},
            "INFLUX_TOKEN_FILE: there is no file none",
        ),
    ],
)
def test_bad_settings_say_what_is_wrong_and_repeat_no_secret(
    settings: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem) as refused:
        InfluxSettings(**settings)
    assert "planted" not in str(refused.value)
