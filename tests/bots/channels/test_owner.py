"""The subscriber is told by webhook and apprise, against a real HTTP server on loopback."""

import hashlib
import hmac
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from speedtrap_bots.channels.apprise import Apprise, AppriseSettings
from speedtrap_bots.channels.webhook import SIGNATURE, TIMESTAMP, Webhook, WebhookSettings
from speedtrap_bots.delivery.lease import Lease, now_s
from speedtrap_bots.errors import ChannelError, Refused, Unavailable, Unknown
from speedtrap_bots.model import Stage

from tests.bots.builders import a_breach, a_notice, allowed
from tests.bots.hostile import STRINGS, a_hostile_breach
from tests.lab.mongo import free_port
from tests.lab.rude import rude_http

SECRET = "planted-webhook-secret"

# apprise imports it where it is there, which is up to Python 3.12.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


@dataclass
class Receiver:
    """Answers every POST with `status`; 0 hangs up without a word."""

    port: int
    status: int = 204
    heard: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/planted-path"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    lab = Receiver(free_port())

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            lab.heard.append(({k.lower(): v for k, v in self.headers.items()}, body))
            if lab.status:
                self.send_response(lab.status)
                self.send_header("content-length", "0")
                self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", lab.port), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield lab
    server.shutdown()
    server.server_close()
    thread.join()


def webhook(receiver: Receiver, **changes: object) -> Webhook:
    values = {"url": receiver.url, "secret": SECRET, **changes}
    return Webhook(WebhookSettings.model_validate(values))


async def test_the_receiver_can_check_who_wrote(receiver: Receiver) -> None:
    assert await webhook(receiver).deliver(a_notice(), allowed) == "the webhook answered 204"
    [(headers, body)] = receiver.heard
    expected = hmac.new(
        SECRET.encode(), f"{headers[TIMESTAMP.lower()]}.".encode() + body, hashlib.sha256
    )
    assert headers[SIGNATURE.lower()] == f"v1={expected.hexdigest()}"
    assert headers["idempotency-key"] == "n1"
    assert json.loads(body)["reference"] == "ST-7K2M9Q"


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, Refused), (302, Refused), (401, Unavailable), (503, Unavailable), (0, Unknown)],
)
async def test_how_a_webhook_ended_is_told_apart(
    receiver: Receiver, status: int, error: type[ChannelError]
) -> None:
    receiver.status = status
    with pytest.raises(ChannelError) as caught:
        await webhook(receiver).deliver(a_notice(), allowed)
    assert type(caught.value) is error
    assert "planted" not in str(caught.value)
    assert len(receiver.heard) == 1


async def test_a_login_page_with_200_is_no_receipt_and_a_word_in_plain_html_is_one() -> None:
    page = b" <!DOCTYPE html><html><title>Log in</title></html>" + b"x" * 1_000_000
    with rude_http(200, page, "text/html") as port:
        to = Receiver(port)
        with pytest.raises(Unavailable, match="200 with an HTML page"):
            await webhook(to).deliver(a_notice(), allowed)
    with rude_http(200, b"ok", "text/html") as port:
        assert await webhook(Receiver(port)).deliver(a_notice(), allowed)


async def test_a_webhook_that_is_away_is_tried_later(receiver: Receiver) -> None:
    away = webhook(receiver, url=f"http://127.0.0.1:{free_port()}/planted-path")
    with pytest.raises(Unavailable, match="cannot be reached"):
        await away.deliver(a_notice(), allowed)


