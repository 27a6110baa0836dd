"""`speedtrap notices`: reading what would be sent, and giving or refusing leave."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer

from speedtrap_bots.errors import BotsError
from speedtrap_bots.ledger import Ledger
from speedtrap_bots.model import Notice

notices_app = typer.Typer(
    help="Read the notices about a breach, and decide about them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its frames show locals, and with them the key
)

STATUSES = (
    "PLANNED", "APPROVED", "DUE", "CLAIMED", "SENDING", "SENT", "DEAD", "UNKNOWN", "CHECKING",
    "REJECTED", "SUPPRESSED", "SILENCED",
)  # fmt: skip
LIST_AT_MOST = 100

Url = Annotated[
    str, typer.Option("--url", envvar="SPEEDTRAP_NOTICES_URL", help="The service's address.")
]
Key = Annotated[
    str,
    typer.Option(
        "-k",
        "--key",
        envvar="SPEEDTRAP_NOTICES_KEY",
        help="An admin key. The environment keeps it out of the process list.",
        show_default=False,
    ),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        envvar="SPEEDTRAP_NOTICES_KEY_FILE",
        help="A file that holds the key and nothing else.",
        exists=True,
        dir_okay=False,
    ),
]
_T = TypeVar("_T")
HERE = "http://127.0.0.1:8080"


@notices_app.command("list")
def list_notices(
    status: Annotated[
        list[str] | None,
        typer.Option(help=f"Only these; repeatable. One of {', '.join(STATUSES)}."),
    ] = None,
    url: Url = HERE,
    key: Key = "",
    key_file: KeyFile = None,
) -> None:
    """List the notices, newest first."""
    wanted = [word.upper() for word in status or []]
    for word in wanted:
        if word not in STATUSES:
            _fail(f"--status {word}: must be one of {', '.join(STATUSES)}", code=2)
    found = _ask(url, key, key_file, lambda ledger: ledger.notices(wanted or None, LIST_AT_MOST))
    if not found:
        typer.echo("No notices.")
    for notice in found:
        typer.echo(f"{notice.id}  {_line(notice)}")


@notices_app.command()
def show(
    notice_id: Annotated[str, typer.Argument(metavar="ID")],
    save: Annotated[
        Path | None,
        typer.Option(help="Also write its text, HTML and attachments into this folder."),
    ] = None,
    url: Url = HERE,
    key: Key = "",
    key_file: KeyFile = None,
) -> None:
    """Show exactly what would be sent, and what has happened to it."""
    notice = _fetch(notice_id, url, key, key_file)
    _print(notice)
    if save:
        _save(notice, save)
        typer.echo(f"\nWritten to {save}")


@notices_app.command()
def approve(
    notice_id: Annotated[str, typer.Argument(metavar="ID")],
    digest: Annotated[
        str, typer.Option(help="The digest that `show` printed: approve just that, without asking.")
    ] = "",
    url: Url = HERE,
    key: Key = "",
    key_file: KeyFile = None,
) -> None:
    """Give leave to send a notice, after showing it."""
    if not digest:
        notice = _fetch(notice_id, url, key, key_file)
        _print(notice)
        whom = notice.recipient or "nobody yet: no recipient is configured"
        typer.confirm(f"\nSend this by {notice.channel} to {whom}?", abort=True)
        digest = notice.digest
    approved = _ask(url, key, key_file, lambda ledger: ledger.approve(notice_id, digest))
    typer.echo(f"{notice_id}  {_line(approved)}")


@notices_app.command()
def reject(
    notice_id: Annotated[str, typer.Argument(metavar="ID")],
    reason: Annotated[str, typer.Option(help="Why; it is kept with the notice.")],
    url: Url = HERE,
    key: Key = "",
    key_file: KeyFile = None,
) -> None:
    """Refuse leave; the notice is never sent."""
    rejected = _ask(url, key, key_file, lambda ledger: ledger.reject(notice_id, reason))
    typer.echo(f"{notice_id}  {_line(rejected)}")


def _ask(
    url: str,
    key: str,
    key_file: Path | None,
    question: Callable[[Ledger], Coroutine[Any, Any, _T]],
) -> _T:
    """Puts one question to the ledger; an error is one line on stderr."""
    if not url.startswith(("http://", "https://")):
        _fail(f"--url {url}: must start with http:// or https://", code=2)
    if key_file and not key:
        key = key_file.read_text(encoding="utf-8").strip()
    if not key:
        _fail("no key: give --key-file, or set SPEEDTRAP_NOTICES_KEY", code=2)

    async def asking() -> _T:
        async with Ledger(url.rstrip("/"), key) as ledger:
            return await question(ledger)

    try:
        return asyncio.run(asking())
    except BotsError as error:
        _fail(str(error), code=1)


def _fetch(notice_id: str, url: str, key: str, key_file: Path | None) -> Notice:
    notice = _ask(url, key, key_file, lambda ledger: ledger.notice(notice_id))
    if notice is None:
        _fail(f"there is no notice {notice_id}", code=1)
    return notice


def _line(notice: Notice) -> str:
    whom = notice.recipient or "(nobody configured)"
    return f"{notice.status:<10} {notice.stage:<8} {notice.channel} to {whom}  {notice.reference}"


def _print(notice: Notice) -> None:
    typer.echo(_line(notice))
    typer.echo(f"Digest:  {notice.digest}")
    if notice.subject:
        typer.echo(f"Subject: {notice.subject}")
    typer.echo(f"\n{notice.text.rstrip()}\n")
    for file in notice.attachments:
        typer.echo(f"Attached: {file.name} ({file.media_type}, SHA-256 {file.sha256})")
        if file.alt_text:
            typer.echo(f"          {file.alt_text}")
    for step in notice.steps:
        why = f": {step.why}" if step.why else ""
        typer.echo(f"{step.at:%Y-%m-%d %H:%M:%S %Z} {step.status} by {step.by}{why}")


def _save(notice: Notice, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "notice.txt").write_text(notice.text, encoding="utf-8")
    if notice.html is not None:
        # The mail refers to its picture by content id, a page by file name.
        page = notice.html.replace('@speedtrap"', '"').replace('src="cid:', 'src="')
        (folder / "notice.html").write_text(page, encoding="utf-8")
    for file in notice.attachments:
        (folder / Path(file.name).name).write_bytes(file.content)


def _fail(message: str, *, code: int) -> NoReturn:
    typer.echo(f"speedtrap notices: {message}", err=True)
    raise typer.Exit(code)
