"""All services tell what they do in one form, though none of them imports another."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.lab.lines import records

SERVICES = ("graph", "web", "bots", "probe")
HOSTILE = "one\ntwo \u2028 \x1b[31m \ud800 \u20ac"

PROGRAM = """
import logging, sys, warnings
from uuid import UUID
from speedtrap_{service} import logs

logs.set_up({form!r}, {level!r})
log = logging.getLogger("speedtrap_{service}.somewhere")
{lines}
"""


def said_by(service: str, lines: str, form: str = "json", level: str = "INFO") -> str:
    """What a process that logs *lines* writes to the standard error."""
    program = PROGRAM.format(service=service, lines=lines, form=form, level=level)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_whatever_is_said_is_one_object_a_line(service: str) -> None:
    (hostile, carrying, warned, failed, ended) = records(
        said_by(
            service,
            f"log.warning('%s', {HOSTILE!r})\n"
            "log.info('hello', extra={'run_id': UUID(int=7), 'retry_in_s': 1.5, 'odd': {1}})\n"
            "warnings.warn('old', UserWarning)\n"
            "try:\n  1 / 0\nexcept ZeroDivisionError:\n  log.exception('failed')\n"
            f"raise ValueError({HOSTILE!r})",
        )
    )
    # The probe's records leave no machine; JSON says half of a character as an escape.
    valid = HOSTILE if service == "probe" else HOSTILE.replace("\ud800", "\ufffd")
    assert (hostile["message"], hostile["level"]) == (valid, "WARNING")
    assert hostile["logger"] == f"speedtrap_{service}.somewhere"
    assert carrying["run_id"] == str(UUID(int=7))
    assert carrying["retry_in_s"] == 1.5
    assert (warned["logger"], warned["level"]) == ("py.warnings", "WARNING")
    assert failed["error"].startswith("Traceback (most recent call last)")
    assert failed["error"].endswith("ZeroDivisionError: division by zero")
    assert (ended["message"], ended["level"]) == ("ended by ValueError", "CRITICAL")
    assert "ValueError: one\ntwo" in ended["error"]


@pytest.mark.parametrize("service", SERVICES)
def test_text_is_a_line_for_people(service: str) -> None:
    said = said_by(service, "log.warning('hello')\nlog.info('world')", "text")
    first, second = said.splitlines()
    assert first.endswith(f" WARNING speedtrap_{service}.somewhere: hello")
    assert second.endswith(f" INFO speedtrap_{service}.somewhere: world")


@pytest.mark.parametrize("service", ["graph", "web", "probe"])
def test_debug_is_ours_and_not_that_of_the_libraries(service: str) -> None:
    """They tell headers there, and with them keys."""
    lines = "\n".join(
        f"logging.getLogger({name!r}).debug('planted')"
        for name in ("httpx", "httpcore.http11", "uvicorn.error", "websockets.server", "pymongo.x")
    )
    (ours,) = records(said_by(service, f"{lines}\nlog.debug('ours')", level="DEBUG"))
    assert ours["message"] == "ours"
    assert said_by(service, "log.info('ours')", level="WARNING") == ""


def test_the_forms_are_the_same_word_for_word() -> None:
    """Twelve lines five times, held together here instead of by a package that all depend on."""
    root = Path(__file__).resolve().parents[2]
    files = [root / f"{name}/speedtrap_{name}/logs.py" for name in SERVICES]
    files.append(root / "speedtrap_up/logs.py")
    forms = {_body(file.read_text(encoding="utf-8")) for file in files}
    assert len(forms) == 1


def test_what_must_stand_twice_is_the_same_twice() -> None:
    """What keeps a log and a read within bounds: no service may take it from another."""
    root = Path(__file__).resolve().parents[2]
    reads = ("bots/speedtrap_bots/bounded.py", "web/speedtrap_web/graphql/bounded.py")
    assert len({(root / name).read_text(encoding="utf-8") for name in reads}) == 1
    logs = ("graph/speedtrap_graph/logs.py", "web/speedtrap_web/logs.py")
    for kind in ("class Repeats:", "class SparingHandler("):
        assert len({_part(root / name, kind) for name in logs}) == 1


def _part(file: Path, start: str) -> str:
    text = file.read_text(encoding="utf-8")
    assert start in text
    return text.split(start)[1].split("\n\n\n", maxsplit=1)[0]


def _body(text: str) -> str:
    """The attributes of the formatter, and which record attributes become what."""
    form = text.split("class JsonLines(JsonFormatter):")[1].split("\n\n\n", maxsplit=1)[0]
    return form.split('"""')[2].split("reserved_attrs")[0]


def test_what_a_program_needs_is_documented() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs/operator.md").read_text(encoding="utf-8")
    section = text.split("\n## Logs\n")[1].split("\n## ")[0]
    samples: list[dict[str, Any]] = [
        json.loads(line) for line in section.splitlines() if line.startswith("{")
    ]
    assert samples
    for line in samples:
        assert records(json.dumps(line))
