import random
from collections.abc import Callable
from dataclasses import dataclass, field

from speedtrap_probe import run as rounds
from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import Conditions, Failure, FailureKind, Figures, Measurement, Server
from speedtrap_probe.run import Doubt, in_order
from speedtrap_probe.tool import Option, Setup, Tool, Usable

SETUP = Setup("http://127.0.0.1:1")


@dataclass(frozen=True, slots=True)
class ATool:
    """Gives its figures, or raises."""

    name: str
    outcome: Figures | Exception
    internet: bool = True
    options: tuple[Option, ...] = ()

    def usable(self, _setup: Setup) -> Usable:
        return Usable(True)

    def measure(self, _setup: Setup) -> Figures:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@dataclass(slots=True)
class AWitness:
    """Says what it was told to."""

    conditions: Conditions = field(default_factory=Conditions)
    came_through: bool | None = None

    def before(self) -> Conditions:
        return self.conditions

    def around(self, _tool: Tool, measure: Callable[[], Measurement]) -> Measurement:
        return measure()

    def after(self, came_through: bool) -> Conditions:
        self.came_through = came_through
        return self.conditions


def measured(*tools: ATool, line_up: bool | None = True) -> list[tuple[str, Failure | None]]:
    run = rounds.measure("laptop", tools, SETUP, AWitness(Conditions(line_up=line_up)))
    return [(one.tool, one.failure) for one in run.measurements]


def test_every_tool_is_run_once_in_its_order() -> None:
    figures = Figures(download_mbps=1)
    tools = [ATool(name, figures) for name in ("b", "a", "c")]
    assert measured(*tools) == [("b", None), ("a", None), ("c", None)]


def test_a_failure_becomes_data_and_the_others_are_still_measured() -> None:
    failing = ATool("fast", ToolError(FailureKind.RATE_LIMITED, "later"))
    (_, failure), (_, none) = measured(failing, ATool("lan", Figures(download_mbps=1)))
    assert failure == Failure(FailureKind.RATE_LIMITED, "later")
    assert none is None


def test_a_bug_in_a_tool_costs_only_that_tool() -> None:
    (_, failure), (_, none) = measured(
        ATool("new", ZeroDivisionError("oops")), ATool("lan", Figures(download_mbps=1))
    )
    assert failure is not None
    assert failure.kind is FailureKind.TOOL_FAILED
    assert failure.message == "unexpected ZeroDivisionError in new: oops"
    assert none is None


def test_figures_from_before_a_failure_are_kept() -> None:
    error = ToolError(FailureKind.TIMEOUT, "upload stalled", Figures(download_mbps=9))
    run = rounds.measure("laptop", [ATool("lan", error)], SETUP, AWitness())
    assert run.measurements[0].figures.download_mbps == 9
    assert run.measurements[0].failure is not None


def test_with_the_line_down_a_timeout_of_an_internet_tool_is_no_network() -> None:
    late = ToolError(FailureKind.TIMEOUT, "no answer")
    (_, internet), (_, local) = measured(
        ATool("ookla", late), ATool("lan", late, internet=False), line_up=False
    )
    assert internet is not None
    assert internet.kind is FailureKind.NO_NETWORK
    assert "the line is down" in internet.message
    assert local is not None
    assert local.kind is FailureKind.TIMEOUT


def test_tools_are_told_what_the_connectivity_check_says() -> None:
    told: list[bool | None] = []

    @dataclass(frozen=True, slots=True)
    class Curious(ATool):
        def measure(self, setup: Setup) -> Figures:
            told.append(setup.line_up)
            return Figures(download_mbps=1)

    measured(Curious("lan", Figures()), line_up=False)
    assert told == [False]


def test_every_run_has_an_id_of_its_own() -> None:
    ids = {rounds.measure("laptop", [], SETUP, AWitness()).id for _ in range(3)}
    assert len(ids) == 3


def test_the_own_network_goes_first_and_the_others_in_any_order() -> None:
    tools = [ATool(name, Figures()) for name in "abcd"] + [ATool("lan", Figures(), internet=False)]
    orders = {
        "".join(tool.name[0] for tool in in_order(tools, random.Random(seed))) for seed in range(40)
    }
    assert len(orders) > 5
    assert {order[0] for order in orders} == {"l"}
    assert {"".join(sorted(order)) for order in orders} == {"abcdl"}


def test_times_of_a_run_follow_each_other() -> None:
    run = rounds.measure("laptop", [ATool("lan", Figures())], SETUP, AWitness())
    assert run.started_at <= run.measurements[0].started_at <= run.finished_at


@dataclass(frozen=True, slots=True)
class Moody(ATool):
    """Gives one figure after the other, and remembers what it was asked to avoid."""

    figures: list[Figures] = field(default_factory=list)
    avoided: list[tuple[str, ...]] = field(default_factory=list)

    def measure(self, setup: Setup) -> Figures:
        self.avoided.append(setup.avoid)
        return self.figures.pop(0)


HALF = Doubt(500, "half of the plan")


def test_a_run_that_looks_bad_is_measured_again_on_another_server() -> None:
    slow = Figures(download_mbps=90, server=Server(id="1234"))
    tool = Moody("ookla", Figures(), figures=[slow, Figures(download_mbps=800)])
    worse = ATool("fast", Figures(download_mbps=50))
    run = rounds.measure("laptop", [tool, worse], SETUP, AWitness(), doubt=HALF)
    figures = [(one.tool, one.figures.download_mbps) for one in run.measurements]
    assert figures == [("ookla", 90), ("fast", 50), ("ookla", 800)]
    assert tool.avoided == [(), ("1234",)]
    assert run.conditions.notes == ("ookla measured twice: 90.0 Mbps is below half of the plan.",)


def test_one_good_tool_is_enough_to_need_no_second_look() -> None:
    slow, good = ATool("fast", Figures(download_mbps=90)), ATool("b", Figures(download_mbps=501))
    run = rounds.measure("laptop", [slow, good], SETUP, AWitness(), doubt=HALF)
    assert len(run.measurements) == 2
    assert run.conditions.notes == ()


def test_what_did_not_measure_or_is_no_internet_tool_is_not_asked_twice() -> None:
    failed = ATool("fast", ToolError(FailureKind.TIMEOUT, "late"))
    lan = ATool("lan", Figures(download_mbps=90), internet=False)
    run = rounds.measure("laptop", [failed, lan], SETUP, AWitness(), doubt=HALF)
    assert [one.tool for one in run.measurements] == ["fast", "lan"]


def test_the_witness_is_told_whether_anything_came_through() -> None:
    failed = ATool("fast", ToolError(FailureKind.TIMEOUT, "late"))
    half = ATool("b", ToolError(FailureKind.TIMEOUT, "up", Figures(download_mbps=9)))
    lan = ATool("lan", Figures(download_mbps=90), internet=False)
    for tools, expected in (
        ([failed, lan], False),
        ([failed, half], True),
        ([lan], True),
    ):
        witness = AWitness()
        rounds.measure("laptop", tools, SETUP, witness)
        assert witness.came_through is expected
