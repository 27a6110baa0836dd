"""The gateway's own templates under this machine's NGINX, as an ordinary process on high ports.

It does what the official image's entrypoint does: fills in the templates, runs the scripts of
nginx/entrypoint.d in order, then becomes NGINX.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.mongo import free_port

SOURCES = Path(__file__).resolve().parents[2] / "nginx"
START_TIMEOUT_S = 20.0

MASTER = "daemon off; worker_shutdown_timeout 1s;"
"""As the Dockerfile starts it, less patient: workers of an old configuration end after a second."""

UNLIMITED = {
    "ADDRESS_BURST": "100000",
    "ADDRESS_CONNECTIONS": "10000",
    "ADDRESS_RATE": "100000r/s",
    "KEY_BURST": "100000",
    "KEY_CONNECTIONS": "10000",
    "KEY_RATE": "100000r/s",
    "LOGIN_BURST": "100000",
    "LOGIN_RATE": "100000r/s",
    "STRANGER_BURST": "100000",
    "STRANGER_RATE": "100000r/s",
}
"""Tests ask more in a second than people do; those of the limits set their own."""


def main_configuration(folder: Path) -> str:
    """The image's own frame, with its places in *folder* and two workers."""
    frame = (SOURCES / "nginx.conf").read_text(encoding="utf-8")
    # Started as root, its workers would become somebody who may not read a test's folder.
    user = "user root;" if os.geteuid() == 0 else ""
    for here, there in {
        "user nginx;": user,
        "worker_processes auto;": "worker_processes 2;",
        "/var/log/nginx": str(folder),
        "/run/nginx.pid": f"{folder}/nginx.pid",
        "/var/cache/nginx": f"{folder}/temp",
        "/etc/nginx/conf.d": f"{folder}/conf.d",
    }.items():
        assert here in frame
        frame = frame.replace(here, there)
    return frame


def nginx_executable() -> str:
    search = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    found = shutil.which("nginx", path=search)
    if found is None:
        raise FileNotFoundError("no nginx: on Debian and Ubuntu, apt-get install nginx-light")
    return found


def fill_in(templates: Path, target: Path, values: Mapping[str, str]) -> None:
    """As envsubst does it: only the variables that are named, NGINX's own stay as they are."""
    for template in sorted(templates.rglob("*.template")):
        output = target / template.relative_to(templates).with_suffix("")
        output.parent.mkdir(parents=True, exist_ok=True)
        text = template.read_text(encoding="utf-8")
        output.write_text(
            re.sub(r"\$\{(\w+)\}", lambda m: values.get(m[1], m[0]), text), encoding="utf-8"
        )


