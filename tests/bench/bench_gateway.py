"""What the gateway costs, and whether it protects: graph with keys behind it, against graph alone.

Prints `gateway_ratio ratio reference`: requests a second through the gateway with a key over those
to graph itself, and the latter; all parts and wrk share this machine's cores. Then for good clients
at a steady 100 requests a second their `p50` and `p99`, and how many were answered: alone, while
another guesses 10,000 keys a second, and while others send slowly, too much and nonsense.

Loopback only, bounded in number and time; needs wrk (on Debian and Ubuntu, apt-get install wrk).
"""

import asyncio
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from tests.gateway.test_limits import a_post, again_and_again, slow_senders
from tests.lab.guesser import start_guesser, told_by
from tests.lab.mongo import Mongod
from tests.lab.nginx import Gateway, running_gateway
from tests.lab.service import running_service

SECONDS = 5
ROUNDS = 3
GUESSES_PER_S = 10_000
GOOD_CLIENTS, EACH_PER_S = 10, 10
BODY = '{"query": "{ probes { name } }"}'
SCRIPT = """\
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{body}'
"""


def start_wrk(folder: Path, url: str, headers: Mapping[str, str]) -> subprocess.Popen[str]:
    script = folder / "ask.lua"
    script.write_text(SCRIPT.format(body=BODY), encoding="utf-8")
    program = shutil.which("wrk")
    assert program is not None, "no wrk: on Debian and Ubuntu, apt-get install wrk"
    argv = [program, "-t1", "-c16", f"-d{SECONDS}s", "-s", str(script)]
    for name, value in headers.items():
        argv += ["-H", f"{name}: {value}"]
    return subprocess.Popen([*argv, url], stdout=subprocess.PIPE, text=True)


def per_second(running: subprocess.Popen[str]) -> float:
    """Requests a second, all of them answered with success."""
    told, _ = running.communicate(timeout=SECONDS + 30)
    found = re.search(r"Requests/sec: +([\d.]+)", told)
    assert found is not None, told
    assert "Non-2xx" not in told, told
    return float(found[1])


async def be_good(port: int, key: str, seconds: float) -> tuple[list[float], int]:
    """Seconds that answers of success took, from the moment they were due; and how many failed."""
    body = BODY.encode()
    head = a_post(key, len(body)).replace(b"Host: x", b"Host: x\r\nContent-Type: application/json")
    taken: list[float] = []
    failed = 0

    async def ask(place: int) -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        began = time.perf_counter() + place / GOOD_CLIENTS / EACH_PER_S
        for number in range(int(seconds * EACH_PER_S)):
            due = began + number / EACH_PER_S
            await asyncio.sleep(due - time.perf_counter())
            writer.write(head + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(answer.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            told = await reader.readexactly(length)
            if answer.startswith(b"HTTP/1.1 200 ") and b'"data"' in told:
                taken.append(time.perf_counter() - due)
            else:
                failed += 1
        writer.close()

    await asyncio.gather(*map(ask, range(GOOD_CLIENTS)))
    return taken, failed


def say(name: str, found: tuple[list[float], int]) -> None:
    taken, failed = sorted(found[0]), found[1]
    p50, p99 = (1000 * taken[int(len(taken) * share)] for share in (0.5, 0.99))
    total = len(taken) + failed
    print(f"{name} p50 {p50:.1f} ms, p99 {p99:.1f} ms, answered {len(taken)} of {total}")


def bench_gateway(mongod: Mongod, database_name: str, tmp_path: Path) -> None:
    with (
        running_service(
            mongod, database_name, tmp_path / "graph", SPEEDTRAP_GRAPH_CALLERS="gateway"
        ) as service,
        running_gateway(
            tmp_path / "gateway",
            service.base_url,
            service.base_url,
            tmp_path / "speed",
            {service.keys["viewer"]: "page:viewer"},
            STRANGER_RATE="1r/s",
            STRANGER_BURST="20",
        ) as door,
    ):
        known, caller = {"X-API-Key": service.keys["viewer"]}, {"X-Speedtrap-Caller": "page:viewer"}
        rates: tuple[list[float], list[float]] = ([], [])
        for _ in range(ROUNDS + 1):
            rates[0].append(per_second(start_wrk(tmp_path, f"{service.base_url}/graphql", caller)))
            rates[1].append(per_second(start_wrk(tmp_path, f"{door.url}/graphql", known)))
        # The first turn is warming up.
        reference, through = (median(each[1:]) for each in rates)
        print(f"\ngateway_ratio {through / reference:.2f} {reference:.0f}/s")
        key = service.keys["viewer"]
        say("alone", asyncio.run(be_good(door.port, key, SECONDS)))
        guesser = start_guesser(door.port, GUESSES_PER_S * SECONDS, GUESSES_PER_S)
        found = asyncio.run(be_good(door.port, key, SECONDS))
        statuses, rate = told_by(guesser)
        say(f"guessed_at {rate:.0f} wrong keys/s, {statuses},", found)
        say("slow_large_and_nonsense", asyncio.run(_among_bad_ones(door, key)))


async def _among_bad_ones(door: Gateway, key: str) -> tuple[list[float], int]:
    large, rubbish = a_post(key, 9**10), b"nonsense\r\n\r\n"
    done = asyncio.Event()
    with slow_senders(door.port, 500):
        bad = [
            asyncio.create_task(again_and_again(door.port, sent, done))
            for sent in (large, large, rubbish, rubbish)
        ]
        found = await be_good(door.port, key, SECONDS)
        done.set()
        assert set.union(*await asyncio.gather(*bad)) == {413, 400}
    return found
