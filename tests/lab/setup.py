"""Installs what the tests need from outside Python, where it may, and says what is missing."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass

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
    Program(("iperf3",), "iperf3", "tests/probe"),
    Program(("chromium", "chromium-browser"), "chromium", "tests/web and tests/system"),
)


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


def main() -> int:
    missing = [program for program in PROGRAMS if not program.present()]
    prefix = apt_prefix() if missing else None
    if missing and prefix is not None:
        install(prefix, [program.apt_package for program in missing])
        missing = [program for program in missing if not program.present()]
    for program in missing:
        print(
            LINE,
            f"{program.names[0]} is missing: {program.needed_for} need it and will fail.",
            f"On Debian and Ubuntu: sudo apt-get install {program.apt_package}",
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
