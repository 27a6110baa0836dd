"""What each system's scheduler would be given, wherever the tests run."""

import plistlib
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from speedtrap_probe.errors import ProbeError, SettingsError
from speedtrap_probe.schedule import apply, choice, cron, launchd, systemd, windows
from speedtrap_probe.schedule.choice import Scheduler
from speedtrap_probe.schedule.job import Command, File, Job, Recipe

from tests.probe.home import Home

ARGV = (sys.executable, "-m", "speedtrap_probe", "run", "--csv", "/home/a b/100%.csv")
FIVE_AND_A_HALF_HOURS = 19_800
JOB = Job(ARGV, FIVE_AND_A_HALF_HOURS, 600)
XML = {"t": windows.NAMESPACE}


def test_systemd_says_five_and_a_half_hours() -> None:
    lines = systemd.timer_unit(JOB).splitlines()
    assert {"OnUnitActiveSec=5h30min", "RandomizedDelaySec=10min", "Persistent=true"} <= set(lines)


@pytest.mark.parametrize("as_user", [None, "root"])
def test_systemd_itself_finds_nothing_wrong_with_the_units(
    as_user: str | None, tmp_path: Path
) -> None:
    recipe = systemd.recipe(JOB, tmp_path, as_user)
    units = []
    for file in recipe.files:
        units.append(tmp_path / file.path.name)
        units[-1].write_bytes(file.content)
    if analyze := shutil.which("systemd-analyze"):
        scope = [] if as_user else ["--user"]
        done = subprocess.run(
            [analyze, *scope, "verify", *units],
            capture_output=True,
            text=True,
            check=False,
            env={"XDG_RUNTIME_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
        )
        assert not [line for line in done.stderr.splitlines() if "speedtrap" in line]
    assert '"/home/a b/100%%.csv"' in units[0].read_text()


def test_systemds_timers_of_a_user_and_of_the_system_live_apart() -> None:
    mine = systemd.recipe(JOB, Path("/home/me/.config"))
    all_ = systemd.recipe(JOB, Path("/home/me/.config"), "me")
    assert mine.files[0].path == Path("/home/me/.config/systemd/user/speedtrap-probe.service")
    assert all_.files[0].path == Path("/etc/systemd/system/speedtrap-probe.service")
    assert b"User=me" in all_.files[0].content
    assert "linger" in (mine.note or "")


def test_launchd_gets_seconds_and_waits_by_the_command_itself() -> None:
    recipe = launchd.recipe(JOB, Path("/Users/me"), 501)
    document = plistlib.loads(recipe.files[0].content)
    assert document["StartInterval"] == FIVE_AND_A_HALF_HOURS
    assert document["ProgramArguments"] == [*ARGV, "--delay", "600s"]
    assert recipe.files[0].path.parent == Path("/Users/me/Library/LaunchAgents")
    assert recipe.install[-1].argv[:3] == ("launchctl", "bootstrap", "gui/501")


def test_windows_repeats_and_makes_up_for_sleep() -> None:
    content = windows.task(JOB)
    text = content.decode("utf-16").split("?>", 1)[1]
    root = ElementTree.fromstring(text)  # noqa: S314 - it is our own
    told = {
        path: root.findtext(f".//t:{path}", namespaces=XML)
        for path in ("Interval", "RandomDelay", "StartWhenAvailable", "Command", "Arguments")
    }
    assert told == {
        "Interval": "PT5H30M",
        "RandomDelay": "PT10M",
        "StartWhenAvailable": "true",
        "Command": sys.executable,
        "Arguments": '-m speedtrap_probe run --csv "/home/a b/100%.csv"',
    }
    with pytest.raises(SettingsError, match="31 days"):
        windows.task(Job(ARGV, 32 * 86_400))


# The order in which Windows itself writes a task out, whatever of it is there.
SEQUENCES = {
    "Task": ("RegistrationInfo", "Triggers", "Principals", "Settings", "Actions"),
    "TimeTrigger": (
        *("Repetition", "StartBoundary", "EndBoundary", "ExecutionTimeLimit", "Enabled"),
        "RandomDelay",
    ),
    "Repetition": ("Interval", "Duration", "StopAtDurationEnd"),
    "Principal": ("UserId", "LogonType", "GroupId", "DisplayName", "RunLevel"),
    "Settings": (
        *("MultipleInstancesPolicy", "DisallowStartIfOnBatteries", "StopIfGoingOnBatteries"),
        *("AllowHardTerminate", "StartWhenAvailable", "RunOnlyIfNetworkAvailable"),
        *("IdleSettings", "AllowStartOnDemand", "Enabled", "Hidden", "RunOnlyIfIdle"),
        *("WakeToRun", "ExecutionTimeLimit", "Priority"),
    ),
    "Exec": ("Command", "Arguments", "WorkingDirectory"),
}


@pytest.mark.parametrize("jitter_s", [0, 600])
@pytest.mark.parametrize("every_s", [60, FIVE_AND_A_HALF_HOURS, 31 * 86_400])
def test_the_task_keeps_to_the_order_that_windows_writes_itself(
    every_s: int, jitter_s: int
) -> None:
    text = windows.task(Job(ARGV, every_s, jitter_s)).decode("utf-16").split("?>", 1)[1]
    root = ElementTree.fromstring(text)  # noqa: S314 - it is our own
    for element in root.iter():
        name = element.tag.removeprefix(f"{{{windows.NAMESPACE}}}")
        parts = [part.tag.removeprefix(f"{{{windows.NAMESPACE}}}") for part in element]
        if name in SEQUENCES:
            places = [SEQUENCES[name].index(part) for part in parts]
            assert places == sorted(set(places)), name
    assert root.findtext(".//t:Priority", namespaces=XML) == "5"


def test_the_plist_holds_only_keys_that_launchd_knows_each_of_its_kind() -> None:
    """As `plutil -lint` and launchd.plist(5) would have it."""
    document = plistlib.loads(launchd.plist(JOB, Path("/Users/me/log")), fmt=plistlib.FMT_XML)
    kinds = {
        "Label": str,
        "ProgramArguments": list,
        "StartInterval": int,
        "RunAtLoad": bool,
        "ProcessType": str,
        "StandardOutPath": str,
        "StandardErrorPath": str,
    }
    assert {key: type(value) for key, value in document.items()} == kinds
    assert document["ProcessType"] in {"Background", "Standard", "Adaptive", "Interactive"}
    assert all(isinstance(word, str) for word in document["ProgramArguments"])


@pytest.mark.parametrize(
    ("every_s", "expected"),
    [
        (600, "7,17,27,37,47,57 * * * *"),
        (3600, "37 * * * *"),
        (6 * 3600, "37 */6 * * *"),
        (86_400, "37 13 * * *"),
    ],
)
def test_cron_says_what_it_can_and_not_on_the_hour(every_s: int, expected: str) -> None:
    assert cron.times(every_s, 37) == expected


@pytest.mark.parametrize("every_s", [FIVE_AND_A_HALF_HOURS, 90, 7 * 3600, 2 * 86_400, 5 * 60 + 1])
def test_cron_refuses_what_it_cannot_say_and_names_the_way_out(every_s: int) -> None:
    with pytest.raises(SettingsError, match="probe watch"):
        cron.times(every_s, 37)


def test_a_crontab_keeps_what_is_others_and_has_ours_once() -> None:
    present = "MAILTO=me\n0 1 * * * backup\n"
    line = cron.entry(Job(ARGV, 3600), 7)
    assert r"100\%.csv" in line
    once = cron.with_entry(present, line)
    assert cron.with_entry(once, line) == once
    assert cron.without_entry(once) == present
    assert cron.without_entry("") == ""


@pytest.mark.parametrize(
    ("platform", "booted", "expected"),
    [
        ("win32", False, Scheduler.WINDOWS),
        ("darwin", False, Scheduler.LAUNCHD),
        ("linux", True, Scheduler.SYSTEMD),
    ],
)
def test_each_system_has_its_own(
    platform: str, booted: bool, expected: Scheduler, tmp_path: Path
) -> None:
    assert choice.usual(platform, tmp_path if booted else tmp_path / "none") is expected


def test_a_recipe_is_followed_and_undone(tmp_path: Path) -> None:
    file, ran = File(tmp_path / "below" / "unit", b"[Unit]"), tmp_path / "ran"
    recipe = Recipe((file,), (Command(("touch", str(ran))),), (Command(("rm", str(ran))),),
                    Command(("true",)))  # fmt: skip
    apply.install(recipe)
    assert (file.path.read_bytes(), ran.exists()) == (b"[Unit]", True)
    apply.remove(recipe)
    assert (file.path.exists(), ran.exists()) == (False, False)


def test_a_command_that_fails_is_told_with_its_words() -> None:
    with pytest.raises(ProbeError, match="No such file"):
        apply.run(Command(("ls", "/nowhere")))
    with pytest.raises(ProbeError, match="cannot be run"):
        apply.run(Command(("/nowhere/systemctl",)))
    assert apply.run(Command(("/nowhere/systemctl",), may_fail=True)) == ""


@pytest.mark.parametrize("scheduler", list(Scheduler))
@pytest.mark.parametrize("command", ["status", "remove"])
def test_what_was_never_installed_is_no_bug_of_any_scheduler(
    command: str, scheduler: Scheduler, tmp_path: Path
) -> None:
    home = Home(tmp_path)
    done = home.probe("schedule", command, "--with", scheduler)
    assert "Traceback" not in done.stderr
    # Where the scheduler's own program is missing, that is said in words.
    assert done.returncode == 0 or re.search("cannot be run|failed: ", done.stderr)
    if scheduler is Scheduler.WINDOWS:
        assert done.returncode == 0
        assert "ot installed" in done.stdout or "is removed" in done.stdout
