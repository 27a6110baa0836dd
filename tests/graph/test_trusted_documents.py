"""Where the operator lists the page's documents, a viewer's key runs those and nothing else."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError
from speedtrap_graph.settings import GraphSettings
from speedtrap_web.cli import app
from speedtrap_web.graphql.client import load_operations
from typer.testing import CliRunner

from tests.lab.mongo import Mongod, fresh_database
from tests.lab.service import Service, running_service
from tests.lab.wire import socket

ME = load_operations()["me"].document
BY_HAND = "{ me { name } }"


@pytest.fixture(scope="module")
def service(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("trusted")
    manifest = folder / "documents.json"
    manifest.write_text(CliRunner().invoke(app, ["documents"]).output, encoding="utf-8")
    with (
        fresh_database(mongod) as database,
        running_service(
            mongod, database, folder, SPEEDTRAP_GRAPH_TRUSTED_DOCUMENTS=str(manifest)
        ) as running,
    ):
        yield running


def named(document: str) -> dict[str, Any]:
    digest = hashlib.sha256(document.encode()).hexdigest()
    return {"persistedQuery": {"version": 1, "sha256Hash": digest}}


def ask(service: Service, role: str, **body: Any) -> dict[str, Any]:
    response = httpx.post(
        f"{service.base_url}/graphql", headers={"X-API-Key": service.keys[role]}, json=body
    )
    answer: dict[str, Any] = response.json()
    return answer


def test_a_listed_document_runs_by_its_text(service: Service) -> None:
    assert service.query(ME, role="viewer")["me"]["name"] == "page"


def test_a_listed_document_runs_by_its_digest_alone(service: Service) -> None:
    for role in ("viewer", "admin"):
        assert ask(service, role, extensions=named(ME))["data"]["me"]["role"] == role.upper()


def test_any_other_document_is_refused_with_what_would_do(service: Service) -> None:
    for document in (BY_HAND, ME + " ", "{ __schema { types { name } } }"):
        (error,) = service.post(document, role="viewer")["errors"]
        assert error["extensions"] == {
            "code": "UNTRUSTED_DOCUMENT", "field": "query", "allowed": ["PROBE", "BOT", "ADMIN"]
        }  # fmt: skip


def test_a_digest_beside_a_document_lends_it_no_trust(service: Service) -> None:
    answer = ask(service, "viewer", query=BY_HAND, extensions=named(ME))
    assert answer["errors"][0]["extensions"]["code"] == "UNTRUSTED_DOCUMENT"


def test_an_unknown_digest_is_told_as_clients_know_it(service: Service) -> None:
    answer = ask(service, "viewer", extensions=named(BY_HAND))
    assert answer["errors"][0]["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"


@pytest.mark.parametrize("role", ["admin", "bot", "probe"])
def test_other_roles_ask_what_they_like(service: Service, role: str) -> None:
    assert service.query(BY_HAND, role=role)["me"]["name"]


async def test_a_socket_is_held_to_the_list_too(service: Service) -> None:
    async with socket(service, {"X-API-Key": service.keys["viewer"]}) as opened:
        payload: dict[str, Any] = {"query": "", "extensions": named(ME)}
        await opened.send({"id": "1", "type": "subscribe", "payload": payload})
        assert (await opened.next_data())["me"]["role"] == "VIEWER"
        assert (await opened.receive())["type"] == "complete"
        refused: list[tuple[dict[str, Any], str]] = [
            ({"query": "subscription { runs { id } }"}, "UNTRUSTED_DOCUMENT"),
            ({"query": BY_HAND}, "UNTRUSTED_DOCUMENT"),
            ({"query": "", "extensions": named(BY_HAND)}, "PERSISTED_QUERY_NOT_FOUND"),
        ]
        for key, (asked, code) in enumerate(refused):
            await opened.send({"id": f"no{key}", "type": "subscribe", "payload": asked})
            message = await opened.receive()
            errors = message["payload"]
            errors = errors if message["type"] == "error" else errors["errors"]
            assert errors[0]["extensions"]["code"] == code
            if message["type"] == "next":
                assert (await opened.receive())["type"] == "complete"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "is not JSON"),
        ("[]", "must hold a JSON object"),
        (json.dumps({"ab" * 32: "{ me { name } }"}), "is not its document's SHA-256"),
    ],
)
def test_a_list_that_is_no_good_is_refused_at_the_start(
    tmp_path: Path, content: str, complaint: str
) -> None:
    file = tmp_path / "documents.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ValidationError, match=complaint):
        GraphSettings(callers="gateway", trusted_documents=file)
