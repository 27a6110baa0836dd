"""Which of the schedulers this system has, and its recipe for a job."""

import getpass
import os
import shutil
import sys
from enum import StrEnum
from pathlib import Path
from zlib import crc32

from platformdirs import user_data_path

from speedtrap_probe.errors import SettingsError
from speedtrap_probe.schedule import apply, cron, launchd, systemd, windows
from speedtrap_probe.schedule.job import Command, Job, Recipe

BOOTED_BY_SYSTEMD = Path("/run/systemd/system")  # sd_booted(3)


class Scheduler(StrEnum):
    """What a system may have."""

    SYSTEMD = "systemd"
    LAUNCHD = "launchd"
    WINDOWS = "windows"
    CRON = "cron"


def usual(platform: str = sys.platform, booted: Path = BOOTED_BY_SYSTEMD) -> Scheduler:
    """This system's own; raises SettingsError when there is none."""
    if platform == "win32":
        return Scheduler.WINDOWS
    if platform == "darwin":
        return Scheduler.LAUNCHD
    if booted.exists():
        return Scheduler.SYSTEMD
    if shutil.which("crontab"):
        return Scheduler.CRON
    raise SettingsError(
        "there is neither systemd nor cron here: keep `probe watch --every` running instead"
    )


def recipe(scheduler: Scheduler, job: Job, *, system: bool, name: str) -> Recipe:
    """*system*: for the whole machine, where that is something else than the user's."""
    if system and scheduler is not Scheduler.SYSTEMD:
        raise SettingsError("--system is for systemd only")
    if scheduler is Scheduler.SYSTEMD:
        account = os.environ.get("SUDO_USER") or getpass.getuser()
        config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        return systemd.recipe(job, config, account if system else None)
    if scheduler is Scheduler.LAUNCHD:
        return launchd.recipe(job, Path.home(), getattr(os, "getuid", lambda: 0)())
    if scheduler is Scheduler.WINDOWS:
        return windows.recipe(job, user_data_path("speedtrap", appauthor=False))
    present = apply.run(Command(("crontab", "-l"), may_fail=True))
    if present.startswith("no crontab"):
        present = ""
    return cron.recipe(job, present, crc32(name.encode()) % 60)
