"""How accurate the probe is on lines of known rate, and what it costs. `make bench-probe`, as root.

SPEEDTRAP_BENCH_RATES=100,940 _RTTS=0,20 _RUNS=5 _TOOLS=lan,iperf3 take less than everything.
"""

import json
import os
import resource
import secrets
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import trustme
from speedtrap_probe.errors import ToolError
from speedtrap_probe.tool import Setup
from speedtrap_probe.tools import discover

from tests.lab import ping
from tests.lab.nginx import nginx_executable
from tests.lab.shaped import SERVER, Cable, cable, inside

OURS = ("lan", "turnkey", "librespeed", "fast")
PEERS = ("iperf3", "speedtest-cli")
GOAL_PERCENT = 0.5
MINI_SIDES = (350, 500, 750, 1000, 1500, 2000, 2500, 3000, 3500, 4000)
TOKEN = "TokenOfTheBench"
TARGET = {"url": f"http://{SERVER}/speedtest?c=1", "location": {"city": "Lab", "country": "XX"}}
NGINX = """\
daemon off; worker_processes 2; pid {folder}/pid; error_log {folder}/error.log; user root;
events {{ worker_connections 512; }}
http {{
  access_log off; sendfile on; tcp_nodelay on; keepalive_requests 1000000;
  client_max_body_size 0; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  default_type text/html; root {folder}/www;
  ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
  server {{
    listen {address}:80; listen {address}:443 ssl;
    location = /speed/garbage.php {{ try_files /100mb.bin =404; }}
    location = /speed/empty.php {{ return 200; }}
    location ^~ /speedtest/range/0-0 {{ return 200 x; }}
    location ^~ /speedtest/range/0-2 {{ try_files /100mb.bin =404; }}
    location = /speedtest/upload.php {{ return 200 size=1; }}
  }}
}}
"""
SPEEDTEST_CONFIG = """<?xml version="1.0" encoding="UTF-8"?><settings>
<client ip="192.0.2.7" lat="39.7" lon="-104.9" isp="Lab" country="US"/>
<server-config threadcount="4" ignoreids=""/>
<download testlength="10" threadsperurl="4"/>
<upload testlength="10" ratio="5" threads="2" maxchunkcount="50"/></settings>"""


def main() -> int:
    if os.geteuid() != 0:
        sys.stderr.write("bench-probe lays cables between network namespaces: it needs root\n")
        return 2
    rates = _chosen("RATES", "100,500,940,2500")
    rtts, runs = _chosen("RTTS", "0,20"), int(_chosen("RUNS", "5")[0])
    tools = _chosen("TOOLS", ",".join((*OURS, *PEERS)))
    control = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    print(f"# {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, congestion control {control}")
    missed = 0
    for rtt in map(int, rtts):
        for rate in map(int, rates):
            with cable("bench", rate, rtt) as line, served(line) as folder:
                missed += accuracy(line, folder, tools, runs)
    if _chosen("COST", "yes")[0] == "yes":
        with cable("bench", 0) as line, served(line) as folder:
            cost(line, folder)
    print(f"# cells of ours beyond {GOAL_PERCENT} %: {missed}")
    return 0


def accuracy(line: Cable, folder: Path, tools: list[str], runs: int) -> int:
    """Prints a line a tool and direction; returns how many of ours miss the goal."""
    missed = 0
    for tool in tools:
        found = [measured(line, folder, tool) for _ in range(runs)]
        for direction in ("download", "upload"):
            errors = [
                (figures[f"{direction}_mbps"] / line.goodput_mbps - 1) * 100
                for figures in found
                if figures.get(f"{direction}_mbps")
            ]
            if not errors:
                continue
            error = statistics.median(errors)
            missed += tool in OURS and abs(error) > GOAL_PERCENT
            print(
                f"accuracy {tool} {direction} {line.rate_mbps} {error:+.2f}"
                f" rtt_ms={line.delay_ms} runs={len(errors)}"
                f" worst={max(errors, key=abs):+.2f} load={os.getloadavg()[0]:.1f}",
                flush=True,
            )
            if tool == "lan":
                _print_loaded(line, direction, found)
    return missed


