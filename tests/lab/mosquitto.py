"""A real mosquitto, unpacked by `setup`, in a folder and on a port of its own, with one login."""

import asyncio
import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import trustme
from aiomqtt import Client

from tests.lab.mongo import free_port
from tests.lab.setup import MONITORS_UNPACKED

USERNAME, PASSWORD = "graph", "planted-mqtt-password"
START_TIMEOUT_S = 20.0
_USR = MONITORS_UNPACKED / "mosquitto/usr"


@dataclass
class Broker:
    """`stop` and `start` play a restart; it keeps what is retained, unless it `forgets`."""

    folder: Path
    authority: trustme.CA | None = None
    """With one, it speaks TLS and nothing else."""
    forgets: bool = False
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt{'s' if self.authority else ''}://127.0.0.1:{self.port}"

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    def log(self) -> str:
        return (self.folder / "mosquitto.log").read_text(encoding="utf-8")

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        passwords = self.folder / "passwords"
        passwords.touch(mode=0o600)
        program = str(_USR / "bin/mosquitto_passwd")
        subprocess.run([program, "-b", str(passwords), USERNAME, PASSWORD], check=True)
        lines = [
            f"listener {self.port} 127.0.0.1",
            "allow_anonymous false",
            f"password_file {passwords}",
            f"persistence {'false' if self.forgets else 'true'}",
            f"persistence_location {self.folder}/",
            f"log_dest file {self.folder}/mosquitto.log",
            # As root it would become somebody who is not there.
            *(["user root"] if os.geteuid() == 0 else []),
        ]
        if self.authority is not None:
            certificate = self.authority.issue_cert("127.0.0.1")
            certificate.private_key_and_cert_chain_pem.write_to_path(
                str(self.folder / "server.pem")
            )
            self.authority.cert_pem.write_to_path(str(self.ca_file))
            both = self.folder / "server.pem"
            lines += [f"certfile {both}", f"keyfile {both}"]
        (self.folder / "mosquitto.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def start(self) -> None:
        """Returns once it answers."""
        arguments = [str(_USR / "sbin/mosquitto"), "-c", str(self.folder / "mosquitto.conf")]
        with (self.folder / "output").open("ab") as output:
            self.process = subprocess.Popen(arguments, stdout=output, stderr=output)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(
                    f"mosquitto ended at once: {(self.folder / 'output').read_text()}"
                )
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port), 1),
            ):
                return
            time.sleep(0.05)
        raise RuntimeError("mosquitto did not answer in time")

    def stop(self) -> None:
        """SIGTERM: it writes down what is retained."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def client(self) -> Client:
        """Of somebody else with the same login; without TLS."""
        return Client("127.0.0.1", self.port, username=USERNAME, password=PASSWORD)

    async def retained(self) -> dict[str, str]:
        """Every retained message by its topic."""
        found: dict[str, str] = {}
        async with asyncio.timeout(START_TIMEOUT_S), self.client() as client:
            await client.subscribe("#", qos=1)
            # What is retained comes with the subscription, so before this.
            await client.publish("marker", "", qos=1)
            async for message in client.messages:
                if str(message.topic) == "marker":
                    return found
                found[str(message.topic)] = bytes(message.payload).decode()
        raise AssertionError("the broker went away")


@contextlib.contextmanager
def running_broker(
    folder: Path, *, authority: trustme.CA | None = None, forgets: bool = False
) -> Iterator[Broker]:
    broker = Broker(folder, authority, forgets)
    broker.prepare()
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()
