"""Windows Task Scheduler, by its XML: catches up after sleep, runs on battery too."""

import subprocess
from pathlib import Path
from xml.etree import ElementTree

from speedtrap_probe.errors import SettingsError
from speedtrap_probe.schedule.job import NAME, Command, File, Job, Recipe

NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"
FIRST = "2025-01-01T00:07:00"  # long ago: with StartWhenAvailable the first run is at once
SHORTEST_S, LONGEST_S = 60, 31 * 86_400  # what a repetition may be

# A task's own default, 7, is below normal, and would throttle what is being measured.
NORMAL_PRIORITY = "5"


def recipe(job: Job, data: Path) -> Recipe:
    path = data / f"{NAME}.xml"
    return Recipe(
        files=(File(path, task(job)),),
        install=(Command(("schtasks", "/Create", "/TN", NAME, "/XML", str(path), "/F")),),
        remove=(Command(("schtasks", "/Delete", "/TN", NAME, "/F"), may_fail=True),),
        status=Command(("schtasks", "/Query", "/TN", NAME, "/V", "/FO", "LIST"), may_fail=True),
    )


def task(job: Job) -> bytes:
    """As `schtasks /XML` reads it: UTF-16 with its mark."""
    if not SHORTEST_S <= job.every_s <= LONGEST_S:
        raise SettingsError("the Task Scheduler repeats every 1 minute to 31 days")
    root = ElementTree.Element("Task", {"version": "1.2", "xmlns": NAMESPACE})
    _add(root, "RegistrationInfo/Description", "Measures the line once and brings it to speedtrap")
    trigger = _add(root, "Triggers/TimeTrigger")
    _add(trigger, "Repetition/Interval", period(job.every_s))
    _add(trigger, "StartBoundary", FIRST)
    _add(trigger, "Enabled", "true")
    if job.jitter_s:
        _add(trigger, "RandomDelay", period(job.jitter_s))
    principal = _add(root, "Principals/Principal")
    principal.set("id", "Author")
    _add(principal, "LogonType", "InteractiveToken")
    _add(principal, "RunLevel", "LeastPrivilege")
    settings = _add(root, "Settings")
    for name, value in (
        ("MultipleInstancesPolicy", "IgnoreNew"),
        ("DisallowStartIfOnBatteries", "false"),
        ("StopIfGoingOnBatteries", "false"),
        ("StartWhenAvailable", "true"),
        ("Hidden", "true"),
        ("ExecutionTimeLimit", "PT30M"),
        ("Priority", NORMAL_PRIORITY),
    ):
        _add(settings, name, value)
    action = _add(root, "Actions/Exec")
    _add(action, "Command", job.argv[0])
    _add(action, "Arguments", subprocess.list2cmdline(job.argv[1:]))
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-16"?>\r\n{text}'.encode("utf-16")


def period(seconds: int) -> str:
    """ISO 8601: 19,800 is PT5H30M."""
    parts = ((seconds // 3600, "H"), (seconds % 3600 // 60, "M"), (seconds % 60, "S"))
    return "PT" + "".join(f"{count}{unit}" for count, unit in parts if count)


def _add(parent: ElementTree.Element, path: str, text: str | None = None) -> ElementTree.Element:
    for name in path.split("/"):
        parent = ElementTree.SubElement(parent, name)
    parent.text = text
    return parent
