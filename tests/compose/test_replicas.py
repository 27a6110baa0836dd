"""Three database nodes: taken in while there is data, and one of them killed under load."""

from collections.abc import Iterator

import pytest

from tests.compose.hardening import check
from tests.compose.load import listening, under_load
from tests.compose.stack import Stack, a_run, becomes_true, fresh_stack

pytestmark = pytest.mark.system

NODES = ("db", "db-2", "db-3")
HELLO = (
    "const told = db.hello();"
    "print(told.isWritablePrimary ? 'primary' : told.secondary ? 'secondary' : 'neither')"
)


@pytest.fixture(scope="module")
def small_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Of its own, for a replica set does not shrink again."""
    with fresh_stack(tmp_path_factory.mktemp("replicas") / "speedtrap") as stack:
        stack.build("gateway", "graph", *NODES)
        stack.up("gateway", "graph", "db")
        yield stack


def state(stack: Stack, node: str) -> str:
    words = ("mongosh", "--quiet", "--norc", "--eval", HELLO)
    return stack.compose("exec", "--no-TTY", node, *words, check=False).strip()


def test_two_more_nodes_join_and_the_primary_may_be_killed_under_load(small_stack: Stack) -> None:
    stack = small_stack
    key = stack.add_key("attic")
    stack.plan("attic")
    stack.plan("line")
    slow = [a_run("line", 120, minutes_ago=60 - 5 * number) for number in range(6)]
    stack.deliver(*slow[:2])
    stack.environment |= {
        "COMPOSE_PROFILES": "replicas",
        "SPEEDTRAP_DB_MEMBERS": ",".join(f"{node}:27017" for node in NODES),
    }
    stack.up("gateway", "graph", *NODES)
    for node in NODES:
        check(stack, stack.container(node))
    assert becomes_true(
        lambda: (
            sorted(state(stack, node) for node in NODES) == ["primary", "secondary", "secondary"]
        )
    )
    with listening(stack) as listener, under_load(stack, key) as load:
        primary = next(node for node in NODES if state(stack, node) == "primary")
        stack.deliver(*slow[2:4])
        stack.compose("kill", primary)
        stack.deliver(*slow[4:])
        assert load.goes_on()
        assert becomes_true(lambda: bool(listener.kinds("line")))
        stack.up("gateway", "graph", *NODES)
        assert becomes_true(lambda: state(stack, primary) == "secondary")
        assert load.goes_on()
    load.check()
    assert sorted(stack.stored("line")) == sorted(run["id"] for run in slow)
    (breach,) = stack.breaches("line")
    assert (breach["status"], breach["count"]) == ("OPEN", 6)
    assert listener.kinds("line") == ["OPENED"]
