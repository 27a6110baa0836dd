"""What a receiver answers that is not "taken", for every exporter by HTTP, with its reason."""

import re
from collections.abc import Callable

import pytest
from pydantic import SecretStr
from speedtrap_graph.exporters import MOST_READ_BYTES, Answer, kinds
from speedtrap_graph.exporters.influx import Influx, InfluxSettings
from speedtrap_graph.exporters.webhook import Webhook, WebhookSettings
from speedtrap_graph.services.upkeep.pump import Exporter
from speedtrap_graph.store.database import Store

from tests.graph.exporting import exporting, started, submit
from tests.lab.receiver import running_receiver
from tests.lab.runs import a_run
from tests.lab.waiting import until

LOGIN = b"<!doctype html><html><title>Log in</title><form action='/login'></form></html>"


def influx(url: str) -> Exporter:
    settings = InfluxSettings(
        influx_url=url, influx_bucket="b", influx_token=SecretStr("planted-token")
    )
    return Influx(settings)


def webhook(url: str) -> Exporter:
    secret = SecretStr("a secret that is long enough")
    return Webhook(
        WebhookSettings(webhook_url=SecretStr(f"{url}/planted-path"), webhook_secret=secret)
    )


BY_HTTP: dict[str, Callable[[str], Exporter]] = {"influx": influx, "webhook": webhook}
EVERY = pytest.mark.parametrize("name", sorted(kinds().keys() - {"mqtt"}))
"""MQTT has no such answers: a broker acknowledges a message, or it does not."""


@EVERY
async def test_a_login_page_with_200_has_taken_nothing(
    store: Store, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with running_receiver() as receiver:
        receiver.body, receiver.media_type = LOGIN, "text/html; charset=utf-8"
        async with exporting(store, BY_HTTP[name](receiver.url)):
            await started(store, name)
            receiver.answers = [200, 200]
            await submit(store, a_run())
            await until(lambda: bool(receiver.taken))
    assert len([r for r in caplog.records if "200 (an HTML page)" in r.getMessage()]) == 2


@EVERY
@pytest.mark.parametrize(("status", "words"), [(400, "is left out"), (503, "again in")])
async def test_a_refusal_is_logged_with_its_reason_and_no_secret(
    store: Store, name: str, status: int, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    with running_receiver() as receiver:
        reason = rb"no field\r\n2026 forged at /planted-path by planted-token\u2028 \ud83d"
        receiver.body = b'{"code": "invalid", "message": "%s"}' % reason
        async with exporting(store, BY_HTTP[name](receiver.url)):
            await started(store, name)
            receiver.answers = [status]
            await submit(store, a_run())
            await until(lambda: f"answered {status} (" in caplog.text)
    [said] = {r.getMessage() for r in caplog.records if f"answered {status} (" in r.getMessage()}
    assert words in said
    assert "no field 2026 forged at" in said
    assert said.encode()
    assert "planted-" + ("token" if name == "influx" else "path") not in said


async def test_influx_has_written_only_when_it_says_so_by_204(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with running_receiver() as receiver:
        async with exporting(store, influx(receiver.url)):
            await started(store, "influx")
            receiver.answers = [200, 202]
            await submit(store, a_run())
            await until(lambda: bool(receiver.taken))
    assert re.search("it answered 202, where a write is answered by 204", caplog.text)


def test_of_a_long_answer_the_beginning_is_enough() -> None:
    words = Answer(500, "text/plain", "x" * MOST_READ_BYTES).words()
    assert len(words) < 350
