"""From plain HTTP to a certificate by ACME and to the next one, while requests go on."""

import contextlib
import os
import runpy
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import trustme
from cryptography import x509

from tests.gateway.conftest import KEYS
from tests.gateway.test_doors import is_json_error
from tests.lab.acme import running_pebble
from tests.lab.mongo import free_port
from tests.lab.nginx import Gateway, running_gateway

pytestmark = pytest.mark.gateway

SCRIPT = Path(__file__).resolve().parents[2] / "docker" / "certbot" / "certificates.py"
DOMAIN = "speedtrap.example"
KEY = {"X-API-Key": KEYS.probe}
WAIT_S = 60.0


def served(gateway: Gateway, host: str = "127.0.0.1") -> x509.Certificate | None:
    """The certificate that the TLS door shows; None where there is no such door."""
    try:
        pem = ssl.get_server_certificate((host, gateway.tls_port), timeout=10)
    except (ConnectionRefusedError, ConnectionResetError):
        return None
    return x509.load_pem_x509_certificate(pem.encode())


def becomes_true(ask: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if ask():
            return True
        time.sleep(0.1)
    return False


def put_certificate(gateway: Gateway, authority: trustme.CA, name: str = DOMAIN) -> None:
    """As the certbot service does it."""
    new = gateway.certificate.with_suffix(".new")
    authority.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(str(new))
    new.replace(gateway.certificate)


@pytest.fixture
def awaiting(tmp_path: Path, speed_dir: Path, echo_url: str) -> Iterator[Gateway]:
    """A gateway with a domain and without a certificate."""
    folder = tmp_path / "gateway"
    with running_gateway(
        folder, echo_url, echo_url, speed_dir, KEYS.known(), DOMAIN=DOMAIN
    ) as gateway:
        yield gateway


@contextlib.contextmanager
def certbot(gateway: Gateway, folder: Path, **settings: str) -> Iterator[Path]:
    """The certbot service as a process of its own; yields what it says."""
    environment = {
        "SPEEDTRAP_CERTBOT_WEBROOT": str(gateway.acme_root),
        "SPEEDTRAP_CERTBOT_STATE": str(folder / "letsencrypt"),
        "SPEEDTRAP_CERTBOT_BUNDLE": str(gateway.certificate),
        "SPEEDTRAP_CERTBOT_HTTP_PORT": str(gateway.port),
        **settings,
    }
    said = folder / "certbot.log"
    with said.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT)],
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield said
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(WAIT_S)


