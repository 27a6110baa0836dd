"""A service may have as many connections as its system allows, not as many as a shell gives."""

import resource
import subprocess
import sys

import pytest

SERVICES = {
    "up and graph": "from speedtrap_graph.descriptors import raise_limit as raised",
    "web": "from speedtrap_web.cli import _raise_limit_of_connections as raised",
}
PROGRAM = """
import resource
{load}
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
raised()
raised()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize("service", SERVICES)
def test_the_limit_of_open_files_is_raised_to_that_of_the_system(service: str) -> None:
    program = PROGRAM.format(load=SERVICES[service])
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert done.stdout.split() == [str(hard), str(hard)]
