"""What the page's real process writes to its log, for programs and for people."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from speedtrap_web.cli import app
from typer.testing import CliRunner

from tests.lab.lines import having, records, the_one
from tests.lab.mongo import free_port
from tests.lab.waiting import until

KEY, SECRET, LOGIN = "planted-web-key-0123456789", "planted-session-" + "s" * 32, "planted-login"
PROGRAM = ("-c", "from speedtrap_web.cli import main; main()", "serve", "--port")


@asynccontextmanager
async def a_page(log: Path, **settings: str) -> AsyncIterator[str]:
    """Its address; graph is away."""
    port = free_port()
    environment = {
        "SPEEDTRAP_WEB_GRAPH_URL": f"http://127.0.0.1:{free_port()}",
        "SPEEDTRAP_WEB_KEY": KEY,
        "SPEEDTRAP_WEB_SESSION_SECRET": SECRET,
        **settings,
    }
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *PROGRAM, str(port), env={**os.environ, **environment},
            stdout=out, stderr=out,
        )  # fmt: skip
    try:
        await until(lambda: "running on" in log.read_text(encoding="utf-8"))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def test_from_start_to_end_every_line_is_a_record_without_a_secret(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    asked = {"SPEEDTRAP_WEB_LOG_FORMAT": "json", "SPEEDTRAP_WEB_LOG_LEVEL": "DEBUG"}
    async with (
        a_page(log, **asked) as url,
        httpx.AsyncClient(base_url=url, headers={"Sec-Fetch-Site": "same-origin"}) as client,
    ):
        assert (await client.get("/")).is_error
        assert (await client.get(f"/shared/{LOGIN}")).is_error
        assert (await client.post("/login", data={"key": LOGIN})).is_error
        await not_http(url)
    said = records(log)
    assert the_one(said, "Application startup complete")["logger"] == "uvicorn.error"
    assert having(said, "Invalid HTTP request")[0]["level"] == "WARNING"
    the_one(said, "Finished server process")
    text = log.read_text(encoding="ascii")
    for secret in (KEY, SECRET, LOGIN):
        assert secret not in text


async def not_http(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"not http\r\n\r\n")
    await reader.read()
    writer.close()
    await writer.wait_closed()


async def test_text_is_for_people_and_is_what_is_written_unless_asked(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    async with a_page(log):
        pass
    line = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO uvicorn.error: Uvicorn running on http"
    assert re.search(line, log.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [("LOG_FORMAT", "xml", "'text' or 'json'"), ("LOG_LEVEL", "loud", "'DEBUG', 'INFO', ")],
)
def test_what_there_is_not_is_refused_with_what_there_is(
    name: str, value: str, allowed: str
) -> None:
    done = CliRunner().invoke(app, ["serve"], env={f"SPEEDTRAP_WEB_{name}": value})
    assert done.exit_code == 2
    assert f"speedtrap-web: SPEEDTRAP_WEB_{name}: Input should be {allowed}" in done.stderr
