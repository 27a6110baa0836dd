from dataclasses import dataclass

from speedtrap_probe import run as rounds
from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import Conditions, Failure, FailureKind, Figures
from speedtrap_probe.tool import Option, Setup, Usable

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


def measured(*tools: ATool, line_up: bool | None = True) -> list[tuple[str, Failure | None]]:
    run = rounds.measure("laptop", tools, SETUP, lambda: Conditions(line_up=line_up))
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
    run = rounds.measure("laptop", [ATool("lan", error)], SETUP, Conditions)
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
    ids = {rounds.measure("laptop", [], SETUP, Conditions).id for _ in range(3)}
    assert len(ids) == 3
