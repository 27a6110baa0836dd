#!/usr/bin/env python3
"""Whether this container has an open connection to the port named: a bot always listens to graph.

From the kernel's own table, so that asking costs neither a key nor a request.
"""

import sys
from pathlib import Path

ESTABLISHED = "01"


def listening(port: int) -> bool:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
            _, _, remote, state, *_ = line.split()
            if state == ESTABLISHED and int(remote.rpartition(":")[2], 16) == port:
                return True
    return False


if __name__ == "__main__":
    sys.exit(0 if listening(int(sys.argv[1])) else 1)
