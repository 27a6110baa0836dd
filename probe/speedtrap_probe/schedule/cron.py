"""cron, where there is nothing better. It can only say spans that divide an hour or a day."""

import shlex

from speedtrap_probe.errors import SettingsError
from speedtrap_probe.schedule.job import Command, Job, Recipe

BEGIN, END = "# speedtrap-probe: begin", "# speedtrap-probe: end"
HOUR_S, DAY_S = 3600, 86_400


def recipe(job: Job, present: str, minute: int) -> Recipe:
    """*present* is the crontab as it is; *minute* (0..59) keeps probes off the full hour."""
    line = entry(job, minute)
    return Recipe(
        files=(),
        install=(Command(("crontab", "-"), with_entry(present, line).encode()),),
        remove=(Command(("crontab", "-"), without_entry(present).encode()),),
        status=Command(("crontab", "-l"), may_fail=True),
        note="cron makes up for no run that was missed while the machine slept",
    )


def entry(job: Job, minute: int) -> str:
    """The line. A percent sign would end the command there."""
    return f"{times(job.every_s, minute)} {shlex.join(job.delayed())}".replace("%", r"\%")


def times(every_s: int, minute: int) -> str:
    """The five fields; raises SettingsError when there are none that say it."""
    if every_s < HOUR_S and every_s % 60 == 0 and HOUR_S % every_s == 0:
        step = every_s // 60
        return f"{','.join(str(at) for at in range(minute % step, 60, step))} * * * *"
    if every_s % HOUR_S == 0 and DAY_S % every_s == 0:
        hours = every_s // HOUR_S
        every = {1: "*", 24: str(minute % 24)}.get(hours, f"*/{hours}")
        return f"{minute} {every} * * *"
    raise SettingsError(
        "cron cannot say this span: only what divides an hour (e.g. 10m) or a day (e.g. 6h). "
        "Keep `probe watch --every` running instead, or use another scheduler"
    )


def with_entry(present: str, line: str) -> str:
    return f"{without_entry(present)}{BEGIN}\n{line}\n{END}\n"


def without_entry(present: str) -> str:
    """Without ours, everything else untouched."""
    kept, ours = [], False
    for line in present.splitlines(keepends=True):
        ours = ours or line.strip() == BEGIN
        if not ours:
            kept.append(line)
        ours = ours and line.strip() != END
    text = "".join(kept)
    return text if not text or text.endswith("\n") else text + "\n"
