"""`probe schedule`: has the system measure, with nothing of ours running in between."""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from speedtrap_probe import display, settings
from speedtrap_probe.errors import SettingsError
from speedtrap_probe.problems import problems
from speedtrap_probe.schedule import apply, choice, interval
from speedtrap_probe.schedule.choice import Scheduler
from speedtrap_probe.schedule.job import Job
from speedtrap_probe.settings import Settings
from speedtrap_probe.tools import discover

SHORTEST_S = 60
SOME_JOB = Job((sys.executable,), SHORTEST_S)  # where only the recipe's places and names matter

app = typer.Typer(
    help="Has this system measure on its own: systemd, launchd, the Task Scheduler or cron.",
    no_args_is_help=True,
)

With = Annotated[
    Scheduler | None, typer.Option("--with", help="Which scheduler; else this system's own.")
]
System = Annotated[
    bool, typer.Option("--system", help="A system timer instead of a user's (systemd, root).")
]


@app.command()
def install(
    *,
    every: Annotated[str, typer.Option("--every", help="How often, e.g. 5h30m.")],
    jitter: Annotated[
        str | None, typer.Option("--jitter", help="Up to how much later; else a tenth, at most 10m")
    ] = None,
    scheduler: With = None,
    system: System = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show, and do nothing.")] = False,
) -> None:
    """Installs or replaces the schedule."""
    with problems():
        told = _settings()
        job = _job(told, every, jitter)
        recipe = choice.recipe(scheduler or choice.usual(), job, system=system, name=told.name)
        if dry_run:
            for file in recipe.files:
                _say(f"# {file.path}\n{_readable(file.content)}")
            for command in recipe.install:
                _say(" ".join(command.argv))
                if command.stdin:
                    _say(command.stdin.decode())
            return
        apply.install(recipe)
        _say(f"Measures every {every}; the rows go to {_csv(told)}.")
        for line in (recipe.note, *_left_behind(os.environ)):
            if line:
                _say(line)


@app.command()
def status(*, scheduler: With = None, system: System = False) -> None:
    """Shows what the system knows of the schedule."""
    with problems():
        job = SOME_JOB
        recipe = choice.recipe(
            scheduler or choice.usual(), job, system=system, name=_settings().name
        )
        missing = [file.path for file in recipe.files if not file.path.exists()]
        if missing:
            _say(f"Not installed: there is no {missing[0]}.")
        else:
            _say(apply.run(recipe.status) or "Not installed.")


@app.command()
def remove(*, scheduler: With = None, system: System = False) -> None:
    """Takes the schedule away. Runs that wait stay."""
    with problems():
        job = SOME_JOB
        recipe = choice.recipe(
            scheduler or choice.usual(), job, system=system, name=_settings().name
        )
        apply.remove(recipe)
        _say("The schedule is removed.")


def _settings() -> Settings:
    options = [option for tool in discover().values() for option in tool.options]
    return settings.read(os.environ, options)


def _job(told: Settings, every: str, jitter: str | None) -> Job:
    every_s = interval.seconds(every)
    if every_s < SHORTEST_S:
        raise SettingsError("--every must be at least 1m: each run starts anew")
    jitter_s = interval.jitter_s(jitter, every_s)
    if jitter_s * 2 >= every_s:
        raise SettingsError("--every must be more than twice --jitter")
    argv = (
        sys.executable, "-m", "speedtrap_probe", "run", "--quiet",
        "--again-in", f"{every_s + int(jitter_s)}s", "--csv", str(_csv(told)),
    )  # fmt: skip
    return Job(argv, every_s, int(jitter_s))


def _csv(told: Settings) -> Path:
    """A scheduler starts anywhere: a relative path would be somewhere else each time."""
    return told.csv if told.csv.is_absolute() else (told.data_dir / told.csv).absolute()


def _left_behind(environ: Mapping[str, str]) -> Iterator[str]:
    """What this shell knows and the scheduler's will not."""
    names = sorted(name for name in environ if name.startswith(settings.PREFIX))
    if names:
        yield (
            f"{', '.join(names)} are set in this shell only: "
            f"write them into {settings.default_config_file()}"
        )


def _readable(content: bytes) -> str:
    return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8")


def _say(line: str) -> None:
    display.out.print(line, markup=False, highlight=False, soft_wrap=True)
