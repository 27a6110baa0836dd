"""A certificate authority of one's own that speaks ACME: Debian's Pebble, on high ports.

Every name in the world is this machine to it, and it asks for challenges at the port it is told.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.lab.mongo import free_port

START_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Pebble:
    directory: str
    """The URL that an ACME client is told."""
    ca_file: Path
    """What a client must trust to talk to it."""


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"no {name}: on Debian and Ubuntu, apt-get install pebble")
    return found


@contextlib.contextmanager
def running_pebble(folder: Path, http_port: int, valid_s: int) -> Iterator[Pebble]:
    """It issues certificates for *valid_s* seconds to whoever answers at *http_port*."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    ca_file, certificate, key = (folder / name for name in ("ca.pem", "api.pem", "api.key"))
    authority.cert_pem.write_to_path(str(ca_file))
    own = authority.issue_cert("localhost", "127.0.0.1")
    own.private_key_pem.write_to_path(str(key))
    own.cert_chain_pems[0].write_to_path(str(certificate))
    port, dns_port = free_port(), free_port()
    settings = {
        "listenAddress": f"127.0.0.1:{port}",
        "managementListenAddress": f"127.0.0.1:{free_port()}",
        "certificate": str(certificate),
        "privateKey": str(key),
        "httpPort": http_port,
        "tlsPort": free_port(),
        "ocspResponderURL": "",
        "externalAccountBindingRequired": False,
        "certificateValidityPeriod": valid_s,
    }
    file = folder / "pebble.json"
    file.write_text(json.dumps({"pebble": settings}), encoding="utf-8")
    names = [_program("pebble-challtestsrv"), "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]
    names += ["-dns01", f"127.0.0.1:{dns_port}", "-management", f"127.0.0.1:{free_port()}"]
    names += ["-http01", "", "-https01", "", "-tlsalpn01", ""]
    dns = f"127.0.0.1:{dns_port}"
    pebble = [_program("pebble"), "-config", str(file), "-dnsserver", dns]
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((folder / "pebble.log").open("ab"))
        for argv in (names, pebble):
            # It would wait some seconds before each challenge, and refuse some requests, as tests.
            environment = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
            process = subprocess.Popen(argv, env=environment, stdout=log, stderr=log)
            stack.callback(process.wait, START_TIMEOUT_S)
            stack.callback(process.kill)
        _wait_for(port, folder / "pebble.log")
        yield Pebble(f"https://127.0.0.1:{port}/dir", ca_file)


def _wait_for(port: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise RuntimeError(f"pebble did not answer: {log.read_text(encoding='utf-8')[-2000:]}")
