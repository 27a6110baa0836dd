"""The same stack with a domain: a certificate by itself, keys by TLS only, renewal, no gap."""

import ssl
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from cryptography import x509

from tests.compose.authority import DOMAIN
from tests.compose.load import under_load
from tests.compose.stack import Stack, becomes_true
from tests.lab.browser import log_in, running_browser
from tests.lab.smtp import SmtpServer

pytestmark = pytest.mark.system

RECIPIENT = "complaints@isp.example"


@pytest.fixture(scope="module")
def stack_with_tls(stack: Stack) -> Stack:
    """To another recipient: one a day is all that anybody gets."""
    stack.turn_to_tls(SPEEDTRAP_BOTS_MAIL_TO=RECIPIENT)
    return stack


@pytest.fixture(scope="module")
def trusting(stack_with_tls: Stack) -> ssl.SSLContext:
    """Trusts the tests' certificate authority and nobody else."""
    return ssl.create_default_context(cafile=stack_with_tls.folder / "authority" / "root.pem")


def certificate(stack: Stack) -> x509.Certificate:
    pem = ssl.get_server_certificate(("127.0.0.1", stack.tls_port), timeout=20)
    return x509.load_pem_x509_certificate(pem.encode())


def test_up_waits_for_the_certificate_and_plain_http_takes_no_key_any_more(
    stack_with_tls: Stack, trusting: ssl.SSLContext
) -> None:
    names = certificate(stack_with_tls).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert names.value.get_values_for_type(x509.DNSName) == [DOMAIN]
    with httpx.Client(verify=trusting, timeout=30) as client:
        page = client.get(f"{stack_with_tls.url}/", extensions={"sni_hostname": DOMAIN})
    assert page.status_code == 200
    assert page.headers.get_list("strict-transport-security") == ["max-age=31536000"]
    plain = f"http://127.0.0.1:{stack_with_tls.port}"
    key = {"X-API-Key": stack_with_tls.admin}
    assert httpx.get(plain, timeout=30).status_code == 308
    refused = httpx.post(f"{plain}/graphql", headers=key, timeout=30)
    assert refused.json()["error"]["code"] == "HTTPS_ONLY"


def test_the_road_by_tls_from_six_slow_runs_of_the_probe_to_one_letter(
    stack_with_tls: Stack, mail_server: SmtpServer
) -> None:
    stack = stack_with_tls
    stack.plan("home")
    (stack.folder / "slow.csv").write_text(six_slow_runs(), encoding="utf-8")
    stack.environment |= {"SPEEDTRAP_PROBE_URL": f"https://{DOMAIN}:{stack.tls_port}"}
    told = by_the_probe(stack, "import", "/slow.csv")
    assert "6 runs read" in told
    (breach,) = stack.breaches("home")
    assert (breach["status"], breach["count"]) == ("OPEN", 6)
    assert breach["reference"] in stack.get("/breaches").text

    mine = {"channel": "mail", "stage": "OPENING", "reference": breach["reference"]}
    assert becomes_true(lambda: len(stack.notices(status="PLANNED", **mine)) == 1), stack.compose(
        "logs", "bot-mail"
    )
    letters = len(mail_server.letters)
    (notice,) = stack.notices(**mine)
    approve_on_the_page(stack, notice)
    assert becomes_true(lambda: len(stack.notices(status="SENT", **mine)) == 1), stack.compose(
        "logs", "bot-mail"
    )
    # Told again of everything, bots know what was sent.
    assert "6 runs read" in by_the_probe(stack, "import", "/slow.csv")
    stack.compose("restart", "bot-mail", "graph")
    stack.up()
    assert len(stack.notices(**mine)) == 1
    (letter,) = mail_server.letters[letters:]
    assert (letter.over_tls, letter.recipients) == (True, (RECIPIENT,))
    assert breach["reference"] in str(letter.message["Subject"])


def six_slow_runs() -> str:
    """As the probe's own table has them."""
    head = (
        "timestamp,run_id,probe,tool,download_mbps,upload_mbps,"
        "latency_ms,jitter_ms,packet_loss_ratio,server,failure"
    )
    now = datetime.now(UTC).replace(microsecond=0)
    moments = [now - timedelta(minutes=60 - 5 * number) for number in range(6)]
    rows = [f"{moment.isoformat()},{uuid4()},home,turnkey,120.5,,,,,," for moment in moments]
    return "\n".join([head, *rows]) + "\n"


