"""One who guesses keys, each time another: `python -m tests.lab.guesser PORT COUNT PER_SECOND`.

Many requests go out before the first answer is read, so that a small machine can ask 10,000 times a
second. Ends by itself after COUNT; prints how often it got which status, and the rate it reached.
Loopback only.
"""

import asyncio
import json
import re
import secrets
import subprocess
import sys
import time
from collections import Counter

AT_ONCE = 250
"""Requests on one connection, all sent before the first answer is read."""
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


def start_guesser(port: int, count: int, per_second: int) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "tests.lab.guesser", *map(str, (port, count, per_second))]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def told_by(guesser: subprocess.Popen[str]) -> tuple[dict[int, int], float]:
    """Statuses with their numbers, and guesses a second."""
    said = json.loads(guesser.communicate(timeout=120)[0])
    return {int(status): n for status, n in said["statuses"].items()}, said["per_second"]


async def guess(port: int, count: int, per_second: int) -> tuple[Counter[int], float]:
    statuses: Counter[int] = Counter()
    began = time.perf_counter()
    asking: set[asyncio.Task[Counter[int]]] = set()
    for sent in range(0, count, AT_ONCE):
        # Late is late: no connection waits for the one before.
        await asyncio.sleep(began + sent / per_second - time.perf_counter())
        asking.add(asyncio.create_task(_ask(port, min(AT_ONCE, count - sent))))
    for seen in await asyncio.gather(*asking):
        statuses += seen
    return statuses, count / (time.perf_counter() - began)


async def _ask(port: int, count: int) -> Counter[int]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"".join(_a_guess(last=place == count - 1) for place in range(count)))
    told = await reader.read(-1)
    writer.close()
    return Counter(int(status) for status in _STATUS.findall(told))


def _a_guess(*, last: bool) -> bytes:
    lines = ["POST /graphql HTTP/1.1", "Host: x", f"X-API-Key: {secrets.token_urlsafe(24)}"]
    lines += ["Content-Length: 0", f"Connection: {'close' if last else 'keep-alive'}", "", ""]
    return "\r\n".join(lines).encode()


if __name__ == "__main__":
    found, rate = asyncio.run(guess(*map(int, sys.argv[1:4])))
    sys.stdout.write(json.dumps({"statuses": found, "per_second": rate}))
