import sys

from speedtrap_probe import command

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
