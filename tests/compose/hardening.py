"""What every container must be like, whoever's image it runs."""

import re
from collections.abc import Mapping
from typing import Any

from tests.compose.stack import Stack

FOR_AN_ENTRYPOINT = {"CHOWN", "DAC_OVERRIDE", "SETGID", "SETUID"}
CAPABILITIES = {
    "gateway": {*FOR_AN_ENTRYPOINT, "KILL", "NET_BIND_SERVICE"},
    "certbot": set(),
    "prometheus": set(),
}
"""What a container may have at its start; others what an entrypoint needs, and nothing after."""

KEEPS_ROOT = {"gateway"}
"""NGINX's master opens ports and reads keys; its workers, which read requests, are nobody."""

PINNED = re.compile(r"[\w./-]+:v?\d[\w.-]*")


def check(stack: Stack, container: str) -> str:
    """Fails with what is not as it must be; returns the service that was checked."""
    told = stack.inspect(container)
    service = str(told["Config"]["Labels"]["com.docker.compose.service"])
    wrong = [*_wrong_in(service, told), *_wrong_inside(stack, container, service)]
    assert wrong == [], f"{service}: {', '.join(wrong)}"
    return service


def _wrong_in(service: str, told: Mapping[str, Any]) -> list[str]:
    host = told["HostConfig"]
    added = {name.removeprefix("CAP_") for name in host["CapAdd"] or []}
    right = {
        "the root is read-only": host["ReadonlyRootfs"],
        "not privileged": not host["Privileged"],
        "all capabilities are dropped": host["CapDrop"] == ["ALL"],
        "few are added": added <= CAPABILITIES.get(service, FOR_AN_ENTRYPOINT),
        "no new privileges": host["SecurityOpt"] == ["no-new-privileges:true"],
        "memory has a limit": 0 < host["Memory"] <= 2**30,
        "processes have a limit": 0 < (host["PidsLimit"] or 0) <= 1024,
        "it starts again": host["RestartPolicy"]["Name"] == "unless-stopped",
        "logs are rotated": host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"},
        "its health is checked": bool(told["Config"].get("Healthcheck", {}).get("Test")),
        "it is healthy": told["State"].get("Health", {}).get("Status") == "healthy",
        "nothing of the host is writable": not _writable_binds(told),
        "no engine socket": "docker.sock" not in str(told["Mounts"]),
        "its image has a version": _is_pinned(told),
    }
    return [what for what, so in right.items() if not so]


def _writable_binds(told: Mapping[str, Any]) -> list[str]:
    return [one["Source"] for one in told["Mounts"] if one["Type"] == "bind" and one["RW"]]


def _is_pinned(told: Mapping[str, Any]) -> bool:
    """Those that are built here stand on versions, too: `pinned` looks at the Dockerfiles."""
    image = str(told["Config"]["Image"])
    return image.startswith("speedtrap-test-") or PINNED.fullmatch(image) is not None


def _wrong_inside(stack: Stack, container: str, service: str) -> list[str]:
    """What the engine promised, as the kernel sees it."""
    wrong = []
    for pid, user in processes(stack, container):
        status = (stack.run("cat", f"/proc/{pid}/status", check=False)).splitlines()
        values = dict(line.split(":\t", 1) for line in status if ":\t" in line)
        if not values:
            continue  # A health check that is over.
        if user == "0" and service not in KEEPS_ROOT:
            wrong.append(f"{values['Name']} is root")
        if user != "0" and int(values["CapEff"], 16):
            wrong.append(f"{values['Name']} has capabilities")
        if values["NoNewPrivs"] != "1":
            wrong.append(f"{values['Name']} may get privileges")
    return wrong


def processes(stack: Stack, container: str) -> list[tuple[str, str]]:
    """Number and user of each process, without the health checks that the engine starts."""
    lines = stack.run("docker", "top", container, "-eo", "pid,ppid,uid,args").splitlines()[1:]
    rows = [line.split(None, 3) for line in lines]
    first = str(stack.inspect(container)["State"]["Pid"])
    own = {first}
    for _ in rows:
        own |= {pid for pid, parent, *_ in rows if parent in own}
    return [(pid, user) for pid, _, user, _ in rows if pid in own]