def by_the_probe(stack: Stack, *words: str) -> str:
    """`speedtrap-probe …` in the container of the profile, with the key of `secrets init`."""
    mount = f"{stack.folder}/slow.csv:/slow.csv:ro"
    command = ("run", "--rm", "--no-TTY", "--volume", mount, "probe", "speedtrap-probe", *words)
    return stack.compose("--profile", "probe", *command)


def approve_on_the_page(stack: Stack, notice: dict[str, Any]) -> None:
    """In a real browser, as the subscriber: log in, read, approve."""
    page_url = f"https://{DOMAIN}:{stack.tls_port}"
    with running_browser(f"--host-resolver-rules=MAP {DOMAIN} 127.0.0.1") as browser:
        # Nobody but this test knows the authority; the chain was looked at before.
        page = browser.new_context(ignore_https_errors=True).new_page()
        log_in(page, page_url, stack.admin)
        page.goto(f"{page_url}/notices/{notice['id']}")
        assert notice["subject"] in page.inner_text("main")
        page.click("#approve")
        page.wait_for_load_state()


def test_a_renewed_certificate_is_served_and_no_run_is_lost_meanwhile(
    stack_with_tls: Stack, probe_key: str
) -> None:
    before = certificate(stack_with_tls).serial_number
    # Certbot renews what ends within a month; here it is told that even this one is due.
    conf = "/var/lib/speedtrap/letsencrypt/config/renewal/own.conf"
    due = f"sed -i '1i renew_before_expiry = 9999 days' {conf}"
    with under_load(stack_with_tls, probe_key) as load:
        stack_with_tls.compose("exec", "--no-TTY", "certbot", "sh", "-c", due)
        stack_with_tls.compose("restart", "certbot")
        assert becomes_true(lambda: certificate(stack_with_tls).serial_number != before), (
            stack_with_tls.compose("logs", "certbot")
        )
        assert load.goes_on()
    load.check()


def said_by_certbot(stack: Stack, **settings: str) -> str:
    """What the log of the certbot service says until it rests, with a state of its own."""
    told = {"SPEEDTRAP_CERTBOT_STATE": "/tmp/state", **settings}  # noqa: S108 - in a container
    named = [word for name, value in told.items() for word in ("--env", f"{name}={value}")]
    until_it_rests = (
        "python3 /opt/speedtrap/certificates.py >/tmp/said 2>&1 & "
        "until grep -q 'next try' /tmp/said; do sleep 1; done; cat /tmp/said"
    )
    once = ("run", "--rm", "--no-deps", "--no-TTY", *named, "--entrypoint", "sh", "certbot")
    return stack.compose(*once, "-c", until_it_rests)


@pytest.mark.parametrize(
    ("domain", "told"),
    [
        ("nobody.invalid", "DNS: nobody.invalid has no address. Make an A record"),
        ("pebble", "Port 80: nothing answers at pebble ("),
    ],
)
def test_what_keeps_a_certificate_away_is_said_with_what_to_do(
    stack_with_tls: Stack, domain: str, told: str
) -> None:
    said = said_by_certbot(stack_with_tls, SPEEDTRAP_DOMAIN=domain)
    assert told in said
    assert "next try in 60 minutes" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("staging", "asked"),
    [
        ("true", "acme-staging-v02.api.letsencrypt.org"),
        ("false", "acme-v02.api.letsencrypt.org"),
    ],
)
def test_the_switch_says_which_of_lets_encrypts_doors_is_asked(
    stack_with_tls: Stack, staging: str, asked: str
) -> None:
    """By a proxy that is not there, so that nobody is asked in earnest."""
    said = said_by_certbot(
        stack_with_tls,
        SPEEDTRAP_ACME_SERVER="",
        SPEEDTRAP_ACME_STAGING=staging,
        HTTPS_PROXY="http://127.0.0.1:9",
    )
    assert f"host='{asked}'" in said


def test_the_private_key_is_in_no_log(stack_with_tls: Stack) -> None:
    told = stack_with_tls.compose("logs", "--no-color", "certbot", "gateway")
    assert "PRIVATE KEY" not in told
