"""Asking the service from the command line: one packaged document at a time."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from speedtrap_up.errors import UpError

OPERATIONS = Path(__file__).with_name("operations")
TIMEOUT_S = 20
ANSWER_LIMIT = 8 * 2**20


def ask(url: str, key: str, operation: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """The answer's `data`; whatever else comes back is raised in words."""
    query = (OPERATIONS / f"{operation}.graphql").read_text(encoding="utf-8")
    endpoint = f"{url.rstrip('/')}/graphql"
    try:
        status, text = asyncio.run(_post(endpoint, key, {"query": query, "variables": variables}))
        body = json.loads(text)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise UpError(
            f"--url: {url!r} is not an address such as https://speedtrap.example"
        ) from error
    except TimeoutError as error:
        raise UpError(f"--url: {endpoint} did not answer within {TIMEOUT_S} s") from error
    except (httpx.HTTPError, ValueError, RecursionError) as error:
        raise UpError(f"--url: speedtrap does not answer at {endpoint}: {error}") from error
    if status == httpx.codes.UNAUTHORIZED:
        raise UpError(f"{endpoint} does not know this key; see: speedtrap keys list")
    if not isinstance(body, dict):
        raise UpError(f"{endpoint} answered {status} with what is no GraphQL response")
    if errors := body.get("errors"):
        raise UpError("; ".join(_in_words(error) for error in _objects(errors)))
    data = body.get("data")
    if not isinstance(data, dict):
        raise UpError(f"{endpoint} answered {status} without data")
    return data


async def _post(endpoint: str, key: str, body: Mapping[str, Any]) -> tuple[int, bytes]:
    headers = {
        "X-API-Key": key,
        "Accept": "application/graphql-response+json",
        "Accept-Encoding": "identity",  # the size of what is packed cannot be known
    }
    kept = bytearray()
    # httpx counts each read by itself, so a service that drips would never exceed its timeout.
    async with (
        asyncio.timeout(TIMEOUT_S),
        httpx.AsyncClient(timeout=TIMEOUT_S, headers=headers) as client,
        client.stream("POST", endpoint, json=body) as answer,
    ):
        async for piece in answer.aiter_raw():
            kept += piece
            if len(kept) > ANSWER_LIMIT:
                raise httpx.ReadError(f"its answer is larger than {ANSWER_LIMIT:,} bytes")
    return answer.status_code, bytes(kept)


def _objects(errors: object) -> list[Mapping[str, Any]]:
    found = errors if isinstance(errors, list) else [errors]
    return [error if isinstance(error, dict) else {} for error in found[:5]]


def _in_words(error: Mapping[str, Any]) -> str:
    details = error.get("extensions")
    details = details if isinstance(details, dict) else {}
    words = str(error.get("message", "refused without a reason"))
    field = details.get("field")
    if field and field not in words:
        words = f"{field}: {words}"
    if allowed := details.get("allowed"):
        words += (
            f" (allowed: {', '.join(map(str, allowed)) if isinstance(allowed, list) else allowed})"
        )
    return words
