"""`speedtrap notices`: reading what would be sent, and approving or rejecting it."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer

from speedtrap_bots.errors import BotsError
from speedtrap_bots.ledger import Ledger
from speedtrap_bots.model import Breach, ChannelSummary, ChannelTest, Notice, Stage
from speedtrap_bots.settings import SettingsError

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
TEST_POLL_S = 0.5

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
        if notice.obstacle:
            typer.echo(f"{'':<34}cannot be sent: {notice.obstacle}")


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
    """Approve a notice, after showing it."""
    if not digest:
        notice = _fetch(notice_id, url, key, key_file)
        if notice.obstacle:
            _fail(f"this notice cannot be sent: {notice.obstacle}", code=1)
        _print(notice)
        typer.confirm(f"\nSend this by {notice.channel} to {notice.recipient}?", abort=True)
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
    """Reject a notice: it is never sent."""
    rejected = _ask(url, key, key_file, lambda ledger: ledger.reject(notice_id, reason))
    typer.echo(f"{notice_id}  {_line(rejected)}")


@notices_app.command()
def resolve(
    notice_id: Annotated[str, typer.Argument(metavar="ID")],
    arrived: Annotated[
        bool, typer.Option("--arrived/--not-arrived", help="What you found out about it.")
    ],
    reason: Annotated[str, typer.Option(help="How you know; it is kept with the notice.")],
    url: Url = HERE,
    key: Key = "",
    key_file: KeyFile = None,
) -> None:
    """Decide about a notice of unknown outcome: it arrived, or it may be sent again."""
    resolved = _ask(
        url,
        key,
        key_file,
        lambda ledger: ledger.resolve(notice_id, arrived=arrived, reason=reason),
    )
    typer.echo(f"{notice_id}  {_line(resolved)}")


@notices_app.command()
def bounce(
    notice_id: Annotated[str, typer.Argument(metavar="ID")],
    detail: Annotated[str, typer.Option(help="What the mail server wrote.")],
    url: Url = HERE,
    key: Key = "",
    key_file: KeyFile = None,
) -> None:
    """Record that a mail which counted as sent came back."""
    dead = _ask(url, key, key_file, lambda ledger: ledger.bounce(notice_id, detail))
    typer.echo(f"{notice_id}  {_line(dead)}")


@notices_app.command()
def stop(
    recipient: Annotated[str, typer.Argument(help="Who asked for no more.")] = "",
    reason: Annotated[str, typer.Option(help="How they asked.")] = "answered STOP",
    url: Url = HERE,
    key: Key = "",
    key_file: KeyFile = None,
) -> None:
    """Never write to RECIPIENT again, through any channel. Without one: list them."""
    if recipient:
        stops = [_ask(url, key, key_file, lambda ledger: ledger.stop(recipient, reason))]
    else:
        stops = _ask(url, key, key_file, lambda ledger: ledger.stops())
    for one in stops:
        typer.echo(f"{one.at:%Y-%m-%d %H:%M %Z}  {one.recipient}: {one.reason} (by {one.by})")
    if not stops:
        typer.echo("Nobody has asked for no more.")


@notices_app.command()
def pause(
    reason: Annotated[str, typer.Option(help="Why; it is kept.")],
    url: Url = HERE,
    key: Key = "",
    key_file: KeyFile = None,
) -> None:
    """Switch all sending off, at once and for every channel and copy."""
    _ask(url, key, key_file, lambda ledger: ledger.set_sending(on=False, reason=reason))
    typer.echo("Nothing leaves until `resume`.")


@notices_app.command()
def resume(
    reason: Annotated[str, typer.Option(help="Why; it is kept.")] = "resumed",
    url: Url = HERE,
    key: Key = "",
    key_file: KeyFile = None,
) -> None:
    """Switch sending on again."""
    _ask(url, key, key_file, lambda ledger: ledger.set_sending(on=True, reason=reason))
    typer.echo("What is approved goes out again.")


@notices_app.command()
def preview(
    breach: Annotated[str, typer.Argument(help="Its reference, ST-XXXXXX, or its id.")],
    save: Annotated[Path, typer.Option(help="The folder to write it into.")],
    channel: Annotated[str, typer.Option(help="In which channel's form.")] = "mail",
    stage: Annotated[Stage, typer.Option(help="Which letter.")] = Stage.OPENING,
    templates: Annotated[
        Path | None, typer.Option(help="A folder with templates of your own.", file_okay=False)
    ] = None,
    url: Url = HERE,
    key: Key = "",
    key_file: KeyFile = None,
) -> None:
    """Write a letter into a folder as it would read now. Nothing is planned or sent."""
    from speedtrap_bots.preview import write_preview  # noqa: PLC0415 - charts take seconds to load

    found = _evidence(breach, url, key, key_file)
    try:
        files = write_preview(found, stage, channel, save, templates)
    except BotsError as error:
        _fail(str(error), code=1)
    for file in files:
        typer.echo(file)


@notices_app.command()
def pack(
    breach: Annotated[str, typer.Argument(help="Its reference, ST-XXXXXX, or its id.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The PDF to write.", dir_okay=False)
    ],
    csv: Annotated[
        Path | None, typer.Option(help="Also every measurement as CSV.", dir_okay=False)
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="Also every run as JSON.", dir_okay=False)
    ] = None,
    url: Url = HERE,
    key: Key = "",
    key_file: KeyFile = None,
) -> None:
    """Write the evidence as a PDF for a regulator's form, which you file yourself."""
    from speedtrap_bots.letter.evidence import runs_csv  # noqa: PLC0415 - charts take seconds to load
    from speedtrap_bots.letter.pack import pack_pdf, runs_json  # noqa: PLC0415 - the same

    found = _evidence(breach, url, key, key_file)
    wanted = ((output, pack_pdf), (csv, runs_csv), (json, runs_json))
    try:
        for path, write in wanted:
            if path is not None:
                path.write_bytes(write(found))
                typer.echo(path)
    except OSError as error:
        _fail(f"cannot write {error.filename}: {error.strerror}", code=1)
    except BotsError as error:
        _fail(str(error), code=1)


