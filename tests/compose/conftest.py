"""The stack as an operator starts it: a fresh clone, `secrets init`, `docker compose up --wait`.

It needs a Docker engine and builds images, so it runs only where it is asked for, by
`make test-compose`.
"""

import os
from collections.abc import Iterator

import pytest

from tests.compose.images import docker
from tests.compose.stack import Stack, fresh_stack
from tests.lab.mongo import free_port
from tests.lab.smtp import PASSWORD, SmtpServer, smtp_server

collect_ignore_glob = [] if os.environ.get("SPEEDTRAP_TEST_COMPOSE") else ["test_*.py"]

# The bots trust the test's own mail server.
OVERRIDE = """\
services:
  bot-mail:
    environment:
      SPEEDTRAP_BOTS_MAIL_CA_FILE: /etc/ssl/smtp-ca.pem
    volumes:
      - {ca_file}:/etc/ssl/smtp-ca.pem:ro
"""


def _bridge_address() -> str:
    """The host, as every container can reach it."""
    inspect = "{{(index .IPAM.Config 0).Gateway}}"
    found = docker("network", "inspect", "bridge", "--format", inspect).stdout.strip()
    return found or "172.17.0.1"


@pytest.fixture(scope="session")
def mail_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmtpServer]:
    folder = tmp_path_factory.mktemp("smtp")
    with smtp_server(folder, free_port(), host=_bridge_address()) as server:
        yield server


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, mail_server: SmtpServer) -> Iterator[Stack]:
    """Shared by all tests here, which leave it as they found it: up and healthy."""
    with fresh_stack(tmp_path_factory.mktemp("stack") / "speedtrap") as stack:
        override = stack.folder / "compose.override.yaml"
        override.write_text(OVERRIDE.format(ca_file=mail_server.ca_file), encoding="utf-8")
        secrets = stack.folder / "mail-secrets"
        secrets.mkdir(mode=0o700)
        (secrets / "mail_password").write_text(PASSWORD, encoding="utf-8")
        (secrets / "mail_password").chmod(0o600)
        mail = mail_server.environment
        stack.environment |= {
            **{name: mail[name] for name in mail if not name.endswith(("PASSWORD", "CA_FILE"))},
            "SPEEDTRAP_MAIL_SECRETS": "./mail-secrets",
        }
        stack.build()
        stack.up()
        yield stack


@pytest.fixture(scope="session")
def probe_key(stack: Stack) -> str:
    """Of the probe `attic`, which has a plan."""
    key = stack.add_key("attic")
    stack.plan("attic")
    return key
