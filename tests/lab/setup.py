"""Installs what the tests need from outside Python, where it may, and says what is missing."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # this is run as a script
from tests.lab import npm

LINE = "test set-up:"


@dataclass(frozen=True)
class Program:
    """One program that tests start: any of `names`, on PATH or in the sbin folders."""

    names: tuple[str, ...]
    apt_package: str
    needed_for: str

    def present(self) -> bool:
        search = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
        return any(shutil.which(name, path=search) for name in self.names)


PROGRAMS = (
    Program(("nginx",), "nginx-light", "tests/gateway"),
    Program(("pdftotext", "pdftoppm"), "poppler-utils", "tests/bots, tests/web"),
    Program(("pebble",), "pebble", "tests/gateway"),
    Program(("certbot",), "certbot", "tests/gateway"),
    Program(("wrk",), "wrk", "make bench"),
    Program(("iperf3",), "iperf3", "tests/probe"),
    Program(("chromium", "chromium-browser"), "chromium", "tests/web and tests/system"),
)


MAIL_SERVERS = ("postfix", "exim4-daemon-light", "libnss-wrapper", "postgrey")
"""Only unpacked, never installed: as packages they exclude each other, and would serve here."""
UNPACKED = Path(sys.prefix) / "mail-servers"
MONITORS = ("prometheus", "mosquitto")
"""Only unpacked, too: installed they would serve here, and Prometheus' page wants ten packages."""
MONITORS_UNPACKED = Path(sys.prefix) / "monitors"


def apt_prefix() -> list[str] | None:
    """How apt-get may be called here without a question; None where it may not."""
    if shutil.which("apt-get") is None:
        return None
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is None:
        return None
    allowed = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False)
    return ["sudo", "-n"] if allowed.returncode == 0 else None


def install(prefix: list[str], packages: list[str]) -> bool:
    print(LINE, "installing by apt:", " ".join(packages), flush=True)
    # RUNLEVEL=1 keeps Debian from starting NGINX on port 80: the tests start their own.
    quiet = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get", "-y", "-q"]
    for arguments in (["update"], ["install", "--no-install-recommends", *packages]):
        done = subprocess.run([*quiet, *arguments], check=False, stdout=subprocess.DEVNULL)
        if done.returncode != 0:
            print(LINE, "apt-get", arguments[0], f"failed (exit {done.returncode})")
            return False
    return True


def unpack(prefix: list[str] | None, packages: Sequence[str], into: Path) -> bool:
    """Whether all are there, with the libraries that they need."""
    if all((into / name / "usr").is_dir() for name in packages):
        return True
    if prefix is None or shutil.which("dpkg-deb") is None:
        return False
    update = [*prefix, "apt-get", "-q", "update"]
    subprocess.run(update, check=False, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory() as folder:
        # Where apt may write as its own user, it does not warn that it cannot.
        Path(folder).chmod(0o777)
        fetched = subprocess.run(
            ["apt-get", "-q", "download", *packages],
            cwd=folder,
            check=False,
            stdout=subprocess.DEVNULL,
        )
        archives = sorted(Path(folder).glob("*.deb"))
        if fetched.returncode != 0 or len(archives) != len(packages):
            return False
        libraries = sorted({name for archive in archives for name in _libraries_of(archive)})
        if not install(prefix, libraries):
            return False
        for archive in archives:
            target = into / archive.name.split("_")[0]
            target.mkdir(parents=True, exist_ok=True)
            subprocess.run(["dpkg-deb", "-x", str(archive), str(target)], check=True)
    for program in into.glob("*/usr/sbin/*"):
        if not program.is_symlink():
            program.chmod(0o755)  # what is unpacked here needs no setuid bit
    return True


def _libraries_of(archive: Path) -> list[str]:
    asked = ["dpkg-deb", "-f", str(archive), "Depends"]
    depends = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    names = [part.strip().split(" ")[0] for part in depends.split(",")]
    return [name for name in names if name.startswith("lib") and not name.startswith("libjs-")]


def main() -> int:
    missing = [program for program in PROGRAMS if not program.present()]
    prefix = apt_prefix() if missing else None
    if missing and prefix is not None:
        install(prefix, [program.apt_package for program in missing])
        missing = [program for program in missing if not program.present()]
    if not unpack(apt_prefix(), MAIL_SERVERS, UNPACKED):
        print(
            LINE,
            "postfix and exim4 are missing: tests/bots need them and will fail. They are only",
            "unpacked, which takes Debian or Ubuntu and the right to install their libraries.",
        )
    if not unpack(apt_prefix(), MONITORS, MONITORS_UNPACKED):
        print(
            LINE,
            "prometheus and mosquitto are missing: tests/graph, tests/gateway and tests/monitoring",
            "need them and will fail. They are only unpacked, as the mail servers are.",
        )
    try:
        npm.client("@m-lab/ndt7")
    except Exception as problem:  # noqa: BLE001 - of whatever kind: the tests say it again
        print(LINE, "no clients from npm, tests/probe/test_others_clients.py will fail:", problem)
    for program in missing:
        print(
            LINE,
            f"{program.names[0]} is missing: {program.needed_for} need it and will fail.",
            f"On Debian and Ubuntu: sudo apt-get install {program.apt_package}",
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
