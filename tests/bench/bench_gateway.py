"""What the gateway costs, and whether it protects: graph with keys behind it, against graph alone.

Prints `gateway_ratio ratio reference`: requests a second through the gateway with a key over those
to graph itself, and the latter. Then `attacked_ratio` and the wrong keys a second meanwhile: the
same through the gateway while others try unknown keys as fast as they can.

Loopback only, bounded in time; needs wrk (on Debian and Ubuntu, apt-get install wrk).
"""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.lab.mongo import Mongod
from tests.lab.nginx import running_gateway
from tests.lab.service import running_service

SECONDS = 8
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


def per_second(running: subprocess.Popen[str]) -> tuple[float, int]:
    """Requests a second, and how many were not answered with a status of success."""
    told, _ = running.communicate(timeout=SECONDS + 30)
    found = re.search(r"Requests/sec: +([\d.]+)", told)
    assert found is not None, told
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", told)
    return float(found[1]), int(refused[1]) if refused else 0


def bench_gateway(mongod: Mongod, database_name: str, tmp_path: Path) -> None:
    with running_service(
        mongod, database_name, tmp_path / "graph", SPEEDTRAP_GRAPH_CALLERS="gateway"
    ) as service:
        keys = {service.keys["viewer"]: "page:viewer"}
        limits = {"STRANGER_RATE": "1r/s", "STRANGER_BURST": "20"}
        with running_gateway(
            tmp_path / "gateway",
            service.base_url,
            service.base_url,
            tmp_path / "speed",
            keys,
            **limits,
        ) as door:
            there = f"{service.base_url}/graphql"
            here = f"{door.url}/graphql"
            known = {"X-API-Key": service.keys["viewer"]}
            unknown = {"X-API-Key": "nobody-knows-this-key-at-all"}
            caller = {"X-Speedtrap-Caller": "page:viewer"}
            reference, _ = per_second(start_wrk(tmp_path, there, caller))
            through, failed = per_second(start_wrk(tmp_path, here, known))
            assert failed == 0
            attack = start_wrk(tmp_path, here, unknown)
            attacked, failed = per_second(start_wrk(tmp_path, here, known))
            assert failed == 0
            wrong, refused = per_second(attack)
            assert refused > 0
    print()
    print(f"gateway_ratio {through / reference:.2f} {reference:.0f}/s")
    print(f"attacked_ratio {attacked / through:.2f} {through:.0f}/s at {wrong:.0f} wrong keys/s")
