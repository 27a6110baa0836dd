"""What a run is made under: a machine that says what the test wants, and the real one."""

import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from speedtrap_probe.errors import ToolError
from speedtrap_probe.line.conditions import Witness, own_bytes
from speedtrap_probe.line.connectivity import Address
from speedtrap_probe.line.way import Way
from speedtrap_probe.machine.other import Blind
from speedtrap_probe.model import Conditions, Failure, FailureKind, Figures, Measurement
from speedtrap_probe.tools import lan, turnkey

from tests.probe.builders import AT, a_measurement
from tests.probe.test_connectivity import answering, closed_port

MEGABYTE = 1_000_000
QUIET = Figures(download_mbps=100, bytes_received=10 * MEGABYTE)


@dataclass(slots=True)
class AMachine(Blind):
    """Its counters go on by what the test lists, once each time they are read."""

    moves: Sequence[int] = ()
    ticks: Sequence[tuple[float, float]] = ()
    total: int = 0
    read: int = 0
    cpu_read: int = 0
    asked: list[str | None] = field(default_factory=list)
    directions: Sequence[tuple[int, int]] = ()
    directions_read: int = 0
    throttled: Sequence[float] = ()
    throttled_read: int = 0

    def interface(self, address: str | None) -> str | None:
        self.asked.append(address)
        return "eth0"

    def moved_bytes(self, interface: str | None) -> int | None:
        assert interface in {"eth0", "eth1"}
        if self.read < len(self.moves):
            self.total += self.moves[self.read]
        self.read += 1
        return self.total

    def received_and_sent(self, _interface: str | None) -> tuple[int, int] | None:
        self.directions_read += 1
        known = self.directions_read <= len(self.directions)
        return self.directions[self.directions_read - 1] if known else None

    def throttled_s(self) -> float | None:
        self.throttled_read += 1
        return (
            self.throttled[min(self.throttled_read, len(self.throttled)) - 1]
            if self.throttled
            else None
        )

    def cpu_times(self) -> tuple[float, float] | None:
        self.cpu_read += 1
        return self.ticks[self.cpu_read - 1] if self.cpu_read <= len(self.ticks) else None


def seen(
    machine: AMachine, *measurements: Measurement, look_s: float = 0, came_through: bool = True
) -> Conditions:
    """What a witness says of a run with these measurements."""
    witness = Witness([], look_s=look_s, machine=machine)
    witness.before()
    for measurement in measurements:
        tool = lan.TOOL if measurement.tool == "lan" else turnkey.TOOL
        witness.around(tool, lambda measurement=measurement: measurement)  # type: ignore[misc] # bound now
    return witness.after(came_through)


def test_traffic_before_a_run_is_someone_elses() -> None:
    conditions = seen(AMachine(moves=[0, MEGABYTE]), look_s=0.05)
    assert conditions.cross_traffic_mbps is not None
    assert 0 < conditions.cross_traffic_mbps <= 160


def test_a_tools_own_bytes_are_no_cross_traffic() -> None:
    machine = AMachine(moves=[0, 11 * MEGABYTE])
    assert seen(machine, a_measurement("turnkey", QUIET)).cross_traffic_mbps == 0


def test_what_moved_beside_a_tool_is_cross_traffic() -> None:
    machine = AMachine(moves=[0, 100 * MEGABYTE])
    conditions = seen(machine, a_measurement("turnkey", QUIET))
    assert conditions.cross_traffic_mbps is not None
    assert conditions.cross_traffic_mbps > 0


def test_an_own_upload_beside_a_download_is_up_traffic_only() -> None:
    # Of what came down the tool counted 10 MB; 9 MB went up, and it counted none.
    machine = AMachine(moves=[0, 0], directions=[(0, 0), (11 * MEGABYTE, 9 * MEGABYTE)])
    conditions = seen(machine, a_measurement("turnkey", QUIET))
    assert conditions.cross_traffic_down_mbps == 0
    assert (conditions.cross_traffic_up_mbps or 0) > 0


def test_a_download_of_the_household_is_down_traffic_only() -> None:
    both = Figures(download_mbps=100, upload_mbps=10, bytes_received=10 * MEGABYTE,
                   bytes_sent=10 * MEGABYTE)  # fmt: skip
    machine = AMachine(moves=[0, 0], directions=[(0, 0), (30 * MEGABYTE, 11 * MEGABYTE)])
    conditions = seen(machine, a_measurement("turnkey", both))
    assert (conditions.cross_traffic_down_mbps or 0) > 0
    assert conditions.cross_traffic_up_mbps == 0


def test_acknowledgements_of_a_fast_download_are_no_upload() -> None:
    fast = Figures(download_mbps=940, bytes_received=1000 * MEGABYTE)
    machine = AMachine(moves=[0, 0], directions=[(0, 0), (1060 * MEGABYTE, 30 * MEGABYTE)])
    conditions = seen(machine, a_measurement("turnkey", fast))
    assert conditions.cross_traffic_down_mbps == conditions.cross_traffic_up_mbps == 0


def test_before_a_run_each_direction_is_looked_at() -> None:
    machine = AMachine(moves=[0, 0], directions=[(5, 5), (5, MEGABYTE)])
    conditions = seen(machine, look_s=0.05)
    assert conditions.cross_traffic_down_mbps == 0
    assert (conditions.cross_traffic_up_mbps or 0) > 0


