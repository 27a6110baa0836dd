"""`speedtrap-web serve`, and `speedtrap web serve`."""

import hashlib
import json
from importlib.metadata import version
from typing import Annotated, Any

import typer
import uvicorn
from pydantic import ValidationError

from speedtrap_web.app import create_app
from speedtrap_web.graph import load_operations
from speedtrap_web.settings import WebSettings

app = typer.Typer(no_args_is_help=True, help="The page: are you getting what you pay for?")


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"speedtrap-web {version('speedtrap-web')}")
        raise typer.Exit


@app.callback()
def web(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say it and end."),
    ] = False,
) -> None:
    """The page: are you getting what you pay for?"""


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on.")] = None,
) -> None:
    """Serve the page. Settings: SPEEDTRAP_WEB_GRAPH_URL, _KEY, _SESSION_SECRET, _HOST, _PORT."""
    given: dict[str, Any] = {"host": host, "port": port}
    try:
        settings = WebSettings(
            **{name: value for name, value in given.items() if value is not None}
        )
    except ValidationError as problem:
        for error in problem.errors():
            where = ".".join(str(part) for part in error["loc"]) or "settings"
            typer.echo(f"{where}: {error['msg']}", err=True)
        raise typer.Exit(2) from None
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_level="info",
        access_log=False,  # a shared report's token is part of its path
    )


@app.command()
def documents() -> None:
    """Print the page's documents by SHA-256, for SPEEDTRAP_GRAPH_TRUSTED_DOCUMENTS."""
    texts = [operation.document for operation in load_operations().values()]
    by_digest = {hashlib.sha256(text.encode()).hexdigest(): text for text in texts}
    typer.echo(json.dumps(by_digest, indent=1, sort_keys=True))


def main() -> None:
    app()
