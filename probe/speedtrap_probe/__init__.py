"""Measures an internet line and keeps every run until the service has it."""

from importlib.metadata import version

__version__ = version("speedtrap-probe")
