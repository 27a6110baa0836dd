"""Links that show one report to whoever holds them, without a login, until they expire.

The address itself says what it shows and until when, sealed with the session secret: nothing is
kept here, every copy of the service can read it, and a new secret ends all of them.
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.fernet import Fernet, InvalidToken

LONGEST_TOKEN = 1000


@dataclass(frozen=True, slots=True)
class Share:
    """The report of one month (`2026-11`) of one probe."""

    probe: str
    month: str
    until: datetime


class Links:
    def __init__(self, secret: str) -> None:
        digest = hashlib.sha256(b"speedtrap web share\0" + secret.encode()).digest()
        self._fernet = Fernet(base64.urlsafe_b64encode(digest))

    def seal(self, share: Share) -> str:
        content = {"p": share.probe, "m": share.month, "u": int(share.until.timestamp())}
        return self._fernet.encrypt(json.dumps(content).encode()).decode()

    def open(self, token: str, now: datetime) -> Share | None:
        """None for what was not sealed here, or has expired."""
        if len(token) > LONGEST_TOKEN or not token.isascii():
            return None
        try:
            content = json.loads(self._fernet.decrypt(token.encode()))
        except InvalidToken:
            return None
        until = datetime.fromtimestamp(content["u"], UTC)
        return Share(content["p"], content["m"], until) if now < until else None
