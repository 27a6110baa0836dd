"""What every tool must keep to. A new tool is a module and a folder of captures, no list."""

import ast
import importlib
import json
from dataclasses import asdict
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pytest
import speedtrap_probe.tools
from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import Figures
from speedtrap_probe.tool import Setup, Tool
from speedtrap_probe.tools import discover, lan

from tests.lab.replay import replay_server

CAPTURES = Path(__file__).parent / "captures"
MODULES = [entry.name for entry in iter_modules(speedtrap_probe.tools.__path__)]
FILES = sorted(CAPTURES.glob("*/*.json"))


def module_of(tool: str) -> Any:
    return importlib.import_module(f"speedtrap_probe.tools.{tool.replace('-', '_')}")


@pytest.mark.parametrize("module", MODULES)
def test_every_module_exports_one_tool_of_its_own_name(module: str) -> None:
    tool: Tool = importlib.import_module(f"speedtrap_probe.tools.{module}").TOOL
    assert tool.name == module.replace("_", "-")
    assert discover()[tool.name] is tool


@pytest.mark.parametrize("module", MODULES)
def test_no_tool_imports_another(module: str) -> None:
    source = Path(*speedtrap_probe.tools.__path__, f"{module}.py").read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert not (node.module or "").startswith("speedtrap_probe.tools")


@pytest.mark.parametrize("module", MODULES)
def test_every_tool_says_whether_it_is_usable(module: str) -> None:
    tool: Tool = importlib.import_module(f"speedtrap_probe.tools.{module}").TOOL
    usable = tool.usable(Setup("http://127.0.0.1:1"))
    assert usable.ok or usable.hint


@pytest.mark.parametrize("module", MODULES)
def test_every_tool_has_captures_of_results_and_of_failures(module: str) -> None:
    folder = CAPTURES / module.replace("_", "-")
    expected = [json.loads(file.read_text())["expect"] for file in folder.glob("*.json")]
    assert any("failure" in one for one in expected)
    # An ndt7 server is no web server that can be played back: test_ndt7.py has a real one.
    assert module == "ndt7" or any("failure" not in one for one in expected)


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_capture_reads_as_expected(file: Path) -> None:
    capture = json.loads(file.read_text(encoding="utf-8"))
    if "answers" in capture:
        with replay_server(capture["answers"]) as server:
            measured_as_expected(file.parent.name, capture, server.url)
    else:
        parsed_as_expected(file.parent.name, capture)


def parsed_as_expected(tool: str, capture: dict[str, Any]) -> None:
    """What a program printed."""
    parse = module_of(tool).parse
    said = (capture["exit_code"], capture["stdout"].encode(), capture["stderr"].encode())
    expected = capture["expect"]
    if "failure" in expected:
        with pytest.raises(ToolError) as raised:
            parse(*said)
        failed_as_expected(raised.value, expected)
    else:
        assert numbers(parse(*said)) == pytest.approx(expected["figures"])


def measured_as_expected(tool: str, capture: dict[str, Any], url: str) -> None:
    """What a web service answered, played back to the tool."""
    options = {name: text.replace("{url}", url) for name, text in capture["options"].items()}
    setup = Setup(url, options, window_s=0.5, avoid=tuple(capture.get("avoid", ())))
    expected = capture["expect"]
    if "failure" in expected:
        with pytest.raises(ToolError) as raised:
            module_of(tool).TOOL.measure(setup)
        failed_as_expected(raised.value, expected)
        figures = raised.value.figures
    else:
        figures = module_of(tool).TOOL.measure(setup)
        assert figures.tool_version
    assert sorted(numbers(figures)) == expected.get("measured", [])
    if "server" in expected:
        assert asdict(figures.server) == expected["server"] if figures.server else False


def failed_as_expected(error: ToolError, expected: dict[str, Any]) -> None:
    assert error.failure.kind == expected["failure"]
    assert expected["reason"] in error.failure.message


def numbers(figures: Figures) -> dict[str, float]:
    return {name: v for name, v in asdict(figures).items() if isinstance(v, int | float)}


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://192.168.1.10:8080", True),
        ("http://nas.local", True),
        ("http://gateway", True),
        ("https://speedtrap.example.org", False),
        ("https://1.1.1.1", False),
    ],
)
def test_lan_takes_no_server_on_the_internet_for_one_s_own_network(url: str, own: bool) -> None:
    assert lan.TOOL.usable(Setup(url)).ok is own
    assert lan.TOOL.usable(Setup(url, {"lan_url": "http://192.168.1.1/"})).ok
