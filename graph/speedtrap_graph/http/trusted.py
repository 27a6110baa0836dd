"""Trusted documents: the operations that a viewer's key may run where the operator names a list."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from speedtrap_graph.errors import GraphError


class UntrustedDocumentError(GraphError):
    """The document is none of those that this role may run."""

    code = "UNTRUSTED_DOCUMENT"


class UnknownDocumentError(GraphError):
    """No document has this SHA-256. (The code is the one that clients know.)"""

    code = "PERSISTED_QUERY_NOT_FOUND"


class DocumentsFileError(ValueError):
    """The list of documents cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class TrustedDocuments:
    """`texts` holds each document under the SHA-256 of its UTF-8 text, in hexadecimal."""

    texts: Mapping[str, str]

    def __contains__(self, text: str) -> bool:
        return sha256_hex(text) in self.texts

    def text_of(self, extensions: Mapping[str, object] | None) -> str | None:
        """What `extensions.persistedQuery.sha256Hash` stands for; None where there is none."""
        persisted = (extensions or {}).get("persistedQuery")
        if not isinstance(persisted, Mapping):
            return None
        text = self.texts.get(str(persisted.get("sha256Hash", "")).lower())
        if text is None:
            raise UnknownDocumentError(
                "no packaged document has this SHA-256; page and graph may be of two versions",
                field="extensions.persistedQuery.sha256Hash",
            )
        return text


def read_documents(path: Path) -> TrustedDocuments:
    """The JSON that `speedtrap-web documents` prints: an object of SHA-256 to document."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DocumentsFileError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DocumentsFileError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict) or not found:
        raise DocumentsFileError(f"{path} must hold a JSON object of SHA-256 to document")
    for digest, text in found.items():
        if not isinstance(text, str) or sha256_hex(text) != digest:
            raise DocumentsFileError(f"{path}: {digest[:64]!r} is not its document's SHA-256")
    return TrustedDocuments(found)


def sha256_hex(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