def test_time_that_a_quota_took_is_waited_for_a_processor_however_idle_the_machine_is() -> None:
    idle = [(0.0, 0.0), (0.0, 0.0), (1.0, 100.0)]
    machine = AMachine(throttled=[10.0, 99.0], ticks=idle)
    conditions = seen(machine, a_measurement("turnkey", QUIET))
    assert conditions.cpu_wait_percent is not None
    assert 0 < conditions.cpu_wait_percent <= 100


def test_where_the_system_does_not_tell_waiting_is_unknown_and_not_zero() -> None:
    assert seen(AMachine(), a_measurement("turnkey", QUIET)).cpu_wait_percent is None


# Three that never rest on one processor: each is ready all the time and runs a third of it.
STARVED = """
import os, subprocess, sys, time
from speedtrap_probe.machine import here
from speedtrap_probe.machine.waiting import Waiting
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
try:
    with Waiting(here()) as waiting:
        ends = time.process_time() + 0.3
        while time.process_time() < ends:
            pass
    print(waiting.seconds)
finally:
    for one in busy:
        one.kill()
        one.wait()
"""


def test_a_processor_that_others_have_is_waited_for() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STARVED], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) > 0.1


@pytest.mark.parametrize(
    "figures",
    [
        Figures(download_mbps=1),
        Figures(upload_mbps=1, bytes_received=5),
        Figures(download_mbps=1, bytes_sent=5),
    ],
)
def test_of_a_tool_that_does_not_count_nothing_is_concluded(figures: Figures) -> None:
    assert own_bytes(figures) is None
    machine = AMachine(moves=[0, 100 * MEGABYTE])
    assert seen(machine, a_measurement("turnkey", figures)).cross_traffic_mbps is None


def test_one_s_own_network_and_failures_say_nothing_of_cross_traffic() -> None:
    machine = AMachine(moves=[0, 100 * MEGABYTE] * 3)
    failed = a_measurement("turnkey", Figures(), Failure(FailureKind.TIMEOUT, "late"))
    assert seen(machine, a_measurement("lan", QUIET), failed).cross_traffic_mbps is None


def test_counters_that_began_again_say_nothing() -> None:
    machine = AMachine(moves=[MEGABYTE, -MEGABYTE])
    assert seen(machine, a_measurement("turnkey", QUIET)).cross_traffic_mbps is None


def test_the_worse_of_before_and_during_is_told() -> None:
    busy_before = AMachine(ticks=[(0, 0), (9, 10), (9, 10), (10, 20)])
    busy_during = AMachine(ticks=[(0, 0), (1, 10), (1, 10), (10, 20)])
    for machine in (busy_before, busy_during):
        conditions = seen(machine, a_measurement("turnkey", QUIET), look_s=0.01)
        assert conditions.cpu_percent == 90


def test_of_a_blind_machine_nothing_is_known_and_nothing_is_zero() -> None:
    witness = Witness([], look_s=0, machine=Blind())
    witness.before()
    conditions = witness.after(True)
    assert conditions.cross_traffic_mbps is None
    assert conditions.cpu_percent is None
    assert conditions.vpn is None
    assert conditions.line_up is None


def test_the_interface_that_is_measured_from_is_the_one_that_is_watched() -> None:
    machine = AMachine()
    Witness([], look_s=0, machine=machine, way=Way(bind="192.0.2.7")).before()
    Witness([], look_s=0.01, machine=machine, way=Way(bind="eth1")).before()
    assert machine.asked == ["192.0.2.7"]


def test_behind_a_proxy_a_failed_check_proves_nothing() -> None:
    witness = Witness([closed_port()], through_proxy=True, look_s=0)
    assert witness.before().line_up is None


def test_this_machine_says_what_it_is() -> None:
    witness = Witness([closed_port()], look_s=0.05)
    conditions = witness.before()
    assert conditions.line_up is False
    assert conditions.platform
    assert conditions.probe_version
    assert conditions.cross_traffic_mbps is None or conditions.cross_traffic_mbps >= 0


def test_a_line_that_goes_down_in_mid_run_was_down() -> None:
    with answering() as address:
        witness = Witness([address], look_s=0)
        assert witness.before().line_up is True
    conditions = witness.after(came_through=False)
    assert conditions.line_up is False
    assert conditions.notes == ("The line went down while the run measured.",)


def test_a_line_that_comes_back_in_mid_run_was_down_and_the_note_says_it_came_back() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        address = Address("127.0.0.1", reserved.getsockname()[1])
        witness = Witness([address], look_s=0)
        assert witness.before().line_up is False
        reserved.listen()
        conditions = witness.after(came_through=False)
    assert conditions.line_up is False
    assert "came back" in conditions.notes[0]


def test_a_run_in_which_something_came_through_is_not_looked_at_again() -> None:
    with answering() as address:
        witness = Witness([address], look_s=0)
        witness.before()
    assert witness.after(came_through=True).line_up is True


def test_a_measurement_passes_the_witness_unchanged() -> None:
    measurement = Measurement("turnkey", AT, 1.0, QUIET)
    witness = Witness([], look_s=0, machine=AMachine())
    witness.before()
    assert witness.around(turnkey.TOOL, lambda: measurement) is measurement


def test_an_interruption_passes_too() -> None:
    def interrupted() -> Measurement:
        raise ToolError(FailureKind.TIMEOUT, "late")

    witness = Witness([], look_s=0, machine=AMachine())
    witness.before()
    with pytest.raises(ToolError):
        witness.around(turnkey.TOOL, interrupted)
