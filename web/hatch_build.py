"""Brings the npm files before an sdist or wheel is packed; an sdist already carries them."""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).resolve().parent))
from vendor import NODE_REQUIREMENT, npm_on_path, vendor


class VendorHook(BuildHookInterface[Any]):
    """`[tool.hatch.build.hooks.custom]` in pyproject.toml."""

    def dependencies(self) -> list[str]:
        """Only a machine without npm needs Node.js from PyPI."""
        return [] if npm_on_path() else [NODE_REQUIREMENT]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 (hatchling's interface)
        if version != "editable":
            vendor()
