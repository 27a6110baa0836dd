"""Containers that are killed under load, and services in several copies."""

import re

import pytest

from tests.compose.load import listening, reading, under_load
from tests.compose.stack import Stack, a_run, becomes_true
from tests.lab.smtp import SmtpServer

pytestmark = pytest.mark.system

SERVICES = {"gateway", "certbot", "graph", "web", "bot-mail", "bot-twitter", "db"}


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_a_killed_container_comes_back_with_nothing_lost_and_nothing_doubled(
    stack: Stack, probe_key: str, mail_server: SmtpServer, service: str
) -> None:
    """Good runs without pause; beside them a line falls below its plan just then."""
    line = f"line-{service}"
    stack.plan(line)
    letters = len(mail_server.letters)
    slow = [a_run(line, 120, minutes_ago=60 - 5 * number) for number in range(6)]
    with listening(stack) as listener, under_load(stack, probe_key) as load:
        stack.deliver(*slow[:3])
        stack.compose("kill", service)
        stack.up()
        stack.deliver(*slow[3:])
        assert load.goes_on()
        assert becomes_true(lambda: bool(listener.kinds(line)))
        assert stack.get("/").status_code == 200
        (breach,) = stack.breaches(line)
        opening = {"reference": breach["reference"], "stage": "OPENING", "channel": "mail"}
        assert becomes_true(lambda: len(stack.notices(**opening)) == 1)
    load.check()
    assert (breach["status"], breach["count"]) == ("OPEN", 6)
    assert listener.kinds(line) == ["OPENED"]
    assert len(listener.cursors()) == len(set(listener.cursors()))
    assert sorted(stack.stored(line)) == sorted(run["id"] for run in slow)
    assert stack.breaches("attic") == []
    assert len(mail_server.letters) == letters


def test_graph_and_web_run_in_several_copies_and_go_on_when_one_is_killed(
    stack: Stack, probe_key: str
) -> None:
    stack.plan("line-copies")
    slow = [a_run("line-copies", 120, minutes_ago=60 - 5 * number) for number in range(7)]
    copies = ("--scale", "graph=3", "--scale", "web=2", "--scale", "bot-mail=2")
    stack.compose("up", "--detach", "--wait", "--no-recreate", *copies)
    try:
        graphs = stack.compose("ps", "--quiet", "graph").split()
        webs = stack.compose("ps", "--quiet", "web").split()
        assert (len(graphs), len(webs)) == (3, 2)
        with (
            listening(stack) as listener,
            under_load(stack, probe_key) as load,
            reading(stack) as reader,
        ):
            # NGINX looks the name up again every five seconds.
            assert becomes_true(lambda: len(asked_of_late(stack, "/graphql")) == 3)
            assert becomes_true(lambda: len(asked_of_late(stack, "/")) == 2)
            stack.deliver(*slow[:5])
            for killed in (graphs[0], webs[0]):
                stack.run("docker", "kill", killed)
                assert load.goes_on()
                assert reader.goes_on()
            stack.deliver(*slow[5:])
            assert becomes_true(lambda: len(listener.kinds("line-copies")) == 2)
        load.check()
        assert listener.kinds("line-copies") == ["OPENED", "GREW"]
        assert len(listener.cursors()) == len(set(listener.cursors()))
        # What was under way in the copy that was killed; not one page more.
        assert len(reader.failures) <= 2, reader.failures
        (breach,) = stack.breaches("line-copies")
        opening = {"reference": breach["reference"], "stage": "OPENING", "channel": "mail"}
        assert becomes_true(lambda: len(stack.notices(**opening)) == 1)
    finally:
        stack.up()


def asked_of_late(stack: Stack, path: str) -> set[str]:
    """Those that the gateway has asked for *path*, by its log."""
    lines = stack.compose("logs", "--no-color", "--no-log-prefix", "--tail=200", "gateway")
    return set(re.findall(rf'"path":"{path}",.*"upstream":"(?:[^"]*, )?([\d.]+):8000"', lines))
