"""Hostile receivers and mail servers: none holds a channel, fills memory or delays the others."""

import asyncio
import contextlib
import gzip
from collections.abc import Sequence
from pathlib import Path

import pytest
from speedtrap_bots.channel import Channel
from speedtrap_bots.channels.mail import Mail, MailSettings
from speedtrap_bots.channels.webhook import Webhook, WebhookSettings
from speedtrap_bots.errors import ChannelError, Unavailable
from speedtrap_bots.model import Notice

from tests.bots.builders import a_notice, allowed
from tests.bots.channels.letters import a_letter_notice
from tests.lab.apart import hostile_servers
from tests.lab.beside import MOST_KEPT_BYTES, MOST_RATIO, beside
from tests.lab.hostile import HTTP, SMTP
from tests.lab.mongo import free_port
from tests.lab.receiver import running_receiver
from tests.lab.smtp import smtp_server

LEAST_P99_S = 0.25
"""Nobody waits for a channel: a letter that goes out a quarter of a second later is in time."""
AT_ONCE = 4
WITHIN_S = 1.5
"""A worker gives a channel some seconds more."""
SECRET = "a secret that is long enough"


def webhook(url: str, timeout_s: float = 0.5) -> Webhook:
    values = {"url": url, "secret": SECRET, "timeout_s": timeout_s}
    return Webhook(WebhookSettings.model_validate(values))


def mail(port: int) -> Mail:
    values = {
        "host": "127.0.0.1",
        "port": port,
        "tls": "none",
        "sender": "me@home.example",
        "recipient": "support@isp.example",
    }
    settings = MailSettings.model_validate(values)
    short = {"prelude_timeout_s": 1.0, "verdict_timeout_s": 1.0}
    return Mail(settings.model_copy(update=short))


async def delivered(channel: Channel, notice: Notice, free: asyncio.Semaphore) -> None:
    """As a worker does it, within the channel's own time; what comes is an error it knows."""
    async with free:
        with contextlib.suppress(ChannelError, TimeoutError):
            async with asyncio.timeout(WITHIN_S):
                await channel.deliver(notice, allowed)


async def attacked(channels: Sequence[Channel], notice: Notice) -> None:
    free = asyncio.Semaphore(AT_ONCE)
    await asyncio.gather(*(delivered(channel, notice, free) for channel in channels))


async def test_no_receiver_holds_the_webhook_or_delays_another() -> None:
    with running_receiver() as good, hostile_servers([*HTTP]) as urls:
        well = webhook(good.url, timeout_s=30.0)

        async def ask() -> None:
            assert await well.deliver(a_notice(), allowed) == "the webhook answered 204"

        channels = [webhook(url) for url in urls.values()]
        for channel in channels:
            assert channel._tls is not None, "each worker has made its own at its first delivery"
        fared = await beside(ask, lambda: attacked(channels, a_notice()), least_p99_s=LEAST_P99_S)
    assert fared.ratio <= MOST_RATIO, fared
    assert fared.grown_bytes <= MOST_KEPT_BYTES, fared


async def test_no_mail_server_holds_the_mail_or_delays_another(tmp_path: Path) -> None:
    with (
        smtp_server(tmp_path, free_port(), tls="none") as good,
        hostile_servers([*SMTP]) as urls,
    ):
        notice = a_letter_notice()
        well = mail(good.port)

        async def ask() -> None:
            await well.deliver(a_notice(), allowed)

        channels = [mail(int(url.rpartition(":")[2])) for url in urls.values()]
        fared = await beside(ask, lambda: attacked(channels, notice), least_p99_s=LEAST_P99_S)
    assert fared.ratio <= MOST_RATIO, fared
    assert fared.grown_bytes <= MOST_KEPT_BYTES, fared


async def test_what_a_receiver_packs_is_not_unpacked() -> None:
    """A few kilobytes of gzip make as many megabytes."""
    page = b"<!doctype html>" + bytes(64 << 20)
    with running_receiver() as receiver:
        receiver.answers, receiver.media_type = [200], "text/html"
        receiver.encoding, receiver.body = "gzip", gzip.compress(page)
        assert (
            await webhook(receiver.url).deliver(a_notice(), allowed) == "the webhook answered 200"
        )
        receiver.answers, receiver.encoding, receiver.body = [200], "", page[:1000]
        with pytest.raises(Unavailable, match="HTML page"):
            await webhook(receiver.url).deliver(a_notice(), allowed)
