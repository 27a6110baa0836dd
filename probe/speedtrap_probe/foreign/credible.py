"""Whether a figure can be: within what is measured here at all, what the cable carries, and what
the tool's own count of bytes allows. One that cannot be fails its tool, and no other."""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

from speedtrap_probe.foreign import bounds
from speedtrap_probe.model import Conditions, Failure, FailureKind, Figures, Measurement, Medium

LINK_TOLERANCE = 1.05  # a driver rounds, a window begins inside a burst
LEAST_S = 0.005  # data that is through faster was in some buffer
LEAST_JUDGED_S = 1.0  # of a whole tool
BITS_PER_MB = 8 / 1e6
UNKNOWN = Conditions()
COUNTS = {"download_mbps": "bytes_received", "upload_mbps": "bytes_sent"}


def admitted(measurement: Measurement, seen: Conditions = UNKNOWN) -> Measurement:
    """As it is; or failed, without its figures, if one of them cannot be."""
    figures = measurement.figures
    problem = next(_problems(measurement, seen), None)
    if problem is None:
        return measurement
    failure = measurement.failure
    also = f"; and {failure.message}" if failure is not None else ""
    return replace(
        measurement,
        figures=Figures(
            # What was moved still counts against the budget.
            bytes_received=_sane(figures.bytes_received),
            bytes_sent=_sane(figures.bytes_sent),
            server=figures.server,
            tool_version=figures.tool_version,
        ),
        failure=Failure(FailureKind.TOOL_FAILED, f"{measurement.tool}: {problem}{also}"),
    )


def _problems(measurement: Measurement, seen: Conditions) -> Iterator[str]:
    figures = measurement.figures
    for name, most in bounds.FIGURES.items():
        value = getattr(figures, name)
        if value is not None and value > most:
            yield f"{name} is {value:,.6g}, which cannot be: at most {most:,.6g}"
    yield from _beyond_the_cable(measurement, seen)
    yield from _beyond_the_count(measurement)


def _beyond_the_cable(measurement: Measurement, seen: Conditions) -> Iterator[str]:
    """Only a wire has one rate; Wi-Fi's changes by the second, and this machine needs none."""
    if seen.medium is not Medium.WIRED or seen.link_mbps is None or _is_here(measurement.figures):
        return
    for name, counted in COUNTS.items():
        mbps, count = (getattr(measurement.figures, one) for one in (name, counted))
        if mbps is not None and mbps > seen.link_mbps * LINK_TOLERANCE:
            yield (
                f"{name} is {mbps:,.6g}, which cannot be: "
                f"the cable carries {seen.link_mbps:,.6g} Mbps"
            )
        mean_mbps = _mean_mbps(count, measurement.duration_s)
        if mean_mbps is not None and mean_mbps > seen.link_mbps * LINK_TOLERANCE:
            yield (
                f"{counted} is {count:,} in {measurement.duration_s:,.1f} s, which cannot be: "
                f"the cable carries {seen.link_mbps:,.6g} Mbps"
            )


def _beyond_the_count(measurement: Measurement) -> Iterator[str]:
    for name, counted in COUNTS.items():
        mbps, count = (getattr(measurement.figures, one) for one in (name, counted))
        mean_mbps = _mean_mbps(count, measurement.duration_s)
        if mean_mbps is not None and mean_mbps > bounds.MAX_MBPS:
            yield f"{counted} is {count:,} in {measurement.duration_s:,.1f} s, which cannot be"
        if mbps is not None and count is not None and count * BITS_PER_MB < mbps * LEAST_S:
            yield f"{name} is {mbps:,.6g}, which cannot be: it counted {count:,} bytes only"


def _mean_mbps(count: int | None, duration_s: float) -> float | None:
    """None where the time is not known (imported figures have none) or too short to judge by."""
    if count is None or duration_s < LEAST_JUDGED_S:
        return None
    return count * BITS_PER_MB / duration_s


def _sane(count: int | None) -> int | None:
    return count if count is not None and count <= bounds.MAX_BYTES else None


def _is_here(figures: Figures) -> bool:
    """Measured against this machine itself: what goes round inside it passes no cable."""
    host = (figures.server.host if figures.server else None) or ""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
