"""What somebody else said cannot write a line of ours, in any service's log."""

import io
import json
import logging
from types import ModuleType

import pytest
import speedtrap_bots.logs
import speedtrap_graph.logs
import speedtrap_web.logs

LOGS = [speedtrap_bots.logs, speedtrap_graph.logs, speedtrap_web.logs]
OF_SERVERS = [speedtrap_graph.logs, speedtrap_web.logs]
FORGED = "550 no\r\n2026-11-24 12:00:00 CRITICAL forged\x1b[31m\u2028x \udce9 \U0001f600 \\ud800"


def a_record() -> logging.LogRecord:
    return logging.LogRecord("speedtrap", logging.INFO, "", 0, "it said %s", (FORGED,), None)


@pytest.mark.parametrize("logs", LOGS, ids=lambda logs: logs.OWN)
def test_a_message_is_one_line_of_text_for_people(logs: ModuleType) -> None:
    line = logs.OneLine(logs.TEXT).format(a_record())
    assert line.splitlines() == [line]
    assert r"550 no\u000d\u000a2026" in line
    assert "\U0001f600" in line
    line.encode()


@pytest.mark.parametrize("logs", LOGS, ids=lambda logs: logs.OWN)
def test_a_message_is_valid_unicode_for_programs(logs: ModuleType) -> None:
    line = logs.JsonLines().format(a_record())
    assert line.splitlines() == [line]
    message = json.loads(line)["message"]
    assert message == f"it said {FORGED}".replace("\udce9", "\ufffd")
    message.encode()


@pytest.mark.parametrize("logs", OF_SERVERS, ids=lambda logs: logs.OWN)
def test_what_is_said_again_and_again_is_written_a_few_times_and_then_counted(
    logs: ModuleType,
) -> None:
    now = [0.0]
    repeats = logs.Repeats(now=lambda: now[0])
    passed = [repeats.may_pass(a_record()) for _ in range(1000)]
    assert passed == [True] * logs.MOST_ALIKE + [False] * (1000 - logs.MOST_ALIKE)
    elsewhere = a_record()
    elsewhere.lineno += 1
    assert repeats.may_pass(elsewhere)
    assert list(repeats.ended()) == []
    now[0] = 60.0
    (count,) = repeats.ended()
    assert count.getMessage().startswith(f"{1000 - logs.MOST_ALIKE} more within a minute like: it")
    assert repeats.may_pass(a_record())


@pytest.mark.parametrize("logs", OF_SERVERS, ids=lambda logs: logs.OWN)
def test_the_end_of_a_process_tells_what_was_counted(logs: ModuleType) -> None:
    written = io.StringIO()
    handler = logs.SparingHandler(written)
    for _ in range(30):
        handler.emit(a_record())
    handler.close()
    assert f"{30 - logs.MOST_ALIKE} more within a minute like: it said" in written.getvalue()
