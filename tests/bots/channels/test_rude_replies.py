"""Whatever bytes the other side answers with: what a channel says of it may enter ledger and log.

Every channel in the folder needs its row here: a stand-in of its other side that answers so.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from speedtrap_bots.channel import Channel, kinds
from speedtrap_bots.channels.apprise import Apprise, AppriseSettings
from speedtrap_bots.channels.mail import Mail, MailSettings
from speedtrap_bots.channels.twitter import Twitter, TwitterSettings
from speedtrap_bots.channels.webhook import Webhook, WebhookSettings
from speedtrap_bots.errors import ChannelError, said

from tests.bots.builders import a_notice, allowed
from tests.lab.mongo import free_port
from tests.lab.rude import rude_http, rude_smtp
from tests.lab.x_api import ACCESS_TOKEN, ACCESS_TOKEN_SECRET, CONSUMER_KEY, CONSUMER_SECRET, x_api

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

REPLIES = {
    "Latin-1": "Boîte aux lettres inconnue".encode("latin-1"),
    "KOI8-R": "неизвестный адрес".encode("koi8-r"),
    "a lone surrogate": "half \ud83d".encode("utf-8", "surrogatepass"),
    "an escaped surrogate": rb"half \ud83d",
    "NUL and escapes": b"no\x00 \x1b[31mred\x07",
    "line breaks": b"one\r\n2026-11-24 CRITICAL forged: two",
    "a megabyte": b"x" * 1_000_000,
    "HTML": b"<!doctype html><html><title>Log in</title><script>alert(1)</script></html>",
    "bidi": "\u202egnp.exe\u2066".encode(),
    "nothing": b"",
    "our own address": b"client host [203.0.113.5] 2001:db8::17 is blocked",
}
NOT_FOR_A_LOG = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


@contextmanager
def mail(reply: bytes, _folder: Path) -> Iterator[Channel]:
    lines = reply.split(b"\r\n")
    whole = b"\r\n".join([b"550-" + line for line in lines[:-1]] + [b"550 " + lines[-1]])
    with rude_smtp(whole) as port:
        yield Mail(
            MailSettings(
                host="127.0.0.1",
                port=port,
                tls="none",
                sender="j@h.example",
                recipient="s@i.example",
            )
        )


@contextmanager
def twitter(reply: bytes, folder: Path) -> Iterator[Channel]:
    with x_api(folder, free_port()) as x:
        quoted = json.dumps(reply.decode("latin-1")).encode()
        # As JSON where its text can be that, with the escape of a lone surrogate kept as it is.
        x.says = (403, b'{"errors": [{"message": %s}]}' % quoted.replace(rb"\\u", rb"\u"))
        yield Twitter(
            TwitterSettings.model_validate(
                {
                    "enabled": True,
                    "consumer_key": CONSUMER_KEY,
                    "consumer_secret": CONSUMER_SECRET,
                    "access_token": ACCESS_TOKEN,
                    "access_token_secret": ACCESS_TOKEN_SECRET,
                    "ca_file": x.ca_file,
                    "address": f"127.0.0.1:{x.port}",
                }
            )
        )


@contextmanager
def webhook(reply: bytes, _folder: Path) -> Iterator[Channel]:
    with rude_http(400, reply) as port:
        values = {"url": f"http://127.0.0.1:{port}/", "secret": "planted-webhook-secret"}
        yield Webhook(WebhookSettings.model_validate(values))


@contextmanager
def apprise(reply: bytes, _folder: Path) -> Iterator[Channel]:
    with rude_http(400, reply) as port:
        yield Apprise(AppriseSettings.model_validate({"urls": f"json://127.0.0.1:{port}/"}))


ROWS: dict[str, Callable[[bytes, Path], AbstractContextManager[Channel]]] = {
    "apprise": apprise,
    "mail": mail,
    "twitter": twitter,
    "webhook": webhook,
}


def assert_fit(text: str) -> None:
    assert not NOT_FOR_A_LOG.search(text), text
    assert len(text) <= 500
    assert "203.0.113.5" not in text
    assert "2001:db8" not in text


@pytest.mark.parametrize("reply", sorted(REPLIES))
@pytest.mark.parametrize("name", sorted(kinds()))
async def test_what_the_other_side_says_enters_ledger_and_log_as_one_line_of_text(
    name: str, reply: str, tmp_path: Path
) -> None:
    with ROWS[name](REPLIES[reply], tmp_path) as channel, pytest.raises(ChannelError) as caught:
        await channel.deliver(a_notice(channel=name, text="please look"), allowed)
    assert str(caught.value)
    assert_fit(str(caught.value))
    assert_fit(caught.value.reference or "")


def test_what_is_no_address_is_said_as_it_is() -> None:
    for text in ("550 5.7.1 no such user", "at 12:30:05", "Exim 4.96", "a: b", "::", "1.2.3.4.5"):
        assert said(text) == text
    assert said("from [203.0.113.5]:25, fe80::1.") == "from [(address)]:25, (address)."
