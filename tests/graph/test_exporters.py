"""Runs leave by webhook: each at least once, whatever fails meanwhile."""

import asyncio
import hashlib
import hmac
import json
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError
from speedtrap_graph.exporters.webhook import Webhook, WebhookSettings
from speedtrap_graph.store.database import Store

from tests.graph.exporting import exporting, started, submit
from tests.lab.receiver import Receiver, running_receiver
from tests.lab.runs import a_run
from tests.lab.waiting import until

SECRET = "a secret that is long enough"


def webhook(receiver: Receiver) -> Webhook:
    return Webhook(
        WebhookSettings(webhook_url=SecretStr(receiver.url), webhook_secret=SecretStr(SECRET))
    )


def keys(receiver: Receiver) -> list[str]:
    return [request.headers["idempotency-key"] for request in receiver.taken]


async def test_every_run_is_posted_signed_and_with_its_id_as_key(store: Store) -> None:
    with running_receiver() as receiver:
        async with exporting(store, webhook(receiver)):
            await started(store, "webhook")
            [run] = await submit(store, a_run(123.4))
            await until(lambda: bool(receiver.taken))
    request = receiver.taken[0]
    stamped = request.headers["x-speedtrap-timestamp"].encode() + b"." + request.body
    signature = hmac.new(SECRET.encode(), stamped, hashlib.sha256).hexdigest()
    assert request.headers["x-speedtrap-signature"] == f"v1={signature}"
    assert request.headers["idempotency-key"] == run
    body = json.loads(request.body)
    assert (body["id"], body["outcome"]) == (run, "MEASURED")
    assert body["measurements"][0]["downloadMbps"] == 123.4
    assert "jitterMs" not in body["measurements"][0]


async def test_what_is_not_taken_comes_again_and_in_order(store: Store) -> None:
    with running_receiver() as receiver:
        async with exporting(store, webhook(receiver)):
            await started(store, "webhook")
            receiver.answers = [503, 429, 401, 302]
            runs = [*(await submit(store, a_run())), *(await submit(store, a_run()))]
            await until(lambda: len(receiver.taken) == 2)
    assert keys(receiver) == runs


async def test_a_run_that_is_refused_does_not_stop_the_others(store: Store) -> None:
    with running_receiver() as receiver:
        exporter = webhook(receiver)
        async with exporting(store, exporter):
            await started(store, "webhook")
        bad, *good = await submit(store, a_run(), a_run(), a_run())
        receiver.refuses = lambda request: request.headers["idempotency-key"] == bad
        async with exporting(store, exporter):
            await until(lambda: len(set(keys(receiver))) == 2)
    assert set(keys(receiver)) == set(good)


async def test_a_copy_that_starts_later_goes_on_where_the_last_one_was(store: Store) -> None:
    with running_receiver() as receiver:
        exporter = webhook(receiver)
        async with exporting(store, exporter):
            await started(store, "webhook")
        runs = await submit(store, *(a_run() for _ in range(7)))
        async with exporting(store, exporter), exporting(store, exporter):
            await until(lambda: len(receiver.taken) >= 7)
    assert set(keys(receiver)) == set(runs)


async def test_runs_are_found_again_when_the_oplog_no_longer_reaches_back(store: Store) -> None:
    with running_receiver() as receiver:
        exporter = webhook(receiver)
        async with exporting(store, exporter):
            await started(store, "webhook")
        runs = await submit(store, *(a_run() for _ in range(3)))
        of_another_database = {"_data": "8265F0000000000001"}
        await store["exports"].update_one({}, {"$set": {"token": of_another_database}})
        async with exporting(store, exporter):
            await until(lambda: len(receiver.taken) >= 3)
    assert set(keys(receiver)) == set(runs)


async def test_runs_of_many_probes_at_once_all_arrive(store: Store) -> None:
    with running_receiver() as receiver:
        async with exporting(store, webhook(receiver)):
            await started(store, "webhook")
            sent = await asyncio.gather(
                *(submit(store, a_run(probe=f"p{place % 5}")) for place in range(40))
            )
            await until(lambda: len(receiver.taken) >= 40)
    assert set(keys(receiver)) == {run for runs in sent for run in runs}


async def test_a_secret_that_is_away_for_a_while_ends_nothing(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    with running_receiver() as receiver:
        settings = WebhookSettings(webhook_url=SecretStr(receiver.url), webhook_secret_file=secret)
        async with exporting(store, Webhook(settings)):
            await started(store, "webhook")
            secret.unlink()
            [run] = await submit(store, a_run())
            await until(lambda: "WEBHOOK_SECRET_FILE cannot be read (No such" in caplog.text)
            secret.write_text(SECRET)
            await until(lambda: bool(receiver.taken))
    assert keys(receiver) == [run]


def test_a_secrets_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ValidationError, match="WEBHOOK_SECRET_FILE: there is no file none"):
        WebhookSettings(
            webhook_url=SecretStr("https://example.org/"), webhook_secret_file=Path("none")
        )


@pytest.mark.parametrize("url", ["http://example.org/", "ftp://127.0.0.1/", "https://"])
def test_an_unsafe_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValidationError, match="https address") as refused:
        WebhookSettings(webhook_url=SecretStr(url), webhook_secret=SecretStr(SECRET))
    assert SECRET not in str(refused.value)