async def test_the_guides_example_tells_ours_from_anothers(receiver: Receiver) -> None:
    """The receiver's side, as docs/bots.md writes it."""
    guide = (Path(__file__).parents[3] / "docs/bots.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    names: dict[str, Any] = {}
    exec(example, names)  # noqa: S102 - our own guide, which is what is tested
    await webhook(receiver).deliver(a_notice(), allowed)
    [(headers, body)] = receiver.heard
    assert names["is_ours"](SECRET, headers, body)
    assert not names["is_ours"](SECRET, headers, body + b" ")
    assert not names["is_ours"]("another-secret-of-16", headers, body)
    yesterday = {**headers, TIMESTAMP.lower(): str(int(time.time()) - 86_400)}
    assert not names["is_ours"](SECRET, yesterday, body)


@pytest.mark.parametrize("channel", ["webhook", "apprise"])
async def test_a_worker_that_slept_over_its_lease_tells_nobody(
    receiver: Receiver, channel: str
) -> None:
    lease = Lease(now_s() - 60, 30)
    urls = {"urls": f"json://127.0.0.1:{receiver.port}/"}
    opened = (
        webhook(receiver) if channel == "webhook" else Apprise(AppriseSettings.model_validate(urls))
    )
    with pytest.raises(Unavailable, match="its lease is over"):
        await opened.deliver(a_notice(), lease.may_send)
    assert receiver.heard == []


@pytest.mark.parametrize("url", ["http://example.org/x", "ftp://127.0.0.1/", "nonsense"])
def test_a_webhook_is_never_in_clear_over_the_net(url: str) -> None:
    with pytest.raises(ValidationError, match="must be an https address"):
        WebhookSettings.model_validate({"url": url, "secret": SECRET})


async def test_apprise_tells_the_subscriber(receiver: Receiver) -> None:
    url = f"json://127.0.0.1:{receiver.port}/planted-path"
    apprise = Apprise(AppriseSettings.model_validate({"urls": url}))
    assert apprise.recipient == "subscriber"
    content = apprise.write(a_breach(), Stage.OPENING)
    notice = a_notice(subject=content.subject, text=content.text)
    await apprise.deliver(notice, allowed)
    [(_, body)] = receiver.heard
    assert json.loads(body)["title"].startswith("Your Example Cable line is slow")
    assert "ST-7K2M9Q" in json.loads(body)["message"]


@pytest.mark.parametrize("name", ["mention", "html", "line break"])
async def test_what_a_hostile_probe_says_reaches_a_chat_as_it_was_cleaned(
    receiver: Receiver, name: str
) -> None:
    apprise = Apprise(AppriseSettings.model_validate({"urls": f"json://127.0.0.1:{receiver.port}"}))
    content = apprise.write(a_hostile_breach(STRINGS[name]), Stage.OPENING)
    await apprise.deliver(a_notice(subject=content.subject, text=content.text), allowed)
    [(_, body)] = receiver.heard
    told = json.loads(body)
    assert told["title"] == content.subject
    assert told["message"].split() == content.text.split()
    assert "@" not in told["title"] + told["message"]


@pytest.mark.parametrize(("repeat", "error"), [(True, Unavailable), (False, Unknown)])
async def test_whether_to_tell_again_is_the_subscribers_choice(
    receiver: Receiver, repeat: bool, error: type[ChannelError]
) -> None:
    receiver.status = 500
    url = f"json://127.0.0.1:{receiver.port}/"
    settings = AppriseSettings.model_validate({"urls": url, "repeat": repeat})
    with pytest.raises(error):
        await Apprise(settings).deliver(a_notice(), allowed)


async def test_an_address_that_took_it_is_told_once_and_a_dead_one_at_most_six_times(
    receiver: Receiver,
) -> None:
    """As often as the worker and the ledger would hand it over again."""
    dead = free_port()
    urls = f"json://127.0.0.1:{receiver.port}/planted json://127.0.0.1:{dead}/planted"
    apprise = Apprise(AppriseSettings.model_validate({"urls": urls}))
    reference = None
    for attempts in range(5):
        notice = a_notice(attempts=attempts, external_reference=reference)
        with pytest.raises(Unavailable, match=r"address 2 \(json\)") as caught:
            await apprise.deliver(notice, allowed)
        reference = caught.value.reference
        assert reference is not None
        assert "planted" not in reference + str(caught.value)
    last = await apprise.deliver(a_notice(attempts=5, external_reference=reference), allowed)
    assert last.reference == reference
    assert "address 2 (json), in 6 attempts; the others have it" in (last.detail or "")
    assert len(receiver.heard) == 1


async def test_a_notice_that_no_address_takes_is_dead_in_the_end(receiver: Receiver) -> None:
    receiver.status = 500
    urls = {"urls": f"json://127.0.0.1:{receiver.port}/"}
    apprise = Apprise(AppriseSettings.model_validate(urls))
    with pytest.raises(Refused, match=r"address 1 \(json\), in 6 attempts"):
        await apprise.deliver(a_notice(attempts=5), allowed)


def test_an_address_that_apprise_does_not_know_is_not_shown() -> None:
    settings = AppriseSettings.model_validate({"urls": "planted://secret"})
    with pytest.raises(ValueError, match="does not understand address 1") as caught:
        Apprise(settings)
    assert "planted" not in str(caught.value)
