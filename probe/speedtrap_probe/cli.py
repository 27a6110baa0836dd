"""The `probe` command: its commands, and the tools that it knows."""

from importlib.metadata import version
from typing import Annotated

import typer
from rich.table import Table

from speedtrap_probe import display
from speedtrap_probe.commands import outbox, run, watch
from speedtrap_probe.commands.options import session_for
from speedtrap_probe.problems import problems
from speedtrap_probe.schedule import cli as scheduling
from speedtrap_probe.tool import Setup
from speedtrap_probe.tools import discover

app = typer.Typer(
    name="probe",
    help="Measures the line, keeps every run until the service has it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


app.add_typer(scheduling.app, name="schedule")


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"speedtrap-probe {version('speedtrap-probe')}")
        raise typer.Exit


@app.callback()
def _probe(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say it and end."),
    ] = False,
) -> None:
    """Measures the line, keeps every run until the service has it."""


app.command()(run.run)
app.command()(watch.watch)
app.command()(outbox.flush)


@app.command()
def tools() -> None:
    """Lists the tools: can they run here, and if not, how to get them."""
    with problems():
        session = session_for(None, None)
        setup = Setup(session.settings.url, session.settings.options)
        shown, notes = Table("tool", "measures", "usable", "version"), []
        for name, one in discover().items():
            usable = one.usable(setup)
            shown.add_row(
                name,
                "internet line" if one.internet else "own network",
                "yes" if usable.ok else "no",
                usable.version or "-",
            )
            if usable.hint:
                notes.append(f"{name}: {usable.hint}")
        display.out.print(shown)
        for note in notes:  # below and not in the table, so that what they name can be copied
            display.out.print(note, soft_wrap=True, markup=False, highlight=False)


app.command("import")(outbox.import_)


def main() -> None:
    """The `speedtrap-probe` command."""
    app()
