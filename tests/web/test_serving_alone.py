"""`speedtrap-web serve`, as a process of its own."""

import asyncio
import os
import sys
from pathlib import Path

import httpx

from tests.lab.mongo import free_port
from tests.lab.waiting import until

TOKEN = "kept-between-us"


async def test_the_token_of_a_shared_report_is_in_no_log(tmp_path: Path) -> None:
    port = free_port()
    log = tmp_path / "web.log"
    program = ["-c", "from speedtrap_web.cli import main; main()", "serve", "--port", str(port)]
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *program,
            env={**os.environ, "SPEEDTRAP_WEB_GRAPH_URL": f"http://127.0.0.1:{free_port()}"},
            stdout=out,
            stderr=out,
        )
    try:
        await until(lambda: "running on" in log.read_text())
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"http://127.0.0.1:{port}/shared/{TOKEN}")
        assert answer.is_error
    finally:
        process.terminate()
        await process.wait()
    assert "Finished server process" in log.read_text()
    assert TOKEN not in log.read_text()