class Caller(threading.Thread):
    """Asks graph through the TLS door without pause, each time on a new connection."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(name="caller")
        self.asked = 0
        self.failures: list[str] = []
        self.done = threading.Event()
        self._url = f"https://127.0.0.1:{gateway.tls_port}/graphql"

    def run(self) -> None:
        # Whose certificate it is, the test looks at; here it is about being answered.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        while not self.done.is_set():
            self.asked += 1
            try:
                answer = httpx.post(self._url, headers=KEY, verify=context, timeout=30)
            except httpx.HTTPError as error:
                self.failures.append(repr(error))
            else:
                if answer.status_code != httpx.codes.OK:
                    self.failures.append(answer.text)


@contextlib.contextmanager
def calling(gateway: Gateway) -> Iterator[Caller]:
    caller = Caller(gateway)
    caller.start()
    try:
        yield caller
    finally:
        caller.done.set()
        caller.join()


def test_a_certificate_is_issued_and_renewed_by_itself_and_no_request_fails(
    awaiting: Gateway, tmp_path: Path
) -> None:
    assert is_json_error(httpx.get(awaiting.url), 503, "NO_CERTIFICATE")
    assert served(awaiting) is None
    with running_pebble(tmp_path / "pebble", awaiting.port, valid_s=86_400) as pebble:
        settings = {
            "SPEEDTRAP_DOMAIN": DOMAIN,
            "SPEEDTRAP_ACME_SERVER": pebble.directory,
            # Valid for a day, so each look finds it due.
            "SPEEDTRAP_CERTBOT_EVERY_S": "2",
            "REQUESTS_CA_BUNDLE": str(pebble.ca_file),
        }
        with certbot(awaiting, tmp_path, **settings) as said:
            assert becomes_true(lambda: served(awaiting) is not None), said.read_text()
            first = served(awaiting)
            assert first is not None
            names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            assert names.get_values_for_type(x509.DNSName) == [DOMAIN]

            def renewed() -> bool:
                now = served(awaiting)
                return now is not None and now.serial_number != first.serial_number

            with calling(awaiting) as caller:
                assert becomes_true(renewed), said.read_text()
                asked = caller.asked
                assert becomes_true(lambda: caller.asked > asked + 20)
    assert caller.failures == []
    key = awaiting.certificate.read_text(encoding="ascii")
    assert key.count("PRIVATE KEY") == 2
    assert awaiting.certificate.stat().st_mode & 0o077 == 0
    assert "PRIVATE KEY" not in said.read_text()


def test_a_certificate_is_looked_at_twice_a_day() -> None:
    told = runpy.run_path(str(SCRIPT))["Settings"].of({"SPEEDTRAP_DOMAIN": DOMAIN})
    assert told.every_s == 12 * 60 * 60
    assert not told.staging


def test_with_a_certificate_the_plain_door_takes_no_key_and_sends_people_on(
    awaiting: Gateway,
) -> None:
    authority = trustme.CA()
    put_certificate(awaiting, authority)
    assert becomes_true(lambda: served(awaiting) is not None)
    assert becomes_true(lambda: httpx.get(awaiting.url).status_code == 308)
    sent_on = httpx.get(f"{awaiting.url}/runs?probe=attic", headers={"Host": DOMAIN})
    assert sent_on.headers["location"] == f"https://{DOMAIN}:{awaiting.tls_port}/runs?probe=attic"
    refused = httpx.post(f"{awaiting.url}/graphql", headers=KEY)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "HTTPS_ONLY")
    assert "strict-transport-security" not in refused.headers
    assert httpx.get(f"{awaiting.url}/speed/empty").status_code == 200
    # Web and the bots are inside.
    assert httpx.post(f"{awaiting.internal_url}/graphql", headers=KEY).status_code == 200


def test_tls_is_modern_and_promises_to_stay(awaiting: Gateway) -> None:
    authority = trustme.CA()
    put_certificate(awaiting, authority)
    assert becomes_true(lambda: served(awaiting) is not None)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    url = f"https://127.0.0.1:{awaiting.tls_port}"
    named = {"sni_hostname": DOMAIN}
    with httpx.Client(verify=trusting, base_url=url) as client:
        answers = [
            client.get("/", extensions=named),
            client.post("/graphql", headers=KEY, extensions=named),
            client.post("/graphql", extensions=named),
            client.get("/speed/empty", extensions=named),
            client.get("/nowhere/../metrics", extensions=named),
        ]
    assert [answer.status_code for answer in answers] == [200, 200, 401, 200, 404]
    for answer in answers:
        assert answer.headers.get_list("strict-transport-security") == ["max-age=31536000"]
    assert ["x-forwarded-proto", "https"] in answers[0].json()["headers"]
    with (
        socket.create_connection(("::1", awaiting.tls_port)) as raw,
        trusting.wrap_socket(raw, server_hostname=DOMAIN) as wrapped,
    ):
        assert wrapped.version() == "TLSv1.3"
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(old)
    old.set_ciphers("ECDHE+AESGCM:AES128-SHA")
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert _cipher(awaiting, old).startswith("ECDHE-")
    old.set_ciphers("AES128-SHA:AES128-GCM-SHA256")
    with pytest.raises(ssl.SSLError):
        _cipher(awaiting, old)


def _cipher(gateway: Gateway, context: ssl.SSLContext) -> str:
    with (
        socket.create_connection(("127.0.0.1", gateway.tls_port)) as raw,
        context.wrap_socket(raw, server_hostname=DOMAIN) as wrapped,
    ):
        cipher = wrapped.cipher()
    assert cipher is not None
    return cipher[0]


def test_a_broken_certificate_changes_nothing(awaiting: Gateway) -> None:
    put_certificate(awaiting, trustme.CA())
    assert becomes_true(lambda: served(awaiting) is not None)
    before = served(awaiting)
    awaiting.certificate.write_text("nonsense", encoding="ascii")
    log = awaiting.folder / "entrypoint.log"
    refused = "the certificate cannot be used; the old stays in force"
    assert becomes_true(lambda: refused in log.read_text())
    assert served(awaiting) == before
    # Nor does it keep a key from being revoked in the meantime.
    awaiting.write_keys({KEYS.viewer: "page:viewer"})
    url = f"{awaiting.internal_url}/graphql"
    assert becomes_true(lambda: httpx.post(url, headers=KEY).status_code == 401)
    assert served(awaiting) == before


def test_a_gateway_that_starts_with_a_broken_certificate_waits_for_a_better_one(
    tmp_path: Path, speed_dir: Path, echo_url: str
) -> None:
    folder = tmp_path / "gateway"
    (folder / "certificates").mkdir(parents=True)
    (folder / "certificates" / "bundle.pem").write_text("nonsense", encoding="ascii")
    with running_gateway(folder, echo_url, echo_url, speed_dir, KEYS.known()) as gateway:
        assert is_json_error(
            httpx.post(f"{gateway.url}/graphql", headers=KEY), 503, "NO_CERTIFICATE"
        )
        put_certificate(gateway, trustme.CA())
        assert becomes_true(lambda: served(gateway) is not None)


@pytest.mark.parametrize(
    ("domain", "elsewhere", "told"),
    [
        ("speedtrap.invalid", False, "DNS: speedtrap.invalid has no address. Make an A record"),
        ("localhost", True, "nothing answers at localhost (127.0.0.1"),
    ],
)
def test_what_is_wrong_with_dns_or_the_port_is_said_with_what_to_do(
    awaiting: Gateway, tmp_path: Path, domain: str, elsewhere: bool, told: str
) -> None:
    settings = {
        "SPEEDTRAP_DOMAIN": domain,
        "SPEEDTRAP_ACME_SERVER": f"https://127.0.0.1:{free_port()}/dir",
    }
    if elsewhere:
        settings["SPEEDTRAP_CERTBOT_HTTP_PORT"] = str(free_port())
    with certbot(awaiting, tmp_path, **settings) as said:
        assert becomes_true(lambda: "next try in 60 minutes" in said.read_text()), said.read_text()
    assert told in said.read_text()
    assert "Traceback" not in said.read_text()
