"""Ookla's CLI and ddo/fast as executables that print what the captures recorded."""

import json
import stat
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import FailureKind
from speedtrap_probe.program import CommandTool
from speedtrap_probe.tool import Setup
from speedtrap_probe.tools import fast, ookla

CAPTURES = Path(__file__).parent / "captures"
OOKLA_VERSION = "Speedtest by Ookla 1.2.0.84 (ea6b6773cf) Linux/x86_64-linux-musl"


def an_executable(folder: Path, name: str, body: str) -> Path:
    path = folder / name
    folder.mkdir(exist_ok=True)
    path.write_text(f"#!{sys.executable}\nimport sys, time\n{textwrap.dedent(body)}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def a_speedtest(folder: Path, version: str, capture: Path | None = None) -> Path:
    """Prints *version* when asked, else what was captured (or nothing, for ever)."""
    said = json.loads(capture.read_text()) if capture else None
    return an_executable(
        folder,
        "speedtest",
        f"""
        if sys.argv[1:] == ["--version"]:
            print({version!r})
            sys.exit()
        said = {said!r}
        if said is None:
            time.sleep(600)
        assert "--accept-license" in sys.argv and "--accept-gdpr" in sys.argv
        sys.stderr.write(said["stderr"])
        sys.stdout.write(said["stdout"])
        sys.exit(said["exit_code"])
        """,
    )


def setup_for(tool: str, path: Path) -> Setup:
    return Setup("http://127.0.0.1:1", {f"{tool}_command": str(path)})


def test_ooklas_first_run_is_read_behind_its_licence_banner(tmp_path: Path) -> None:
    capture = CAPTURES / "ookla" / "first_run_with_licence_banner.json"
    path = a_speedtest(tmp_path, OOKLA_VERSION, capture)
    figures = ookla.TOOL.measure(setup_for("ookla", path))
    assert figures.download_mbps == pytest.approx(512.3)
    assert figures.tool_version == "1.2.0.84"


def test_ooklas_rate_limit_is_named(tmp_path: Path) -> None:
    path = a_speedtest(tmp_path, OOKLA_VERSION, CAPTURES / "ookla" / "rate_limited.json")
    with pytest.raises(ToolError, match="Too many requests") as raised:
        ookla.TOOL.measure(setup_for("ookla", path))
    assert raised.value.failure.kind is FailureKind.RATE_LIMITED


def test_the_python_program_of_the_same_name_is_not_taken_for_ooklas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_speedtest(tmp_path / "first", "speedtest-cli 2.1.3\nPython 3.11")
    theirs = a_speedtest(tmp_path / "second", OOKLA_VERSION)
    monkeypatch.setenv("PATH", f"{tmp_path / 'first'}:{tmp_path / 'second'}")
    assert ookla.locate(Setup("http://127.0.0.1:1")).argv == (str(theirs),)


@pytest.mark.parametrize("tool", [ookla.TOOL, fast.TOOL])
def test_a_program_that_is_not_installed_is_missing_and_says_where_it_is_to_be_had(
    tool: CommandTool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    usable = tool.usable(Setup("http://127.0.0.1:1"))
    assert not usable.ok
    assert "https://" in (usable.hint or "")
    with pytest.raises(ToolError) as raised:
        tool.measure(Setup("http://127.0.0.1:1"))
    assert raised.value.failure.kind is FailureKind.TOOL_MISSING


def test_fast_is_asked_for_a_bare_number(tmp_path: Path) -> None:
    path = an_executable(
        tmp_path, "fast", "assert sys.argv[1:] == ['--silent', '-m']; print('340.37')"
    )
    assert fast.TOOL.measure(setup_for("fast", path)).download_mbps == 340.37


def test_the_node_program_of_the_same_name_is_not_taken_for_ddos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = an_executable(tmp_path, "fast", "")
    path.write_text("#!/usr/bin/env node\nconsole.log('340 Mbps')\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not fast.TOOL.usable(Setup("http://127.0.0.1:1")).ok


def test_a_hanging_program_is_ended_at_its_deadline(tmp_path: Path) -> None:
    hanging = replace(ookla.TOOL, timeout_s=1.0)
    with pytest.raises(ToolError, match="did not end within 1 s") as raised:
        hanging.measure(setup_for("ookla", a_speedtest(tmp_path, OOKLA_VERSION)))
    assert raised.value.failure.kind is FailureKind.TIMEOUT
