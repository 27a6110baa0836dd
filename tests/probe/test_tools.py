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
from speedtrap_probe.tool import Setup, Tool
from speedtrap_probe.tools import discover

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


@pytest.mark.parametrize("module", [name for name in MODULES if hasattr(module_of(name), "parse")])
def test_every_parser_has_captures_of_results_and_of_failures(module: str) -> None:
    folder = CAPTURES / module.replace("_", "-")
    kinds = {next(iter(json.loads(file.read_text())["expect"])) for file in folder.glob("*.json")}
    assert kinds == {"figures", "failure"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_capture_reads_as_expected(file: Path) -> None:
    capture = json.loads(file.read_text(encoding="utf-8"))
    parse = module_of(file.parent.name).parse
    said = (capture["exit_code"], capture["stdout"].encode(), capture["stderr"].encode())
    expected = capture["expect"]
    if "failure" in expected:
        with pytest.raises(ToolError) as raised:
            parse(*said)
        assert raised.value.failure.kind == expected["failure"]
        assert expected["reason"] in raised.value.failure.message
    else:
        figures = asdict(parse(*said))
        numbers = {k: v for k, v in figures.items() if isinstance(v, int | float)}
        assert numbers == pytest.approx(expected["figures"])
