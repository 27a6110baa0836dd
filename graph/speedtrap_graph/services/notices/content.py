"""The content of a notice: checked, frozen, and known by its digest."""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from speedtrap_graph.errors import BadInputError
from speedtrap_graph.rules.permission import Stage

MAX_ATTACHMENTS = 8
MAX_COVERED = 50
MAX_ATTACHED_BYTES = 5 * 1024 * 1024
_LIMITS = {"recipient": 320, "subject": 500, "text": 100_000, "html": 500_000}
_CHANNEL = re.compile(r"[a-z0-9][a-z0-9-]{0,31}", re.ASCII)
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}/[a-z0-9][a-z0-9.+-]{0,60}(;[ -~]{0,80})?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class AttachmentDraft:
    name: str
    media_type: str
    alt_text: str | None
    content_base64: str


@dataclass(frozen=True, slots=True)
class NoticeDraft:
    """What a bot wants to send. `covers` are the breaches that a digest tells of."""

    breach: str
    stage: Stage
    channel: str
    recipient: str
    subject: str
    text: str
    html: str | None
    attachments: Sequence[AttachmentDraft]
    covers: Sequence[str] = ()


def notice_id(draft: NoticeDraft) -> str:
    """The same for the same breach, stage, channel and recipient: planning twice plans once.

    A digest is known by all that it tells of.
    """
    parts = [draft.breach, draft.stage.value, draft.channel, draft.recipient]
    parts += sorted(draft.covers)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def frozen_content(draft: NoticeDraft) -> dict[str, Any]:
    """The content as stored, with its digest. Raises BadInputError with the field."""
    _check_texts(draft)
    attachments = _attachments(draft.attachments)
    content: dict[str, Any] = {
        "breach": draft.breach,
        "stage": draft.stage.value,
        "channel": draft.channel,
        "recipient": draft.recipient,
        "subject": draft.subject,
        "text": draft.text,
        "html": draft.html,
    }
    return {**content, "attachments": attachments, "digest": _digest(content, attachments)}


def _digest(content: dict[str, Any], attachments: list[dict[str, Any]]) -> str:
    """SHA-256 over one JSON text: sorted names, no spaces, an attachment's content by its hash."""
    by_hash = [
        {name: value for name, value in attachment.items() if name != "content"}
        for attachment in attachments
    ]
    canonical = json.dumps(
        {**content, "attachments": by_hash},
        sort_keys=True,
        separators=(",", ":"),
    )
    return hashlib.sha256(canonical.encode()).hexdigest()


def check_channel(name: str) -> None:
    if not _CHANNEL.fullmatch(name):
        raise BadInputError("channel must be 1 to 32 of a to z, 0 to 9 and hyphen", field="channel")


def _check_texts(draft: NoticeDraft) -> None:
    check_channel(draft.channel)
    for field, longest in _LIMITS.items():
        value = getattr(draft, field) or ""
        if len(value) > longest:
            raise BadInputError(f"{field} is longer than {longest} characters", field=field)
    for field in ("recipient", "subject"):
        if _CONTROL.search(getattr(draft, field)):
            raise BadInputError(f"{field} must be one line without control characters", field=field)
    if not draft.text.strip():
        raise BadInputError("text must not be empty", field="text")
    if len(draft.covers) > MAX_COVERED or (draft.covers and draft.stage is not Stage.DIGEST):
        raise BadInputError(f"covers: at most {MAX_COVERED}, of a DIGEST only", field="covers")


def _attachments(drafts: Sequence[AttachmentDraft]) -> list[dict[str, Any]]:
    if len(drafts) > MAX_ATTACHMENTS:
        raise BadInputError(f"at most {MAX_ATTACHMENTS} attachments", field="attachments")
    found = [_attachment(draft, place) for place, draft in enumerate(drafts)]
    if sum(len(attachment["content"]) for attachment in found) > MAX_ATTACHED_BYTES:
        raise BadInputError(
            f"the attachments are larger than {MAX_ATTACHED_BYTES} bytes together",
            field="attachments",
        )
    return found


def _attachment(draft: AttachmentDraft, place: int) -> dict[str, Any]:
    field = f"attachments[{place}]"
    if not 1 <= len(draft.name) <= 120 or _CONTROL.search(draft.name) or "/" in draft.name:
        message = "name must be a file name of 1 to 120 characters without a path"
        raise BadInputError(message, field=f"{field}.name")
    if not _MEDIA_TYPE.fullmatch(draft.media_type):
        message = "mediaType must look like image/png"
        raise BadInputError(message, field=f"{field}.mediaType")
    try:
        content = base64.b64decode(draft.content_base64, validate=True)
    except (binascii.Error, ValueError) as error:
        message = "contentBase64 is not Base64 with padding"
        raise BadInputError(message, field=f"{field}.contentBase64") from error
    return {
        "name": draft.name,
        "media_type": draft.media_type,
        "alt_text": draft.alt_text,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
        "content": content,
    }