@dataclass
class Gateway:
    """One NGINX in front of `graph` and `web` (base URLs), with its key file."""

    folder: Path
    graph: str
    web: str
    speed_dir: Path
    """Holds /speed/'s files. They take a second to make, so one folder may serve many gateways."""
    port: int = field(default_factory=free_port)
    internal_port: int = field(default_factory=free_port)
    tls_port: int = field(default_factory=free_port)
    metrics_port: int = field(default_factory=free_port)
    settings: Mapping[str, str] = field(default_factory=dict)
    """Differing from `UNLIMITED` and from no domain, without the names' common beginning."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def internal_url(self) -> str:
        """Where web and the bots knock: the same site on the port that is never published."""
        return f"http://127.0.0.1:{self.internal_port}"

    @property
    def certificate(self) -> Path:
        """Where certbot's service puts the chain and the key, in one file."""
        return self.folder / "certificates" / "bundle.pem"

    @property
    def acme_root(self) -> Path:
        return self.folder / "acme"

    @property
    def keys_file(self) -> Path:
        return self.folder / "api_keys"

    @property
    def secret_file(self) -> Path:
        """By what is in it graph knows the gateway; there is none until a test makes one."""
        return self.folder / "gateway_secret"

    def write_keys(self, keys: Mapping[str, str]) -> None:
        """*keys*: the key, then `name:role`. NGINX sees them after a reload, or by its watcher."""
        lines = [f'"{key}" "{caller}";\n' for key, caller in keys.items()]
        self.keys_file.write_text("".join(lines), encoding="utf-8")

    def access_log(self) -> str:
        return (self.folder / "access.log").read_text(encoding="utf-8")

    def error_log(self) -> str:
        return (self.folder / "error.log").read_text(encoding="utf-8")

    def environment(self) -> dict[str, str]:
        """What the image's Dockerfile sets, with this test's places."""
        values = {
            "ACCESS_LOG": str(self.folder / "access.log"),
            "ACME_ROOT": str(self.acme_root),
            "CERTIFICATE": str(self.certificate),
            "CONF_DIR": str(self.folder / "conf.d"),
            "DOMAIN": "",
            "GRAPH": self.graph,
            "HSTS_SECONDS": "31536000",
            "HTTPS_SUFFIX": f":{self.tls_port}",
            "INTERNAL_LISTEN": f"127.0.0.1:{self.internal_port}",
            "KEYS_FILE": str(self.keys_file),
            "LISTEN": f"127.0.0.1:{self.port}",
            "LISTEN6": f"[::1]:{self.port}",
            "METRICS_LISTEN": f"127.0.0.1:{self.metrics_port}",
            "SECRET_FILE": str(self.secret_file),
            "SPEED_DIR": str(self.speed_dir),
            "TLS_LISTEN": f"127.0.0.1:{self.tls_port}",
            "TLS_LISTEN6": f"[::1]:{self.tls_port}",
            "WATCH_SECONDS": "0.2",
            "WEB": self.web,
            **UNLIMITED,
            **self.settings,
        }
        named = {f"SPEEDTRAP_GATEWAY_{name}": value for name, value in values.items()}
        return {"NGINX_LOCAL_RESOLVERS": "127.0.0.1", **named}

    def start(self, before_the_last: str = ":") -> None:
        """Returns once it answers. *before_the_last* of the image's scripts this command is run."""
        environment = self.environment()
        for name in ("conf.d", "temp", "acme", "bin", "certificates"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        fill_in(SOURCES / "templates", self.folder / "conf.d", environment)
        main = self.folder / "nginx.conf"
        main.write_text(main_configuration(self.folder), encoding="utf-8")
        # The scripts call plain `nginx`, which in the image knows its configuration.
        wrapper = self.folder / "bin" / "nginx"
        arguments = f"-p {self.folder} -c {main} -e {self.folder}/error.log"
        wrapper.write_text(f'#!/bin/sh\nexec {nginx_executable()} {arguments} "$@"\n')
        wrapper.chmod(0o755)
        scripts = sorted((SOURCES / "entrypoint.d").glob("*.sh"))
        steps = [f"'{script}'" for script in scripts]
        steps.insert(-1, before_the_last)
        path = os.pathsep.join([str(self.folder / "bin"), os.environ.get("PATH", os.defpath)])
        with (self.folder / "entrypoint.log").open("ab") as log:
            self.process = subprocess.Popen(
                ["/bin/sh", "-ec", "; ".join([*steps, f"exec nginx -g '{MASTER}'"])],
                env={**environment, "PATH": path},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_until_it_answers()

    def reload(self) -> None:
        """As `nginx -s reload` does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """Ends NGINX and its watcher; open connections are cut."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(START_TIMEOUT_S)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process = None

    def _is_healthy(self) -> bool:
        """By an answer: `nginx -t` opens the port too, before NGINX itself does."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as raw:
                raw.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
                return raw.recv(12) == b"HTTP/1.1 200"
        except OSError:
            return False

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            assert self.process is not None
            if self.process.poll() is not None:
                log = (self.folder / "entrypoint.log").read_text(encoding="utf-8")
                raise RuntimeError(f"nginx ended at once: {log}")
            if self._is_healthy():
                return
            time.sleep(0.02)
        raise RuntimeError(f"nginx did not answer within {START_TIMEOUT_S:.0f} s")


@contextlib.contextmanager
def running_gateway(
    folder: Path,
    graph: str,
    web: str,
    speed_dir: Path,
    keys: Mapping[str, str] | None = None,
    **settings: str,
) -> Iterator[Gateway]:
    """Without *keys*, with the key file that is in *folder* already."""
    folder.mkdir(parents=True, exist_ok=True)
    gateway = Gateway(folder, graph, web, speed_dir, settings=settings)
    if keys is not None:
        gateway.write_keys(keys)
    try:
        gateway.start()
        yield gateway
    finally:
        gateway.stop()
