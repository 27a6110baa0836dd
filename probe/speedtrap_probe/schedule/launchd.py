"""launchd: an agent of the user on macOS. A run missed in sleep is made up for on waking."""

import plistlib
from pathlib import Path

from speedtrap_probe.schedule.job import Command, File, Job, Recipe

LABEL = "net.speedtrap.probe"


def recipe(job: Job, home: Path, user_id: int) -> Recipe:
    path = home / "Library" / "LaunchAgents" / f"{LABEL}.plist"
    domain = f"gui/{user_id}"
    gone = Command(("launchctl", "bootout", f"{domain}/{LABEL}"), may_fail=True)
    return Recipe(
        files=(File(path, plist(job, home / "Library" / "Logs" / "speedtrap-probe.log")),),
        install=(gone, Command(("launchctl", "bootstrap", domain, str(path)))),
        remove=(gone,),
        status=Command(("launchctl", "print", f"{domain}/{LABEL}"), may_fail=True),
    )


def plist(job: Job, log: Path) -> bytes:
    return plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": list(job.delayed()),
            "StartInterval": job.every_s,
            "RunAtLoad": True,
            "ProcessType": "Standard",  # "Background" would throttle what is being measured
            "StandardOutPath": str(log),
            "StandardErrorPath": str(log),
        }
    )
