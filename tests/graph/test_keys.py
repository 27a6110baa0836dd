"""Whoever has a key is listed with when it was last used, and nobody with the key itself."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from speedtrap_graph.services.probes.key_uses import CALLERS, EVERY, KeyUses, last_seen
from speedtrap_graph.store.database import Store

from tests.lab.mongo import Mongod
from tests.lab.service import Service, make_service
from tests.lab.waiting import until
from tests.lab.wire import socket

KEYS = "{ keys { name role lastSeenAt } }"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def seen(service: Service) -> dict[str, Any]:
    keys = service.query(KEYS)["keys"]
    return {f"{key['name']}:{key['role']}": key["lastSeenAt"] for key in keys}


async def test_every_key_is_listed_with_when_it_was_last_used(service: Service) -> None:
    service.query("{ me { name } }", role="viewer")
    async with socket(service, {"X-API-Key": service.keys["bot"]}):
        pass
    await until(lambda: all(map(seen(service).get, ("page:VIEWER", "postman:BOT"))), timeout_s=30)
    found = seen(service)
    assert found.keys() == {"laptop:PROBE", "operator:ADMIN", "page:VIEWER", "postman:BOT"}
    assert found["laptop:PROBE"] is None
    assert not [key for key in service.keys.values() if key in json.dumps(found)]


def test_behind_the_gateway_everybody_who_was_heard_of_is_listed(
    mongod: Mongod, database_name: str, tmp_path: Path
) -> None:
    made = make_service(mongod, database_name, tmp_path, SPEEDTRAP_GRAPH_CALLERS="gateway")
    without = {name: made.settings[name] for name in made.settings if "KEYS_FILE" not in name}
    service = replace(made, settings=without)

    def ask(caller: str) -> list[dict[str, Any]]:
        headers = {"X-Speedtrap-Caller": caller}
        answer = httpx.post(f"{service.base_url}/graphql", headers=headers, json={"query": KEYS})
        found: list[dict[str, Any]] = (answer.json()["data"] or {}).get("keys", [])
        return found

    service.start()
    try:
        ask("desk:viewer")
        names: set[str] = set()
        while len(names) < 2:
            names |= {key["name"] for key in ask("boss:admin")}
        assert names == {"desk", "boss"}
    finally:
        service.stop()


async def test_a_caller_is_written_down_once_in_ten_minutes_by_all_copies(store: Store) -> None:
    copies = [KeyUses(), KeyUses()]
    written = []
    for second in range(0, 1300, 50):
        now = NOON + timedelta(seconds=second)
        for copy in copies:
            copy.note("page", "VIEWER", now)
            await copy.write(store)
        written.append((await last_seen(store))["page", "VIEWER"])
    assert sorted(set(written)) == [NOON, NOON + EVERY, NOON + 2 * EVERY]
    row = await store[CALLERS].find_one({})
    assert row is not None
    assert row.keys() == {"_id", "name", "role", "last_seen_at"}


@pytest.mark.parametrize("role", ["probe", "viewer", "bot"])
def test_only_an_admin_sees_who_has_a_key(service: Service, role: str) -> None:
    answer = service.post(KEYS, role=role)
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