def _print_loaded(line: Cable, direction: str, found: list[dict[str, Any]]) -> None:
    which = "loaded_latency_" + ("down" if direction == "download" else "up") + "_ms"
    pairs = [
        (one[which], one["pings"][direction])
        for one in found
        if one.get(which) and one["pings"].get(direction)
    ]
    if pairs:
        ours, pings = (statistics.median(column) for column in zip(*pairs, strict=True))
        within = abs(ours - pings) <= max(2.0, 0.1 * pings)
        print(
            f"loaded_latency {direction} {line.rate_mbps} ours={ours:.1f} ping={pings:.1f}"
            f" rtt_ms={line.delay_ms} {'within' if within else 'BEYOND'} 10 % or 2 ms",
            flush=True,
        )


def cost(line: Cable, folder: Path) -> None:
    """CPU seconds a gigabyte, peak memory and rate on an unshaped cable, against iperf3's."""
    base: dict[str, float] = {}
    for tool, scheme in (("iperf3", "http"), ("turnkey", "http"), ("lan", "http"),
                         ("turnkey", "https"), ("lan", "https")):  # fmt: skip
        figures = measured(line, folder, tool, scheme)
        for direction in ("download", "upload"):
            moved, cpu_s = figures["moved"].get(direction, 0), figures["cpu_s"].get(direction, 0)
            if not moved:
                continue
            per_gb = cpu_s / (moved / 1e9)
            base.setdefault(direction, per_gb)
            base.setdefault("peak", figures["peak_mb"])
            rate = figures[f"{direction}_mbps"] or 0
            print(
                f"cost {tool} {scheme} {direction} cpu_s_per_gb={per_gb:.2f}"
                f" ratio_to_iperf3={per_gb / base[direction]:.2f} gbps={rate / 1000:.1f}"
                f" gbps_on_one_core={8 / per_gb:.1f} peak_mb={figures['peak_mb']:.0f}"
                f" peak_ratio={figures['peak_mb'] / base['peak']:.1f}",
                flush=True,
            )


def measured(line: Cable, folder: Path, tool: str, scheme: str = "http") -> dict[str, Any]:
    """One measurement in a process of its own at home."""
    argv = [sys.executable, "-m", "tests.bench.bench_probe", "measure", tool, scheme]
    env = os.environ | {
        "SSL_CERT_FILE": str(folder / "ca.pem"),
        "BENCH_CABLE": json.dumps([line.home, line.server, line.rate_mbps, line.delay_ms]),
    }
    done = subprocess.run(inside(line.home, *argv), env=env, capture_output=True, check=False)
    if done.returncode != 0:
        sys.stderr.write(done.stderr.decode(errors="replace")[-2000:])
        return {}
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def measure_here(tool: str, scheme: str) -> None:
    """Inside the namespace at home: measures and prints figures, CPU and memory as JSON."""
    line = Cable(*json.loads(os.environ["BENCH_CABLE"]))
    peak = Peak()
    if tool in PEERS:
        peak.start()
    watch = Watch(line, pings=tool == "lan" and line.rate_mbps > 0)
    setup = Setup(f"{scheme}://{SERVER}", options(scheme), window_s=8.0, progress=watch.progress)
    if tool == "speedtest-cli":
        figures: Mapping[str, Any] = by_speedtest_cli(watch)
    else:
        try:
            got = discover()[tool].measure(setup)
        except ToolError as error:
            sys.stderr.write(f"{tool}: {error}\n")
            got = error.figures
        server = replace(got, server=None)
        figures = {name: getattr(server, name) for name in server.__slots__}
    watch.enter("end")
    moved = {"download": figures.get("bytes_received"), "upload": figures.get("bytes_sent")}
    told = {**figures, "cpu_s": watch.cpu_s, "moved": moved, "pings": watch.pings}
    sys.stdout.write(json.dumps(told | {"peak_mb": peak.mb if tool in PEERS else _peak_mb("self")}))


