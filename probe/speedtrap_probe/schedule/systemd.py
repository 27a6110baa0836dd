"""systemd: a timer and the service that it starts, of the user or of the system."""

from pathlib import Path

from speedtrap_probe.problems import Exit
from speedtrap_probe.schedule.job import NAME, Command, File, Job, Recipe

SYSTEM_FOLDER = Path("/etc/systemd/system")
FIRST_AFTER_S = 60  # after the boot, so that the network is there


def recipe(job: Job, config: Path, as_user: str | None = None) -> Recipe:
    """Of the user whose configuration folder is *config*; with *as_user* of the system."""
    folder = config / "systemd" / "user" if as_user is None else SYSTEM_FOLDER
    control = ("systemctl",) if as_user else ("systemctl", "--user")
    timer = f"{NAME}.timer"
    return Recipe(
        files=(
            File(folder / f"{NAME}.service", service(job, as_user).encode()),
            File(folder / timer, timer_unit(job).encode()),
        ),
        install=(
            Command((*control, "daemon-reload")),
            Command((*control, "enable", timer)),
            Command((*control, "restart", timer)),
        ),
        remove=(Command((*control, "disable", "--now", timer), may_fail=True),),
        status=Command((*control, "list-timers", "--all", timer), may_fail=True),
        forget=(Command((*control, "daemon-reload")),),
        note=None
        if as_user
        else "A user's timers end with the login; to keep them: loginctl enable-linger",
    )


def service(job: Job, as_user: str | None) -> str:
    lines = [
        "[Unit]",
        "Description=Measures the line once and brings it to speedtrap",
        "Wants=network-online.target" if as_user else "",
        "After=network-online.target" if as_user else "",
        "",
        "[Service]",
        "Type=oneshot",
        f"ExecStart={' '.join(_quoted(word) for word in job.argv)}",
        f"User={as_user}" if as_user else "",
        "TimeoutStartSec=30min",
        f"SuccessExitStatus={Exit.ASIDE:d}",  # another run measures this line: no failure
        "NoNewPrivileges=yes",
    ]
    return _text(lines)


def timer_unit(job: Job) -> str:
    # Persistent is for timers by the calendar; OnActiveSec is what catches up after a boot.
    lines = [
        "[Unit]",
        f"Description=Measures the line every {_span(job.every_s)}",
        "",
        "[Timer]",
        f"OnActiveSec={FIRST_AFTER_S}s",
        f"OnUnitActiveSec={_span(job.every_s)}",
        f"RandomizedDelaySec={_span(job.jitter_s)}",
        "AccuracySec=1s",
        "Persistent=true",
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]
    return _text(lines)


def _span(seconds: int) -> str:
    parts = ((seconds // 3600, "h"), (seconds % 3600 // 60, "min"), (seconds % 60, "s"))
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0"


def _quoted(word: str) -> str:
    """As systemd reads it: specifiers, variables, quotes and blanks are text."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if escaped != word or set(word) & set(" \t';") else word


def _text(lines: list[str]) -> str:
    kept = [line for at, line in enumerate(lines) if line or (at and lines[at - 1])]
    return "\n".join(kept) + "\n"
