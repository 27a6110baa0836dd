"""Asking the service from the command line: one packaged document at a time."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from speedtrap_up.errors import UpError

OPERATIONS = Path(__file__).with_name("operations")
TIMEOUT_S = 20


def ask(url: str, key: str, operation: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """The answer's `data`; whatever else comes back is raised in words."""
    query = (OPERATIONS / f"{operation}.graphql").read_text(encoding="utf-8")
    endpoint = f"{url.rstrip('/')}/graphql"
    try:
        answer = httpx.post(
            endpoint,
            json={"query": query, "variables": variables},
            headers={"X-API-Key": key, "Accept": "application/graphql-response+json"},
            timeout=TIMEOUT_S,
        )
        body = answer.json()
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise UpError(
            f"--url: {url!r} is not an address such as https://speedtrap.example"
        ) from error
    except (httpx.HTTPError, ValueError) as error:
        raise UpError(f"--url: speedtrap does not answer at {endpoint}: {error}") from error
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        raise UpError(f"{endpoint} does not know this key; see: speedtrap keys list")
    if errors := body.get("errors"):
        raise UpError("; ".join(_in_words(error) for error in errors))
    data = body.get("data")
    if not isinstance(data, dict):
        raise UpError(f"{endpoint} answered {answer.status_code} without data")
    return data


def _in_words(error: Mapping[str, Any]) -> str:
    details = error.get("extensions") or {}
    words = str(error.get("message", "refused without a reason"))
    field = details.get("field")
    if field and field not in words:
        words = f"{field}: {words}"
    if allowed := details.get("allowed"):
        words += f" (allowed: {allowed if isinstance(allowed, str) else ', '.join(allowed)})"
    return words
