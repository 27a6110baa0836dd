"""The pages, one address or a few a module: its `ROUTES`. The folder is scanned."""

from importlib import import_module
from pkgutil import iter_modules

from starlette.routing import BaseRoute


def routes() -> list[BaseRoute]:
    """Of every page, in the order of the modules' names."""
    modules = (import_module(f"{__name__}.{entry.name}") for entry in iter_modules(__path__))
    return [route for module in modules for route in getattr(module, "ROUTES", ())]
