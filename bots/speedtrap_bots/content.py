"""What a letter or post consists of, before the ledger freezes it."""

from base64 import b64encode
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class File:
    """A file that goes along."""

    name: str
    media_type: str
    content: bytes
    alt_text: str | None = None

    @property
    def content_base64(self) -> str:
        return b64encode(self.content).decode()


@dataclass(frozen=True, slots=True)
class Content:
    """A message as it is frozen in the ledger."""

    text: str
    subject: str = ""
    html: str | None = None
    files: tuple[File, ...] = ()
