"""Real servers for the bots: SMTP and X on loopback."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.mongo import free_port
from tests.lab.smtp import SmtpServer, smtp_server
from tests.lab.x_api import XApi, x_api


@pytest.fixture
def smtp(tmp_path: Path) -> Iterator[SmtpServer]:
    with smtp_server(tmp_path, free_port()) as server:
        yield server


@pytest.fixture
def x(tmp_path: Path) -> Iterator[XApi]:
    with x_api(tmp_path, free_port()) as server:
        yield server
