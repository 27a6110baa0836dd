"""What a probe that keeps running says, for programs and for people."""

import re
import signal
from pathlib import Path

import pytest

from tests.lab.collector import KEY, Ledger, collector
from tests.lab.lines import having, records, the_one
from tests.lab.speed import Manners, speed_server
from tests.probe.home import NOWHERE, Home, wait_for

JSON = {"SPEEDTRAP_PROBE_LOG_FORMAT": "json", "SPEEDTRAP_PROBE_LOG_LEVEL": "DEBUG"}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_from_start_to_end_every_line_is_a_record_with_the_figures(home: Home) -> None:
    ledger = Ledger()
    with speed_server() as lan, collector(ledger) as server:
        home.env |= {"SPEEDTRAP_PROBE_LAN_URL": lan.url + "/speed/", **JSON}
        home.env |= {"SPEEDTRAP_PROBE_KEY": KEY, "SPEEDTRAP_PROBE_URL": server.url}
        with home.start("watch", "--every", "5s", "--tool", "lan") as watch:
            wait_for(lambda: len(ledger.runs) >= 2)
            watch.send_signal(signal.SIGTERM)
            out, said = watch.communicate(timeout=30)
    assert (watch.returncode, out) == (0, "")
    told = having(records(said), "lan: ")
    assert {record["run_id"] for record in told} >= {str(id_) for id_ in list(ledger.runs)[:1]}
    first = told[0]
    assert (first["level"], first["logger"], first["tool"]) == ("INFO", "speedtrap_probe", "lan")
    assert first["download_mbps"] > 0
    assert f"{first['download_mbps']:,.1f} Mbps down" in first["message"]
    assert "delivered: 1 run" in said
    assert KEY not in said


def test_what_goes_wrong_is_a_warning_with_its_reason(home: Home) -> None:
    with speed_server(Manners(status=500)) as lan:
        home.env |= {"SPEEDTRAP_PROBE_LAN_URL": lan.url + "/speed/", **JSON}
        with home.start(
            "watch", "--every", "1h", "-k", KEY, "--url", NOWHERE, "--tool", "lan"
        ) as watch:
            wait_for(lambda: len(home.outbox) == 1)
            assert watch.stderr is not None
            lines = [watch.stderr.readline() for _ in range(3)]
            watch.send_signal(signal.SIGTERM)
            said = records("".join(lines) + watch.communicate(timeout=30)[1])
    assert the_one(said, "lan: ")["failure"] == "TOOL_FAILED"
    assert the_one(said, "1 run waits in the outbox")["level"] == "WARNING"
    assert KEY not in str(said)


def test_one_run_answers_in_words_and_tells_its_problems_as_records(home: Home) -> None:
    with speed_server() as lan:
        home.env |= {"SPEEDTRAP_PROBE_LAN_URL": lan.url + "/speed/", **JSON}
        done = home.probe("run", "-k", KEY, "--url", NOWHERE, "--tool", "lan")
    assert done.returncode == 0
    assert "down Mbps" in done.stdout
    the_one(records(done.stderr), "1 run waits in the outbox")


def test_a_start_that_fails_is_a_record_too(home: Home) -> None:
    done = home.probe("watch", "--every", "1h", **JSON, SPEEDTRAP_PROBE_WINDOW="2h")
    assert done.returncode == 2
    (record,) = records(done.stderr)
    assert record["message"].startswith("window must be 1s to 60s")


def test_words_are_what_is_said_unless_asked(home: Home) -> None:
    with speed_server() as lan:
        home.env |= {"SPEEDTRAP_PROBE_LAN_URL": lan.url + "/speed/"}
        with home.start("watch", "--every", "1h", "--tool", "lan") as watch:
            assert watch.stdout is not None
            line = watch.stdout.readline()
            watch.send_signal(signal.SIGTERM)
            assert watch.communicate(timeout=30)[1] == ""
    assert re.fullmatch(r"lan: [\d.,]+ Mbps down, [\d.,]+ Mbps up, [\d.,]+ ms\n", line)


@pytest.mark.parametrize(
    ("name", "allowed"),
    [("LOG_FORMAT", "text, json"), ("LOG_LEVEL", "DEBUG, INFO, WARNING, ERROR")],
)
def test_what_there_is_not_is_refused_with_what_there_is(
    name: str, allowed: str, home: Home
) -> None:
    done = home.probe("watch", "--every", "1h", **{f"SPEEDTRAP_PROBE_{name}": "Loud"})
    assert done.returncode == 2
    assert f"{name.lower()} must be one of {allowed}: 'loud'".lower() in done.stderr.lower()


def test_speedtrap_toml_may_ask_for_it(home: Home) -> None:
    config = home.folder / "config" / "speedtrap" / "speedtrap.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[probe]\nlog_format = "json"\nwindow = "2h"\n')
    del home.env["SPEEDTRAP_PROBE_WINDOW"]
    done = home.probe("watch", "--every", "1h")
    assert records(done.stderr)[0]["message"].startswith("window must be")
