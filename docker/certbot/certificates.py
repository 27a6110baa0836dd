"""Gets the gateway its certificate and keeps it fresh: certbot by webroot, twice a day.

The gateway serves the webroot and looks at one file, the bundle: chain and key together, replaced
as a whole. Nothing else of certbot's (the account's key above all) leaves this container.

`--check` is the health check: without a domain, or with a bundle that is there, all is well.
"""

import logging
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

CHALLENGES = Path(".well-known") / "acme-challenge"
TIMEOUT_S = 10.0
CERTBOT_TIMEOUT_S = 600.0

log = logging.getLogger("certificates")


@dataclass(frozen=True)
class Settings:
    """From the environment, SPEEDTRAP_…; the places are those of the image."""

    domains: tuple[str, ...]
    """The first one names the certificate."""
    email: str
    """Where Let's Encrypt may write to; empty: nowhere."""
    server: str
    """The directory of another ACME server; empty: Let's Encrypt."""
    staging: bool
    """Let's Encrypt's test certificates, which no browser trusts: for trying the way there."""
    webroot: Path
    state: Path
    bundle: Path
    every_s: float
    retry_s: float
    """Let's Encrypt takes five failures an hour from one account and name."""
    http_port: int
    """Where the domain is asked over HTTP: 80, but for tests."""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Settings":
        def value(name: str, default: str = "") -> str:
            return environment.get(f"SPEEDTRAP_{name}", "").strip() or default

        return cls(
            domains=tuple(part for part in value("DOMAIN").replace(",", " ").split() if part),
            email=value("ACME_EMAIL"),
            server=value("ACME_SERVER"),
            staging=value("ACME_STAGING", "false").lower() in {"1", "true", "yes", "on"},
            webroot=Path(value("CERTBOT_WEBROOT", "/var/www/acme")),
            state=Path(value("CERTBOT_STATE", "/var/lib/speedtrap/letsencrypt")),
            bundle=Path(value("CERTBOT_BUNDLE", "/var/lib/speedtrap/certificates/bundle.pem")),
            every_s=float(value("CERTBOT_EVERY_S", "43200")),
            retry_s=float(value("CERTBOT_RETRY_S", "3600")),
            http_port=int(value("CERTBOT_HTTP_PORT", "80")),
        )

    @property
    def name(self) -> str:
        """A test certificate is never taken for the real one when the switch is turned."""
        if self.server:
            return "own"
        return "staging" if self.staging else "production"


def command(settings: Settings) -> list[str]:
    """One command for the first issue, for renewal when it is due, and for a changed domain."""
    words = ["certbot", "certonly", "--webroot", "--non-interactive", "--agree-tos"]
    words += ["--keep-until-expiring", "--renew-with-new-domains", "--no-random-sleep-on-renew"]
    words += ["--webroot-path", str(settings.webroot), "--cert-name", settings.name]
    for folder in ("config", "work", "logs"):
        words += [f"--{folder}-dir", str(settings.state / folder)]
    for domain in settings.domains:
        words += ["--domain", domain]
    contact = ["--email", settings.email]
    words += contact if settings.email else ["--register-unsafely-without-email"]
    if settings.server:
        words += ["--server", settings.server]
    elif settings.staging:
        words += ["--staging"]
    return words


def obtain(settings: Settings) -> bool:
    """Whether there is a certificate that is good for a while yet."""
    settings.webroot.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        command(settings), capture_output=True, text=True, check=False, timeout=CERTBOT_TIMEOUT_S
    )
    for line in f"{done.stdout}\n{done.stderr}".splitlines():
        if line.strip(" -"):
            log.info("certbot: %s", line)
    return done.returncode == 0


def publish(settings: Settings) -> bool:
    """Puts the newest chain and key where the gateway looks; whether they are new to it."""
    live = settings.state / "config" / "live" / settings.name
    pair = (live / "fullchain.pem").read_bytes() + (live / "privkey.pem").read_bytes()
    if settings.bundle.exists() and settings.bundle.read_bytes() == pair:
        return False
    settings.bundle.parent.mkdir(parents=True, exist_ok=True)
    new = settings.bundle.with_suffix(".new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_bytes(pair)
    new.replace(settings.bundle)
    return True


def diagnosis(settings: Settings, domain: str) -> str:
    """What most likely keeps the certificate away, and what to do about it."""
    try:
        found = socket.getaddrinfo(domain, settings.http_port, type=socket.SOCK_STREAM)
    except socket.gaierror:
        return (
            f"DNS: {domain} has no address. Make an A record (and AAAA, if you have IPv6) that "
            "points to this machine's public address, and wait until the world can see it."
        )
    addresses = ", ".join(sorted({str(entry[4][0]) for entry in found}))
    return _diagnosis_of_port(settings, domain, addresses)


def _diagnosis_of_port(settings: Settings, domain: str, addresses: str) -> str:
    token = f"speedtrap-{secrets.token_hex(8)}"
    file = settings.webroot / CHALLENGES / token
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(token, encoding="ascii")
    url = f"http://{domain}:{settings.http_port}/{CHALLENGES.as_posix()}/{token}"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            told = answer.read(1000).decode("ascii", "replace")
    except urllib.error.HTTPError as error:
        told = f"status {error.code}"
    except OSError as error:
        return (
            f"Port {settings.http_port}: nothing answers at {domain} ({addresses}): {error}. Let "
            f"TCP port {settings.http_port} through the firewall and forward it in the router to "
            "this machine. (Some routers cannot be reached this way from inside: then try from a "
            "phone that is not on the Wi-Fi.)"
        )
    finally:
        file.unlink(missing_ok=True)
    if told == token:
        return (
            f"DNS and port {settings.http_port} are right as seen from here; what certbot says "
            "above is the reason."
        )
    return (
        f"Port {settings.http_port}: somebody else answers at {domain} ({addresses}). The DNS "
        "record points to another machine, or another program has the port."
    )


def keep_fresh(settings: Settings) -> NoReturn:
    """Again and again: issue, renew, publish."""
    while True:
        if obtain(settings):
            if publish(settings):
                log.info("a new certificate for %s is with the gateway", settings.domains[0])
            pause_s = settings.every_s
        else:
            for domain in settings.domains:
                log.error("no certificate: %s", diagnosis(settings, domain))
            pause_s = settings.retry_s
            log.error("next try in %.0f minutes, or at a restart of this container", pause_s / 60)
        # Not everybody at the same hour.
        time.sleep(pause_s * random.uniform(0.9, 1.0))  # noqa: S311 - no secret


def rest() -> NoReturn:
    log.info("no SPEEDTRAP_DOMAIN: plain HTTP, nothing to do here")
    while True:
        signal.pause()


def main() -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(levelname)s %(message)s")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    settings = Settings.of(os.environ)
    if sys.argv[1:] == ["--check"]:
        sys.exit(0 if not settings.domains or settings.bundle.exists() else 1)
    if not settings.domains:
        rest()
    keep_fresh(settings)


if __name__ == "__main__":
    main()
