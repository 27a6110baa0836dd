"""The `speedtrap` command: everything on one machine, and the way to every part of it."""

import os
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from speedtrap_graph.http import keyfile

from speedtrap_up.errors import UpError
from speedtrap_up.home import Home, default_folder

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Measures your line against what you purchased, keeps the evidence, complains politely.",
)
keys_app = typer.Typer(no_args_is_help=True, help="Who may call the service.")
secrets_app = typer.Typer(no_args_is_help=True, help="The secret files that compose needs.")
app.add_typer(keys_app, name="keys")
app.add_typer(secrets_app, name="secrets")
probes_app = typer.Typer(
    no_args_is_help=True, help="One probe with everything of it: export, delete."
)
app.add_typer(probes_app, name="probes")

DataDir = Annotated[Path | None, typer.Option(help="The data folder of `speedtrap up`.")]
KeysFile = Annotated[
    Path | None,
    typer.Option("--file", help="The key file; default: the one of `speedtrap up`."),
]


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"speedtrap {version('speedtrap')}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say it and end."),
    ] = False,
) -> None:
    """Measures your line against what you purchased, keeps the evidence, complains politely."""


@app.command()
def up(
    data_dir: Annotated[
        Path | None, typer.Option(help=f"Where everything is kept; default {default_folder()}.")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The page's port.")] = 8080,
    host: Annotated[
        str, typer.Option(help="0.0.0.0 lets other machines in, e.g. their probes.")
    ] = "127.0.0.1",
    probe: Annotated[bool, typer.Option(help="Whether this machine measures too.")] = True,
    every: Annotated[str, typer.Option(help="How often it measures: 1h, 5h30m.")] = "1h",
) -> None:
    """Starts everything on this machine: database, service, bots and a probe. Ctrl-C stops it."""
    from speedtrap_up.start import StartOptions, start  # noqa: PLC0415 - pymongo and httpx only here

    folder = (data_dir or default_folder()).expanduser().resolve()
    start(StartOptions(Home(folder), host, port, every, probe), os.environ)


BackupFile = Annotated[
    Path,
    typer.Argument(help="The backup, e.g. speedtrap.backup.gz; `-`: standard output or input."),
]


@app.command()
def backup(file: BackupFile, data_dir: DataDir = None) -> None:
    """Writes everything into one file, as it is at this moment, while all goes on."""
    from speedtrap_up import commands  # noqa: PLC0415 - pymongo only here

    commands.backup(Home(data_dir or default_folder()), file)


@app.command()
def restore(
    file: BackupFile,
    replace: Annotated[
        bool, typer.Option("--replace", help="Whatever is in the database now is lost.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Puts a backup into an empty database. Start speedtrap again afterwards."""
    from speedtrap_up import commands  # noqa: PLC0415 - pymongo only here

    commands.restore(Home(data_dir or default_folder()), file, replace=replace)


ProbeName = Annotated[str, typer.Argument(help="The probe's name, e.g. pi-attic.")]


@probes_app.command("export")
def probes_export(
    name: ProbeName,
    to: Annotated[Path, typer.Option(help="Where it goes, e.g. pi-attic.zip; - for the output.")],
    data_dir: DataDir = None,
) -> None:
    """Writes everything of one probe into one zip, while all goes on."""
    from speedtrap_up import commands  # noqa: PLC0415 - pymongo only here

    commands.export_probe(Home(data_dir or default_folder()), name, to)


@probes_app.command("delete")
def probes_delete(
    name: ProbeName,
    reason: Annotated[str, typer.Option(help="Why; it is kept with when and how much.")],
    data_dir: DataDir = None,
) -> None:
    """Takes a probe out with everything of it. There is no way back but a backup."""
    from speedtrap_up import commands  # noqa: PLC0415 - pymongo only here

    commands.delete_probe(Home(data_dir or default_folder()), name, reason)


@app.command()
def doctor(
    url: Annotated[
        str | None, typer.Option(help="The public address, for its name and certificate.")
    ] = None,
    time_server: Annotated[
        str, typer.Option(help="Whom to ask for the time, HOST or HOST:PORT (NTP).")
    ] = "pool.ntp.org",
    ca_file: Annotated[
        Path | None, typer.Option(help="PEM file of a private authority to trust.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Looks at keys, clock, name, certificate, database, mail, X and disk; says what to do."""
    from speedtrap_up.doctor.round import Visit, visit  # noqa: PLC0415 - pymongo only here

    home = Home(data_dir or default_folder())
    raise typer.Exit(visit(Visit(home, url, time_server, ca_file), as_json=json))


@keys_app.command("add")
def keys_add(
    name: Annotated[str, typer.Argument(help="Who it is for; a probe's own name.")],
    role: Annotated[str, typer.Option(help=f"One of {', '.join(keyfile.ROLES)}.")],
    file: KeysFile = None,
    data_dir: DataDir = None,
) -> None:
    """Makes a key and prints it, once."""
    chosen = _keys_file(file, data_dir)
    entry = keyfile.add(chosen, name, role)
    typer.echo(f"Written to {chosen}. This is the only time the key is shown:", err=True)
    typer.echo(entry.key)


@keys_app.command("list")
def keys_list(file: KeysFile = None, data_dir: DataDir = None) -> None:
    """Names and roles; keys are never printed."""
    chosen = _keys_file(file, data_dir)
    entries = keyfile.read(chosen)
    if not entries:
        typer.echo(f"No keys in {chosen}.")
    for entry in entries:
        typer.echo(f"{entry.name:<24} {entry.role}")


@keys_app.command("revoke")
def keys_revoke(
    name: Annotated[str, typer.Argument(help="Whose key.")],
    file: KeysFile = None,
    data_dir: DataDir = None,
) -> None:
    """Takes a key back. Every part sees it within seconds, without a restart."""
    entry = keyfile.revoke(_keys_file(file, data_dir), name)
    typer.echo(f"{entry.name} ({entry.role}) has no key any more.")


def _keys_file(file: Path | None, data_dir: Path | None) -> Path:
    return file or Home(data_dir or default_folder()).keys_file


@secrets_app.command("init")
def secrets_init(
    folder: Annotated[Path, typer.Option("--dir", help="Where they go.")] = Path("secrets"),
) -> None:
    """Makes every random secret that is missing; never overwrites one."""
    from speedtrap_up.secrets import init  # noqa: PLC0415 - beside the other lazy commands

    made = init(folder)
    for file in made:
        typer.echo(f"made {file}")
    if not made:
        typer.echo(f"Nothing to do: every secret is in {folder} already.")


def _mount(name: str, module: str, attribute: str, text: str) -> None:
    """Makes `speedtrap <name> …` the command of a part, imported only when it is called."""

    @app.command(
        name,
        help=text,
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
    def delegate(context: typer.Context) -> None:
        try:
            part = getattr(import_module(module), attribute)
        except ModuleNotFoundError as error:
            package = module.split(".", maxsplit=1)[0]
            if error.name is None or not error.name.startswith(package):
                raise
            distribution = package.replace("_", "-")
            raise UpError(
                f"`speedtrap {name}` is part of {distribution}, which is not installed here: "
                f"pip install {distribution}"
            ) from error
        part(args=context.args, prog_name=f"speedtrap {name}")


_mount("plan", "speedtrap_up.plan", "app", "What you purchased: set, show.")
_mount("probe", "speedtrap_probe.cli", "app", "Measure: run, watch, schedule, flush, tools.")
_mount("graph", "speedtrap_graph.cli", "app", "The service that stores and judges: serve.")
_mount("web", "speedtrap_web.cli", "app", "The page: serve.")
_mount("bots", "speedtrap_bots.cli", "app", "Who writes and sends the complaints: run.")
_mount("notices", "speedtrap_bots.cli", "notices_app", "The letters: list, show, approve, reject.")


def main() -> None:
    """Says what is wrong in one sentence instead of a traceback."""
    try:
        app()
    except (UpError, keyfile.KeyFileError) as error:
        typer.echo(f"speedtrap: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
