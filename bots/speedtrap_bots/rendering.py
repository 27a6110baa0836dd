"""Fills templates in: sandboxed, and the operator's own in a process of its own with limits.

What probes and servers say is data and never becomes a template. A template of the operator's may
still be wrong in a way that takes for ever or all memory (`'a' * 200000000`), so it runs apart.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, FileSystemLoader, StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from speedtrap_bots.errors import LetterError

OUR_TEMPLATES = Path(__file__).parent / "letter" / "templates"
MAX_CHARACTERS = 500_000
"""What the ledger takes of one text."""
CPU_LIMIT_S = 5
TIME_LIMIT_S = 15.0
MEMORY_LIMIT_BYTES = 512 * 1024 * 1024
_PASSED_ON = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TZ")
"""The rest of our environment may hold secrets, which a template's process has no use for."""


def render(
    templates: tuple[str, ...], names: Mapping[str, Any], folder: Path | None = None
) -> list[str]:
    """Each of *templates* filled in; those found in *folder* replace ours. Raises LetterError."""
    found = _render(templates, names, None) if folder is None else _apart(templates, names, folder)
    for template, text in zip(templates, found, strict=True):
        if len(text) > MAX_CHARACTERS:
            raise LetterError(f"{template} makes {len(text)} characters of {MAX_CHARACTERS}")
    return found


def _render(templates: tuple[str, ...], names: Mapping[str, Any], folder: Path | None) -> list[str]:
    environment = _environment(folder)
    return [environment.get_template(template).render(names) for template in templates]


def _apart(templates: tuple[str, ...], names: Mapping[str, Any], folder: Path) -> list[str]:
    task = json.dumps({"templates": templates, "names": names, "folder": str(folder)})
    try:
        done = subprocess.run(
            [sys.executable, "-m", "speedtrap_bots.rendering"],
            input=task.encode(),
            env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            capture_output=True,
            timeout=TIME_LIMIT_S,
            check=False,
            preexec_fn=_limit(),
        )
    except subprocess.TimeoutExpired:
        raise LetterError(f"a template in {folder} took more than {TIME_LIMIT_S:.0f} s") from None
    if done.returncode < 0 or not done.stdout:
        raise LetterError(
            f"a template in {folder} took more than {CPU_LIMIT_S} s of work"
            f" or {MEMORY_LIMIT_BYTES >> 20} MiB of memory"
        )
    answer = json.loads(done.stdout)
    if "error" in answer:
        raise LetterError(f"a template in {folder}: {answer['error']}")
    texts: list[str] = answer["texts"]
    return texts


def _limit() -> Callable[[], None]:
    def limit() -> None:
        if sys.platform != "win32":
            resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT_S, CPU_LIMIT_S))
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    return limit


@cache
def _environment(folder: Path | None) -> ImmutableSandboxedEnvironment:
    folders = [OUR_TEMPLATES] if folder is None else [folder, OUR_TEMPLATES]
    return ImmutableSandboxedEnvironment(
        loader=ChoiceLoader([FileSystemLoader(place) for place in folders]),
        undefined=StrictUndefined,
        autoescape=lambda name: name is not None and name.endswith(".html"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _child() -> None:
    """Reads one task from stdin and answers on stdout."""
    task = json.load(sys.stdin)
    try:
        texts = _render(tuple(task["templates"]), task["names"], Path(task["folder"]))
        answer: dict[str, Any] = {"texts": texts}
        if sum(map(len, texts)) > len(texts) * MAX_CHARACTERS:
            answer = {"error": f"makes more than {MAX_CHARACTERS} characters"}
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        where = f"{getattr(error, 'name', None) or ''}{f', line {line}' if line else ''}"
        answer = {"error": f"{where}: {error}".removeprefix(": ")[:500]}
    except (ArithmeticError, LookupError, MemoryError, TypeError, ValueError) as error:
        answer = {"error": f"{type(error).__name__}: {error}"[:500]}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    _child()
