"""One upstream that tells what it got, and one gateway in front of it, for all tests here."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.echo import running_echo
from tests.lab.nginx import Gateway, running_gateway


@dataclass(frozen=True)
class Keys:
    """Planted keys, as long as real ones and easy to find in a log."""

    probe: str = "planted-probe-key-Zk3vQ9wX1yT7uR5sP2nM8"
    viewer: str = "planted-viewer-key-aB4cD6eF8gH0iJ2kL4mN6"
    admin: str = "planted-admin-key-oP8qR0sT2uV4wX6yZ8aB0c"
    unknown: str = "planted-unknown-key-dE2fG4hI6jK8lM0nO2pQ"

    def known(self) -> dict[str, str]:
        return {
            self.probe: "laptop:probe",
            self.viewer: "page:viewer",
            self.admin: "operator:admin",
        }


KEYS = Keys()


@pytest.fixture(scope="session")
def speed_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("speed")


@pytest.fixture(scope="session")
def echo_url() -> Iterator[str]:
    with running_echo() as url:
        yield url


@pytest.fixture(scope="session")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, speed_dir: Path, echo_url: str
) -> Iterator[Gateway]:
    """In front of the echo as graph and as web. Do not change its keys: others use it too."""
    folder = tmp_path_factory.mktemp("gateway")
    with running_gateway(folder, echo_url, echo_url, speed_dir, KEYS.known()) as server:
        yield server
