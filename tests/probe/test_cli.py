"""The command as a user runs it: another process, real servers, files in a folder."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import pytest
from speedtrap_probe.files import lock

from tests.lab.collector import KEY, Ledger, collector
from tests.lab.speed import Manners, speed_server
from tests.probe.builders import a_run
from tests.probe.home import Home, wait_for


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_without_a_key_a_run_is_written_to_the_csv_only(home: Home) -> None:
    with speed_server() as lan:
        done = home.probe("run", "--tool", "lan", "--url", lan.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert "lan" in done.stdout
    assert "\x1b[" not in done.stdout
    (row,) = home.rows()
    assert float(row["download_mbps"]) > 0
    assert not home.outbox


def test_a_run_with_a_key_is_delivered_and_the_outbox_is_empty(home: Home) -> None:
    ledger = Ledger()
    with speed_server() as lan, collector(ledger) as server:
        done = home.probe(
            "run", "-k", KEY, "--url", server.url, "--tool", "lan", "--csv", "mine.csv",
            SPEEDTRAP_PROBE_LAN_URL=lan.url + "/speed/",
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "delivered: 1 run" in done.stdout
    ((id_, run),) = ledger.runs.items()
    assert run["probe"] == "laptop"
    assert run["measurements"][0]["downloadMbps"] > 0
    assert run["conditions"]["lineUp"] is False
    assert (home.folder / "mine.csv").read_text().count(str(id_)) == 1
    assert len(home.outbox) == 0


def test_internet_tools_fail_with_no_network_and_a_reason_but_no_zero(home: Home) -> None:
    with speed_server() as lan:
        done = home.probe(
            "run", "--json", "--url", lan.url,
            SPEEDTRAP_PROBE_PROXY="",
            SPEEDTRAP_PROBE_TURNKEY_URL="https://no-such-host.invalid/",
            https_proxy="http://127.0.0.1:1",
        )  # fmt: skip
    assert done.returncode == 0
    told = json.loads(done.stdout)
    failures = {one["tool"]: one.get("failure") for one in told["run"]["measurements"]}
    assert failures["lan"] is None
    assert failures["speedtest-cli"]["kind"] == failures["turnkey"]["kind"] == "NO_NETWORK"
    assert "could not be resolved" in failures["turnkey"]["message"]
    for row in home.rows():
        assert "0" not in {row["download_mbps"], row["upload_mbps"], row["latency_ms"]}


def test_when_every_tool_fails_the_exit_code_is_1_and_the_run_is_still_delivered(
    home: Home,
) -> None:
    ledger = Ledger()
    with speed_server(Manners(status=500)) as lan, collector(ledger) as server:
        done = home.probe(
            "run", "-q", "-k", KEY, "--url", server.url, "--tool", "lan",
            SPEEDTRAP_PROBE_LAN_URL=lan.url + "/speed/",
        )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    assert len(ledger.runs) == 1
    assert home.rows()[0]["failure"].startswith("TOOL_FAILED: ")


def test_offline_runs_are_queued_and_arrive_once_by_flush(home: Home) -> None:
    ledger = Ledger()
    with collector(ledger) as server:
        port, url = server.server_address[1], server.url
    with speed_server() as lan:
        home.env["SPEEDTRAP_PROBE_LAN_URL"] = lan.url + "/speed/"
        for waiting in (1, 2):
            done = home.probe("run", "-k", KEY, "--url", url, "--tool", "lan")
            assert done.returncode == 0
            assert "cannot be reached" in done.stderr
            assert len(home.outbox) == waiting
    with collector(ledger, port):
        for _ in range(2):
            assert home.probe("flush", "-k", KEY, "--url", url).returncode == 0
    assert {str(id_) for id_ in ledger.runs} == {row["run_id"] for row in home.rows()}
    assert len(ledger.runs) == 2


def test_a_rejected_run_is_said_aloud_and_kept_until_the_service_takes_it(home: Home) -> None:
    run, ledger = a_run(probe="neighbour"), Ledger(refused_probe="neighbour")
    home.outbox.put([run])
    with collector(ledger) as server:
        given = ("flush", "-k", KEY, "--url", server.url)
        first, second = home.probe(*given), home.probe(*given)
        again = home.probe(*given, "--retry", "-q")
        ledger.refused_probe = None
        taken, last = home.probe(*given, "--retry"), home.probe(*given)
    assert [one.returncode for one in (first, second, again, taken, last)] == [3, 0, 3, 0, 0]
    assert "rejected by the service" in first.stderr
    assert "flush --retry" in first.stderr
    assert "probe: not yours" in second.stdout
    assert "probe: not yours" in again.stderr
    assert "delivered: 1 run" in taken.stdout
    assert "set aside" not in last.stdout
    assert list(ledger.runs) == [run.id]
    assert len(home.outbox) == 0


@pytest.mark.parametrize("form", ["--json", "-q"])
def test_a_run_that_the_service_rejects_is_said_aloud_whatever_the_form(
    form: str, home: Home
) -> None:
    with speed_server() as lan, collector(Ledger(refused_probe="laptop")) as server:
        done = home.probe(
            "run", form, "-k", KEY, "--url", server.url, "--tool", "lan",
            SPEEDTRAP_PROBE_LAN_URL=lan.url + "/speed/",
        )  # fmt: skip
    assert done.returncode == 3
    assert "rejected by the service" in done.stderr
    (aside,) = home.outbox.rejections()
    assert str(aside.run.id) == home.rows()[0]["run_id"]


@pytest.mark.parametrize(
    "content",
    ["", "timestamp,fast,speedtest,turnkey,ookla\n", "a shopping list\nmilk\n", "\0" * 900,
     "11/10/2019 10:00,1 Mbps,,,\n"],
    ids=["nothing", "a header", "something else", "zeros", "dates of two meanings"],
)  # fmt: skip
def test_where_nothing_could_be_read_the_import_fails_and_says_what_was_expected(
    content: str, home: Home
) -> None:
    (home.folder / "old.csv").write_text(content)
    done = home.probe("import", "old.csv", "-k", KEY, "--url", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert "no run could be read from old.csv" in done.stderr.replace("\n", " ")
    assert "timestamp,fast,speedtest,turnkey,ookla" in done.stderr.replace("\n", "")
    assert len(home.outbox) == 0


def test_an_unknown_key_leaves_the_run_queued_and_says_so_without_the_key(home: Home) -> None:
    home.outbox.put([a_run()])
    with collector(Ledger()) as server:
        done = home.probe("flush", "-k", "wr0ng-key", "--url", server.url)
    assert "does not know this key" in done.stderr
    assert "wr0ng-key" not in done.stderr + done.stdout
    assert len(home.outbox) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--tool", "nix"], "no tool 'nix'; there are: "),
        (["run", "--url", "speedtrap"], "--url must be an http"),
        (["run", "--bogus"], "No such option"),
        (["watch"], "--every"),
        (["watch", "--every", "5.5h"], "no span of time"),
        (["watch", "--every", "1h", "--jitter", "40m"], "more than twice --jitter"),
        (["flush"], "a key is needed"),
        (["import", "none.csv"], "cannot be read"),
        (["import", "none.csv", "--time-zone", "Mars/Base"], "no time zone"),
    ],
)
def test_bad_usage_is_a_sentence_and_never_a_traceback(
    arguments: list[str], said: str, home: Home
) -> None:
    done = home.probe(*arguments)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_tools_lists_what_there_is(home: Home) -> None:
    done = home.probe("tools")
    assert done.returncode == 0
    assert {"lan", "speedtest-cli", "turnkey", "2.1.3"} <= set(done.stdout.split())
    assert "\niperf3: name a server: SPEEDTRAP_PROBE_IPERF3_SERVER=host" in done.stdout


def test_settings_come_from_speedtrap_toml(home: Home) -> None:
    config = home.folder / "config" / "speedtrap" / "speedtrap.toml"
    config.parent.mkdir(parents=True)
    ledger = Ledger()
    home.outbox.put([a_run()])
    with collector(ledger) as server:
        config.write_text(f'[probe]\nkey = "{KEY}"\nurl = "{server.url}"\n')
        assert home.probe("flush").returncode == 0
    assert len(ledger.runs) == 1


def test_the_old_report_is_imported_once_however_often(home: Home) -> None:
    old = home.folder / "old.csv"
    old.write_text(
        "timestamp,fast,speedtest,turnkey,ookla\n"
        "2019/12/24 18:30:00,340.37 Mbps,500.0 Mbps,1,023.45 Mbps,512.3 Mbps\n"
        "never,1,2,3,4\n"
    )
    ledger = Ledger()
    with collector(ledger) as server:
        for _ in range(2):
            done = home.probe(
                "import", "old.csv", "-k", KEY, "--url", server.url,
                "--time-zone", "America/Denver",
            )  # fmt: skip
            assert done.returncode == 0
            assert "line 3" in done.stderr
    (run,) = ledger.runs.values()
    assert run["startedAt"] == "2019-12-25T01:30:00.000+00:00"
    assert [one["downloadMbps"] for one in run["measurements"]] == [340.37, 524.288, 1023.45, 512.3]


def test_watch_measures_at_once_and_again_and_ends_cleanly_on_sigterm(home: Home) -> None:
    ledger = Ledger()
    with speed_server() as lan, collector(ledger) as server:
        home.env |= {"SPEEDTRAP_PROBE_LAN_URL": lan.url + "/speed/"}
        with home.start(
            "watch", "--every", "5s", "-k", KEY, "--url", server.url, "--tool", "lan"
        ) as watch:
            wait_for(lambda: len(ledger.runs) >= 2)
            watch.send_signal(signal.SIGTERM)
            _, said = watch.communicate(timeout=30)
    assert (watch.returncode, said) == (0, "")
    assert {str(id_) for id_ in ledger.runs} <= {row["run_id"] for row in home.rows()}


def test_watch_stops_in_the_middle_of_a_tool_and_takes_it_along(home: Home) -> None:
    with speed_server(Manners(stalls_after=1000)) as lan:
        home.env |= {"SPEEDTRAP_PROBE_LAN_URL": lan.url + "/speed/"}
        with home.start("watch", "--every", "1h", "--tool", "lan") as watch:
            wait_for(lambda: lan.connections > 2)
            watch.send_signal(signal.SIGINT)
            _, said = watch.communicate(timeout=30)
    assert (watch.returncode, said) == (0, "")


@pytest.mark.parametrize("delay_s", [0.2, 1.0, 2.5, 3.6, 4.0])
def test_kill_9_in_mid_run_leaves_a_whole_csv_and_a_whole_outbox(
    delay_s: float, home: Home
) -> None:
    ledger = Ledger()
    earlier = a_run()
    home.outbox.put([earlier])
    with speed_server() as lan, collector(ledger) as server:
        home.env |= {"SPEEDTRAP_PROBE_LAN_URL": lan.url + "/speed/"}
        with home.start("run", "-k", KEY, "--url", server.url, "--tool", "lan") as run:
            time.sleep(delay_s)
            run.kill()
        assert home.probe("flush", "-k", KEY, "--url", server.url).returncode == 0
    assert earlier.id in ledger.runs
    if home.csv.exists():
        assert {UUID(row["run_id"]) for row in home.rows()} <= set(ledger.runs)
    assert len(home.outbox) == 0


@pytest.mark.parametrize(("environ", "colour"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_on_a_terminal_there_is_progress_and_colour_unless_refused(
    environ: dict[str, str], colour: bool, home: Home
) -> None:
    with speed_server() as lan:
        shown = on_a_terminal(
            home.argv("run", "--tool", "lan", "--url", lan.url),
            home.env | environ | {"TERM": "xterm-256color"},
            home.folder,
        )
    assert "lan download" in shown
    assert "Mbps" in shown
    assert bool(re.search(r"\x1b\[(?:\d+;)*3\dm", shown)) is colour


def on_a_terminal(argv: list[str], env: dict[str, str], folder: Path) -> str:
    """What a program shows on a terminal of its own."""
    master, slave = pty.openpty()
    with subprocess.Popen(argv, env=env, cwd=folder, stdout=slave, stderr=slave):
        os.close(slave)
        shown = b""
        with suppress(OSError):  # Linux says EIO when the program has ended
            while piece := os.read(master, 4096):
                shown += piece
    os.close(master)
    return shown.decode()


def test_without_a_choice_only_what_can_run_here_is_run(home: Home) -> None:
    with speed_server() as lan:
        done = home.probe(
            "run", "--json", "--url", lan.url, SPEEDTRAP_PROBE_TURNKEY_URL=lan.url + "/"
        )
    tools = [one["tool"] for one in json.loads(done.stdout)["run"]["measurements"]]
    assert {"lan", "speedtest-cli", "turnkey"} <= set(tools)
    assert "ookla" not in tools


def test_a_chosen_tool_that_is_missing_is_a_failure_that_says_how_to_get_it(home: Home) -> None:
    done = home.probe("run", "--tool", "ookla")
    assert done.returncode == 1
    assert home.rows()[0]["failure"].startswith("TOOL_MISSING: Ookla's speedtest is not on PATH")


def test_a_dry_run_says_what_would_happen_and_does_nothing(home: Home) -> None:
    done = home.probe("run", "--dry-run", "--tool", "turnkey", SPEEDTRAP_PROBE_BUDGET="1MB")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Would measure as laptop with: turnkey" in done.stdout
    assert "It costs about 300 MB; 0 B used this month of 1 MB" in done.stdout
    assert "would be skipped" in done.stdout
    assert not home.csv.exists()


def test_a_run_beyond_the_months_budget_is_skipped_and_says_so(home: Home) -> None:
    ledger = Ledger()
    with speed_server() as lan, collector(ledger) as server:
        done = home.probe(
            "run", "-k", KEY, "--url", server.url, "--tool", "turnkey",
            SPEEDTRAP_PROBE_TURNKEY_URL=lan.url + "/", SPEEDTRAP_PROBE_BUDGET="1MB",
        )  # fmt: skip
        assert lan.connections == 0
    assert done.returncode == 0
    (run,) = ledger.runs.values()
    failure = run["measurements"][0]["failure"]
    assert failure["kind"] == "SKIPPED"
    assert "data budget of 1 MB" in failure["message"]


def test_a_run_below_the_plan_is_measured_twice_and_shown_as_a_share(home: Home) -> None:
    rule = {"metric": "DOWNLOAD", "belowRatio": 0.5, "belowMbps": None}
    plan = {"downloadMbps": 1e6, "uploadMbps": None}
    ledger = Ledger(plan={"plan": plan, "rules": [rule]})
    with speed_server() as lan, collector(ledger) as server:
        done = home.probe(
            "run", "-k", KEY, "--url", server.url, "--tool", "turnkey",
            SPEEDTRAP_PROBE_TURNKEY_URL=lan.url + "/",
        )  # fmt: skip
    (run,) = ledger.runs.values()
    assert [one["tool"] for one in run["measurements"]] == ["turnkey", "turnkey"]
    assert any("measured twice" in note for note in run["conditions"]["notes"])
    assert "of plan" in done.stdout
    assert [beat["probe"] for beat in ledger.beats] == ["laptop", "laptop"]


def test_a_second_run_on_the_same_line_steps_aside(home: Home) -> None:
    with speed_server() as lan, lock.alone(home.folder / "data" / "run.lock"):
        done = home.probe("run", "--tool", "lan", "--url", lan.url)
    assert done.returncode == 5
    assert f"process {os.getpid()}, since" in done.stdout
    assert "steps aside" in " ".join(done.stdout.split())
    assert not home.csv.exists()


def test_a_run_that_should_have_ended_long_ago_is_named_as_stuck(home: Home) -> None:
    path = home.folder / "data" / "run.lock"
    with speed_server() as lan, lock.alone(path, within_s=0):
        for arguments in ((), ("--quiet",)):
            done = home.probe("run", "--tool", "lan", "--url", lan.url, *arguments)
            assert done.returncode == 6
            assert f"stuck (process {os.getpid()}, since" in " ".join(done.stderr.split())
    assert not home.csv.exists()


def test_shells_complete_commands_and_tools(home: Home) -> None:
    program = Path(sys.executable).with_name("speedtrap-probe")
    done = subprocess.run(
        [program],
        env=home.env
        | {
            "_SPEEDTRAP_PROBE_COMPLETE": "complete_bash",
            "COMP_WORDS": "speedtrap-probe run --tool l",
            "COMP_CWORD": "3",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert {"lan", "librespeed"} <= set(done.stdout.split())


def test_a_schedule_is_shown_before_it_is_installed(home: Home) -> None:
    done = home.probe("schedule", "install", "--every", "5h30m", "--with", "systemd", "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert "OnUnitActiveSec=5h30min" in done.stdout
    assert f"--csv {home.folder}/data/report.csv" in done.stdout
    refused = home.probe("schedule", "install", "--every", "5h30m", "--with", "cron", "--dry-run")
    assert refused.returncode == 2
    assert "cron cannot say this span" in refused.stderr
