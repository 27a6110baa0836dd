"""How many files and connections this process may have open."""

import sys
from contextlib import suppress

_WITHOUT_A_LIMIT = 10_240
"""macOS says that there is none, and refuses more than this."""


def raise_limit() -> None:
    """To what the system allows. The usual 1,024 are there for programs that call select(); so many
    idle connections would shut everybody else out.
    """
    if sys.platform != "win32":
        import resource  # noqa: PLC0415 - does not exist on Windows

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _WITHOUT_A_LIMIT if hard == resource.RLIM_INFINITY else hard
        if soft not in {resource.RLIM_INFINITY, wanted}:
            with suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
