"""`speedtrap plan`: what was purchased, from the command line."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from speedtrap_up.api import ask
from speedtrap_up.errors import UpError
from speedtrap_up.home import Home, default_folder

app = typer.Typer(no_args_is_help=True, help="What you purchased, which every run is held against.")

Url = Annotated[str | None, typer.Option(help="The service; default: the one running here.")]
KeyFile = Annotated[
    Path | None, typer.Option(help="The file of an admin key; default: the own one.")
]
DataDir = Annotated[Path | None, typer.Option(help="The data folder of `speedtrap up`.")]


@app.command("set")
def set_plan(  # noqa: PLR0913, PLR0917 - one option each, given by name
    provider: Annotated[str, typer.Option(help="Who sells the line.")],
    download: Annotated[float, typer.Option(help="Subscribed download, Mbps.")],
    upload: Annotated[float | None, typer.Option(help="Subscribed upload, Mbps.")] = None,
    time_zone: Annotated[
        str | None, typer.Option(help="IANA name, e.g. America/Denver; default: this machine's.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="In force from, e.g. 2026-11-01; default: the first run.")
    ] = None,
    probe: Annotated[str | None, typer.Option(help="For this probe only.")] = None,
    url: Url = None,
    key_file: KeyFile = None,
    data_dir: DataDir = None,
) -> None:
    """Says what was purchased. A later plan leaves earlier runs judged by the earlier one."""
    zone = time_zone or local_time_zone()
    plan = {
        "provider": provider,
        "downloadMbps": download,
        "uploadMbps": upload,
        "timeZone": zone,
        "since": _moment(since, zone),
        "probe": probe,
    }
    where, secret = _reach(url, key_file, data_dir)
    made = ask(where, secret, "set_plan", {"plan": plan})["setPlan"]
    typer.echo(_in_words(made))


@app.command("show")
def show(url: Url = None, key_file: KeyFile = None, data_dir: DataDir = None) -> None:
    """Every probe's plans, newest first."""
    where, secret = _reach(url, key_file, data_dir)
    probes = ask(where, secret, "plans", {})["probes"]
    if not probes:
        typer.echo("No probe has reported yet; a plan shows here after the first run.")
    for probe in probes:
        typer.echo(f"{probe['name']}:")
        for plan in probe["plans"]:
            typer.echo(f"  {_in_words(plan)}")
        if not probe["plans"]:
            typer.echo("  no plan yet: speedtrap plan set --provider NAME --download MBPS")


def local_time_zone() -> str:
    """The machine's zone by its IANA name, UTC where it does not say."""
    try:
        parts = Path("/etc/localtime").resolve(strict=True).parts
    except OSError:
        return "UTC"
    if "zoneinfo" not in parts:
        return "UTC"
    name = "/".join(parts[parts.index("zoneinfo") + 1 :])
    return "UTC" if name in {"Etc/UTC", "Etc/UCT", ""} else name


def _moment(text: str | None, zone: str) -> str | None:
    """RFC 3339; a date or a time without offset is meant in the plan's zone."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UpError(
            f"--since: {text!r} is not a moment such as 2026-11-01 or 2026-11-01T18:00:00+01:00"
        ) from error
    if moment.tzinfo is None:
        try:
            moment = moment.replace(tzinfo=ZoneInfo(zone))
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise UpError(
                f"--time-zone: {zone!r} is not an IANA name; try Europe/Berlin"
            ) from error
    return moment.isoformat()


def _reach(url: str | None, key_file: Path | None, data_dir: Path | None) -> tuple[str, str]:
    """Where the service is and an admin key for it."""
    home = Home(data_dir or default_folder())
    where = url or str(home.running().get("address", ""))
    if not where:
        raise UpError(
            f"--url: speedtrap does not run on {home.folder}; start it or name an address"
        )
    file = key_file or home.key("admin")
    try:
        return where, file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UpError(f"--key-file: {file} cannot be read: {error.strerror}") from error


def _in_words(plan: dict[str, Any]) -> str:
    upload = f" down, {plan['uploadMbps']:g} Mbps up" if plan["uploadMbps"] else " down"
    whose = f"for {plan['probe']}" if plan["probe"] else "for every probe"
    since = "the first run" if plan["since"].startswith("1970-01-01") else plan["since"]
    return (
        f"{plan['provider']}: {plan['downloadMbps']:g} Mbps{upload}, {whose}, "
        f"since {since}, time zone {plan['timeZone']}"
    )
