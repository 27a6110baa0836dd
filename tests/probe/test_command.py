import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from speedtrap_probe.programs import command

ENV = command.environment(None)


def python(code: str, timeout_s: float = 30.0) -> command.Output:
    return command.run([sys.executable, "-c", code], timeout_s, ENV)


def test_output_and_exit_code_come_back() -> None:
    said = python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")
    assert (said.exit_code, said.stdout.strip(), said.stderr.strip()) == (3, b"out", b"err")


def test_a_program_that_floods_is_kept_to_its_last_megabyte() -> None:
    said = python("import sys; sys.stdout.write('x' * 5_000_000 + 'the end')")
    assert len(said.stdout) == command.OUTPUT_LIMIT
    assert said.stdout.endswith(b"the end")


def test_what_was_said_before_the_deadline_is_kept() -> None:
    said = python("import time; print('loading', flush=True); time.sleep(600)", timeout_s=1.5)
    assert said.exit_code is None
    assert said.stdout.strip() == b"loading"


def test_a_program_that_only_leaves_a_child_behind_ends_with_it() -> None:
    said = python(
        "import subprocess, sys; print('done', flush=True);"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    )
    assert said.exit_code == 0
    assert said.stdout.strip() == b"done"


def test_tools_see_neither_our_secrets_nor_a_proxy_nobody_asked_for() -> None:
    base = {"SPEEDTRAP_PROBE_KEY": "s3cret", "HTTPS_PROXY": "http://p:1", "PATH": "/bin"}
    assert command.environment(None, base).keys() == {"PATH", "LC_ALL", "PYTHONUNBUFFERED"}
    assert command.environment("http://q:1", base)["https_proxy"] == "http://q:1"


PROBE = """
import sys
from speedtrap_probe.programs import command
tool = "import os, subprocess, sys, time; "
tool += "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
tool += "print(os.getpid(), child.pid, file=open(sys.argv[1] + '.new', 'w'), flush=True); "
tool += "os.rename(sys.argv[1] + '.new', sys.argv[1]); time.sleep(600)"
command.run([sys.executable, "-c", tool, sys.argv[1]], 600, command.environment(None))
"""


def test_kill_9_of_the_probe_takes_its_tool_and_the_tools_children_along(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with subprocess.Popen([sys.executable, "-c", PROBE, pids]) as probe:
        while not pids.exists():
            time.sleep(0.05)
        os.kill(probe.pid, signal.SIGKILL)
    for pid in pids.read_text().split():
        while _lives(pid):
            time.sleep(0.05)


def _lives(pid: str) -> bool:
    """As more than a zombie that nobody has asked for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