@notices_app.command()
def channels(url: Url = HERE, key: Key = "", key_file: KeyFile = None) -> None:
    """Show which channels have a bot alive, what stopped them, and what waits."""
    found = _ask(url, key, key_file, lambda ledger: ledger.channels())
    if not found:
        typer.echo("No bot was ever heard of, and there are no notices.")
    for channel in found:
        _print_channel(channel)


@notices_app.command("send-test")
def send_test(
    channel: Annotated[str, typer.Option(help="Through which channel.")] = "mail",
    by_bot: Annotated[
        bool,
        typer.Option("--by-bot", help="Let the running bot at --url send it."),
    ] = False,
    url: Url = HERE,
    key: Key = "",
    key_file: KeyFile = None,
) -> None:
    """Send one real message to yourself, by the bots' settings (SPEEDTRAP_BOTS_...) given here."""
    if by_bot:
        test = _ask(url, key, key_file, lambda ledger: _tested(ledger, channel))
        if test.state != "SENT":
            _fail(f"{test.state}: {test.why}", code=1)
        typer.echo(test.why)
        return
    from speedtrap_bots.serve import open_channels  # noqa: PLC0415 - charts take seconds to load

    try:
        [opened] = open_channels([channel])
        typer.echo(asyncio.run(opened.test()))
    except SettingsError as error:
        _fail(str(error), code=2)
    except BotsError as error:
        _fail(str(error), code=1)


async def _tested(ledger: Ledger, channel: str) -> ChannelTest:
    """Asks for a test and waits for its end, which graph sees to."""
    test = await ledger.send_test(channel)
    while test.state in {"ASKED", "SENDING"}:
        await asyncio.sleep(TEST_POLL_S)
        marks = await ledger.channels()
        test = next((m.last_test for m in marks if m.name == channel and m.last_test), test)
    return test


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


def _evidence(breach: str, url: str, key: str, key_file: Path | None) -> Breach:
    async def evidence(ledger: Ledger) -> Breach | None:
        return await ledger.evidence(await ledger.breach_of(breach))

    found = _ask(url, key, key_file, evidence)
    if found is None:
        _fail(f"there is no breach {breach}", code=1)
    return found


def _fetch(notice_id: str, url: str, key: str, key_file: Path | None) -> Notice:
    notice = _ask(url, key, key_file, lambda ledger: ledger.notice(notice_id))
    if notice is None:
        _fail(f"there is no notice {notice_id}", code=1)
    return notice


def _line(notice: Notice) -> str:
    whom = notice.recipient or "(nobody configured)"
    return f"{notice.status:<10} {notice.stage:<8} {notice.channel} to {whom}  {notice.reference}"


def _print_channel(channel: ChannelSummary) -> None:
    state = channel.state or "never heard of"
    life = f"{state}, {channel.workers} running" if channel.alive else f"{state}, none running"
    why = f": {channel.why}" if channel.why else ""
    typer.echo(f"{channel.name}  {life}{why}")
    typer.echo(
        f"  to {channel.recipient or '(nobody configured)'};"
        f" {channel.waiting} wait for approval, {channel.due} for their turn, {channel.sent} sent,"
        f" {channel.unknown} unknown, {channel.dead} dead"
    )
    if test := channel.last_test:
        typer.echo(f"  last test {test.state}{f': {test.why}' if test.why else ''}")


def _print(notice: Notice) -> None:
    typer.echo(_line(notice))
    typer.echo(f"Digest:  {notice.digest}")
    if notice.obstacle:
        typer.echo(f"Cannot be sent as it is: {notice.obstacle}")
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
