"""What facts mean, and what to do: pure. `looks` gathers the facts."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

GIGABYTE = 10**9


class State(StrEnum):
    OK = "ok"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's. `advice` is empty where there is nothing to do."""

    what: str
    state: State
    text: str
    advice: str = ""


def keys(file: str, roles: Collection[str], *, readable_by_others: bool) -> Finding:
    if not roles:
        return Finding(
            "keys", State.BAD, f"no key in {file}", "speedtrap keys add NAME --role admin"
        )
    if "admin" not in roles:
        advice = "speedtrap keys add NAME --role admin"
        return Finding("keys", State.WARN, f"nobody in {file} may change anything", advice)
    if readable_by_others:
        return Finding("keys", State.BAD, f"others can read {file}", f"chmod 600 {file}")
    return Finding("keys", State.OK, f"{len(roles)} in {file}")


def clock(offset_s: float) -> Finding:
    """Runs are put in order by their times; a minute is more than two probes can differ unseen."""
    text = f"{abs(offset_s):.1f} s {'ahead of' if offset_s > 0 else 'behind'} the time server"
    advice = "switch time synchronisation on: timedatectl set-ntp true"
    if abs(offset_s) >= 60:
        return Finding("clock", State.BAD, text, advice)
    if abs(offset_s) >= 2:
        return Finding("clock", State.WARN, text, advice)
    return Finding("clock", State.OK, text)


def certificate(host: str, days_left: float) -> Finding:
    """Certificates are renewed a month before their end, so three weeks mean that it failed."""
    text = f"the certificate of {host} is valid for {days_left:.0f} more days"
    advice = "see what renews it: docker compose logs certbot"
    if days_left < 7:
        return Finding("tls", State.BAD, text, advice)
    if days_left < 21:
        return Finding("tls", State.WARN, text, advice)
    return Finding("tls", State.OK, text)


def disk(folder: str, free_bytes: int, total_bytes: int) -> Finding:
    text = f"{free_bytes / GIGABYTE:.1f} GB free of {total_bytes / GIGABYTE:.0f} for {folder}"
    advice = "make room: MongoDB stops when the disk is full"
    if free_bytes < GIGABYTE:
        return Finding("disk", State.BAD, text, advice)
    if free_bytes < 5 * GIGABYTE:
        return Finding("disk", State.WARN, text, advice)
    return Finding("disk", State.OK, text)


def exit_code(found: Collection[Finding]) -> int:
    """1 when something is bad; what is only worth a look is no failure."""
    return int(any(finding.state is State.BAD for finding in found))
