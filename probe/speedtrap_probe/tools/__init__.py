"""One module a tool; each exports `TOOL`. A new module is found, there is no list to edit."""

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules

from speedtrap_probe.tool import Tool


def discover() -> Mapping[str, Tool]:
    """Every tool in this folder by its name, in the order of the names."""
    modules = (import_module(f"{__name__}.{entry.name}") for entry in iter_modules(__path__))
    tools: list[Tool] = [module.TOOL for module in modules]
    return {tool.name: tool for tool in sorted(tools, key=lambda tool: tool.name)}
