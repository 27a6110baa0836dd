"""The same stack with a domain: a certificate by itself, keys by TLS only, renewal, no gap."""

import ssl

import httpx
import pytest
from cryptography import x509

from tests.compose.conftest import DOMAIN, SUBSCRIBED_MBPS, Stack, a_run, becomes_true
from tests.compose.test_stack import PLAN, stored, under_load

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def stack_with_tls(stack: Stack) -> Stack:
    stack.turn_to_tls()
    return stack


@pytest.fixture(scope="module")
def probe_key(stack_with_tls: Stack) -> str:
    stack_with_tls.speedtrap(
        "keys", "add", "cellar", "--role", "probe", "--file", "secrets/api_keys"
    )
    lines = stack_with_tls.secret("api_keys").splitlines()
    key = next(line for line in lines if line.endswith('"cellar:probe";')).split('"')[1]
    assert becomes_true(lambda: stack_with_tls.post(key, "{ me { name } }").status_code == 200)
    return key


def certificate(stack: Stack) -> x509.Certificate:
    pem = ssl.get_server_certificate(("127.0.0.1", stack.tls_port), timeout=20)
    return x509.load_pem_x509_certificate(pem.encode())


def test_up_waits_for_the_certificate_and_plain_http_takes_no_key_any_more(
    stack_with_tls: Stack, probe_key: str
) -> None:
    names = certificate(stack_with_tls).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert names.value.get_values_for_type(x509.DNSName) == [DOMAIN]
    page = stack_with_tls.get("/")
    assert page.status_code == 200
    assert page.headers.get_list("strict-transport-security") == ["max-age=31536000"]
    plain = f"http://127.0.0.1:{stack_with_tls.port}"
    assert httpx.get(plain).status_code == 308
    refused = httpx.post(f"{plain}/graphql", headers={"X-API-Key": probe_key})
    assert refused.json()["error"]["code"] == "HTTPS_ONLY"


def test_six_slow_runs_open_a_breach_by_tls_and_the_page_shows_it(
    stack_with_tls: Stack, probe_key: str
) -> None:
    plan = {
        "probe": "cellar",
        "provider": "Example Cable",
        "downloadMbps": SUBSCRIBED_MBPS,
        "uploadMbps": 35.0,
        "timeZone": "America/Denver",
    }
    stack_with_tls.graphql(stack_with_tls.secret("admin_key"), PLAN, plan=plan)
    for number in range(6):
        run = a_run("cellar", 120, minutes_ago=60 - 5 * number)
        assert stack_with_tls.submit(probe_key, run)["accepted"] == [run["id"]]
    query = '{ breaches(probe: "cellar") { nodes { status count reference } } }'
    data = stack_with_tls.graphql(stack_with_tls.secret("admin_key"), query)
    (breach,) = data["breaches"]["nodes"]
    assert (breach["status"], breach["count"]) == ("OPEN", 6)
    assert breach["reference"] in stack_with_tls.get("/breaches").text


def test_a_renewed_certificate_is_served_and_no_run_is_lost_meanwhile(
    stack_with_tls: Stack, probe_key: str
) -> None:
    before = certificate(stack_with_tls).serial_number
    # Certbot renews what ends within a month; here it is told that even this one is due.
    conf = "/var/lib/speedtrap/letsencrypt/config/renewal/own.conf"
    due = f"sed -i '1i renew_before_expiry = 9999 days' {conf}"
    with under_load(stack_with_tls, probe_key, "cellar") as load:
        stack_with_tls.compose("exec", "--no-TTY", "certbot", "sh", "-c", due)
        stack_with_tls.compose("restart", "certbot")
        assert becomes_true(lambda: certificate(stack_with_tls).serial_number != before), (
            stack_with_tls.compose("logs", "certbot")
        )
        again = len(load.acknowledged)
        assert becomes_true(lambda: len(load.acknowledged) > again + 5)
    assert stored(stack_with_tls, load.acknowledged) == set(load.acknowledged)


def test_the_private_key_is_in_no_log(stack_with_tls: Stack) -> None:
    told = stack_with_tls.compose("logs", "--no-color", "certbot", "gateway")
    assert "PRIVATE KEY" not in told
