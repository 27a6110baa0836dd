"""Hostile receivers of exported runs: none holds an exporter, fills memory or delays the others."""

import asyncio
import contextlib
import gzip
from collections.abc import Callable

import pytest
from pydantic import SecretStr
from speedtrap_graph.exporters.mqtt import Mqtt, MqttSettings
from speedtrap_graph.exporters.webhook import Webhook, WebhookSettings
from speedtrap_graph.services.upkeep.pump import Exporter, NotTakenError
from speedtrap_graph.store.database import Row, Store

from tests.graph.exporting import submit
from tests.graph.test_exporters_answers import BY_HTTP, webhook
from tests.lab.apart import hostile_servers
from tests.lab.beside import MOST_KEPT_BYTES, MOST_RATIO, beside
from tests.lab.hostile import HTTP, MQTT
from tests.lab.receiver import running_receiver
from tests.lab.runs import a_run

AT_ONCE = 4
WITHIN_S = 1.5
UNBOUNDED = {"a packet beyond measure", "a message beyond measure"}
"""The library takes a packet of 256 MB from a broker, until its time-out (docs/security.md)."""


def mqtt(url: str) -> Exporter:
    return Mqtt(MqttSettings(mqtt_url=f"mqtt://{url.partition('//')[2]}", mqtt_timeout_s=0.5))


EXPORTERS: dict[str, Callable[[str], Exporter]] = {**BY_HTTP, "mqtt": mqtt}


@pytest.fixture
async def run(store: Store) -> Row:
    [key] = await submit(store, a_run())
    row = await store["runs"].find_one({})
    assert row is not None
    assert str(row["_id"]) == key
    return row


async def handed_over(exporter: Exporter, run: Row) -> None:
    async with exporter.connected() as sender:
        await sender.send([run], {})


@pytest.mark.parametrize("name", sorted(EXPORTERS))
async def test_no_receiver_holds_an_exporter_or_delays_another(name: str, run: Row) -> None:
    free = asyncio.Semaphore(AT_ONCE)

    async def attacked(url: str) -> None:
        async with free:
            # Some habits end with an answer that is one: what counts is that they end.
            with contextlib.suppress(NotTakenError, TimeoutError):
                async with asyncio.timeout(WITHIN_S):
                    await handed_over(EXPORTERS[name](url), run)

    names = sorted(MQTT.keys() - UNBOUNDED) if name == "mqtt" else [*HTTP]
    with running_receiver() as good, hostile_servers(names) as urls:
        async with webhook(good.url).connected() as well:

            async def attack() -> None:
                await asyncio.gather(*(attacked(url) for url in urls.values()))

            fared = await beside(lambda: well.send([run], {}), attack)
    assert fared.ratio <= MOST_RATIO, fared
    assert fared.grown_bytes <= MOST_KEPT_BYTES, fared


async def test_a_receiver_that_never_comes_to_the_point_is_left_at_a_bound(run: Row) -> None:
    """And not at its time-out: a gigabit brings gigabytes until then."""
    settings = WebhookSettings(
        webhook_url=SecretStr("http://127.0.0.1:1"),
        webhook_secret=SecretStr("a secret that is long enough"),
        webhook_timeout_s=60,
    )
    with hostile_servers(["100 Continue for ever", "a header without end"]) as urls:
        for url in urls.values():
            exporter = Webhook(settings.model_copy(update={"webhook_url": SecretStr(url)}))
            with pytest.raises(NotTakenError, match="no answer"):
                await handed_over(exporter, run)


@pytest.mark.parametrize("name", sorted(BY_HTTP))
async def test_what_a_receiver_packs_is_not_unpacked(name: str, run: Row) -> None:
    """A few kilobytes of gzip make as many megabytes."""
    with running_receiver() as receiver:
        receiver.answers = [500]
        receiver.encoding, receiver.body = "gzip", gzip.compress(b"a reason" + bytes(64 << 20))
        with pytest.raises(NotTakenError, match=r"^it answered 500$"):
            await handed_over(BY_HTTP[name](receiver.url), run)
