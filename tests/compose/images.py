"""The images that the stack stands on, for machines that reach no registry of images.

There another tag of the same image does, and for those of the profile `monitoring` one made from a
distribution's packages. It holds what the stack needs of it and is named as the real one.
"""

import re
import subprocess
from pathlib import Path

FROM = re.compile(r"^FROM (?P<image>[a-z][\w./-]*:[\w.-]+)", re.MULTILINE)
IMAGE = re.compile(r"^ +image: (?P<image>[\w./-]+:[\w.-]+)$", re.MULTILINE)

SMALL = "debian:trixie-slim"
INSTALL = "apt-get update -qq && apt-get install -y -qq --no-install-recommends"
STAND_INS = {
    "prom/prometheus": f"""
FROM {SMALL}
RUN {INSTALL} prometheus wget && rm -rf /var/lib/apt/lists/* \
 && mkdir /prometheus && chown 65534:65534 /prometheus
ENTRYPOINT ["prometheus"]
""",
    # Grafana is in no distribution. This tells what Grafana itself would read, and answers; its
    # `su` becomes the other user, as that of Alpine does, and does not stay behind as root.
    "grafana/grafana": f"""
FROM {SMALL}
RUN {INSTALL} busybox && rm -rf /var/lib/apt/lists/* && ln -s /bin/busybox /usr/local/bin/wget \
 && printf '%s\\n' '#!/bin/sh' 'exec setpriv --reuid=$3 --regid=0 --clear-groups "$2" -c "$5"' \
    >/usr/local/bin/su && chmod 755 /usr/local/bin/su \
 && useradd --uid 472 --gid 0 --home-dir /usr/share/grafana grafana \
 && mkdir -p /var/lib/grafana && chown 472:0 /var/lib/grafana \
 && printf '%s\\n' '#!/bin/sh' 'set -eu' 'mkdir -p /tmp/api' \
    'grep -q . "$GF_SECURITY_ADMIN_PASSWORD__FILE"' \
    'touch /var/lib/grafana/grafana.db' \
    'find /etc/grafana/provisioning /var/lib/dashboards -type f -exec cat {{}} + >/tmp/api/health' \
    'exec busybox httpd -f -p 3000 -h /tmp' >/run.sh && chmod 755 /run.sh
USER 472
ENTRYPOINT ["/run.sh"]
""",
}


def docker(
    *argv: str, given: str | None = None, timeout_s: float = 600
) -> subprocess.CompletedProcess[str]:
    command = ["docker", *argv]
    return subprocess.run(
        command, input=given, capture_output=True, text=True, check=False, timeout=timeout_s
    )


def asked_for(folder: Path) -> set[str]:
    """What the Dockerfiles and compose.yaml of this clone name."""
    texts = [(file, FROM) for file in folder.rglob("Dockerfile")]
    texts.append((folder / "compose.yaml", IMAGE))
    return {
        found["image"]
        for file, pattern in texts
        for found in pattern.finditer(file.read_text(encoding="utf-8"))
    }


def provide_images(folder: Path) -> None:
    """Pulls what the stack needs, or puts a stand-in under its name."""
    for image in sorted(asked_for(folder)):
        if docker("image", "inspect", image).returncode == 0:
            continue
        if docker("pull", "--quiet", image).returncode != 0:
            _stand_in(image)


def _stand_in(image: str) -> None:
    name = image.partition(":")[0]
    if name in STAND_INS:
        built = docker("build", "--network=host", "--tag", image, "-", given=STAND_INS[name])
        assert built.returncode == 0, built.stderr
        return
    others = docker("images", "--quiet", name).stdout.split()
    assert others, f"{image} can neither be pulled nor is there another tag of it"
    docker("tag", others[0], image)