class Watch:
    """Follows the phases: turns the cable, reads the CPU clock, pings beside the transfer."""

    def __init__(self, line: Cable, pings: bool) -> None:
        self.line = line
        self.phase = ""
        self.cpu_s: dict[str, float] = {}
        self.pings: dict[str, float] = {}
        self._pinging = pings
        self._pinger: subprocess.Popen[bytes] | None = None
        self._began_cpu_s = _cpu_s()

    def progress(self, phase: str, _mbps: float) -> None:
        if phase != self.phase and threading.current_thread() is threading.main_thread():
            self.enter(phase)

    def enter(self, phase: str) -> None:
        now_s = _cpu_s()
        self.cpu_s[self.phase] = now_s - self._began_cpu_s
        if self._pinger is not None:
            self._pinger.terminate()
            taken = [float(row) for row in self._pinger.communicate()[0].split()]
            later = taken[len(taken) // 5 :]
            if later:
                self.pings[self.phase] = statistics.median(later)
            self._pinger = None
        self.phase = phase
        self.line.answers_late(phase)
        if self._pinging and phase in {"download", "upload"}:
            argv = [sys.executable, "-I", "-S", ping.__file__, SERVER]
            self._pinger = subprocess.Popen(argv, stdout=subprocess.PIPE)
        self._began_cpu_s = _cpu_s()


def by_speedtest_cli(watch: Watch) -> dict[str, Any]:
    """Its two directions one by one: the cable is turned between them."""
    figures: dict[str, Any] = {}
    env = os.environ | {"http_proxy": f"http://{SERVER}"}  # www.speedtest.net is there too
    for phase, other in (("download", "upload"), ("upload", "download")):
        watch.enter(phase)
        argv = [sys.executable, "-m", "speedtest", "--json", f"--no-{other}"]
        argv += ["--mini", f"http://{SERVER}/"]
        done = subprocess.run(argv, env=env, capture_output=True, check=False)
        if done.returncode == 0:
            figures[f"{phase}_mbps"] = json.loads(done.stdout)[phase] / 1e6
        else:
            sys.stderr.write(done.stderr.decode(errors="replace"))
    return figures


def options(scheme: str) -> dict[str, str]:
    root = f"{scheme}://{SERVER}"
    return {
        "lan_url": f"{root}/speed/",
        "librespeed_url": f"{root}/speed/",
        "turnkey_url": f"{root}/100mb.bin",
        "fast_command": "none",
        "fast_url": f"{root}/",
        "fast_api_url": f"{root}/api.json",
        "iperf3_server": SERVER,
    }


@contextmanager
def served(line: Cable) -> Iterator[Path]:
    """Debian's NGINX from memory, and iperf3, in the server's namespace."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/dev/shm") as name:
        folder = Path(name)
        _fill(folder)
        conf = folder / "nginx.conf"
        conf.write_text(NGINX.format(folder=folder, address=SERVER))
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        argvs = [[nginx_executable(), "-c", str(conf)], ["iperf3", "-s"]]
        servers = [
            subprocess.Popen(inside(line.server, *argv), **quiet)  # type: ignore[call-overload] # one dict for both
            for argv in argvs
        ]
        time.sleep(1.0)
        try:
            yield folder
        finally:
            for one in servers:
                one.terminate()
            for one in servers:
                one.wait()


def _fill(folder: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert(SERVER)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(str(folder / "cert.pem"), append=True)
    www = folder / "www"
    (www / "speedtest").mkdir(parents=True)
    payload = secrets.token_bytes(100_000_000)
    (www / "100mb.bin").write_bytes(payload)
    for side in MINI_SIDES:
        (www / f"speedtest/random{side}x{side}.jpg").write_bytes(payload[: 2 * side * side])
    (www / "speedtest/latency.txt").write_text("test=test")
    (www / "speedtest-config.php").write_text(SPEEDTEST_CONFIG)
    (www / "index.html").write_text(
        '<script src="/app-1.js"></script><script>s = {upload_extension: "php"};</script>'
    )
    (www / "app-1.js").write_text(f'token:"{TOKEN}"')
    (www / "api.json").write_text(json.dumps({"targets": [TARGET]}))


def _cpu_s() -> float:
    """Of this process and of the children that it has waited for."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in both)


def _peak_mb(pid: int | str) -> float:
    """The kernel's high-water mark; ru_maxrss would be that of the process which started it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    marks = [row.split()[1] for row in status.splitlines() if row.startswith("VmHWM:")]
    return int(marks[0]) / 1000 if marks else 0.0


class Peak(threading.Thread):
    """The high-water mark of the programs that this process starts, looked at each half second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.mb = 0.0

    def run(self) -> None:
        while True:
            children = psutil.Process().children()
            self.mb = max([self.mb, *(_peak_mb(one.pid) for one in children)])
            time.sleep(0.5)


def _chosen(name: str, default: str) -> list[str]:
    return os.environ.get(f"SPEEDTRAP_BENCH_{name}", default).split(",")


if __name__ == "__main__":
    verb, *rest = sys.argv[1:] or ["all"]
    if verb == "measure":
        measure_here(rest[0], rest[1])
    else:
        sys.exit(main())
