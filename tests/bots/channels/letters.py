"""Real letters, frozen as the ledger freezes them, and keys to sign them with."""

from base64 import b64encode
from collections.abc import Callable
from functools import cache
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from speedtrap_bots.channels.mail import Mail, MailSettings
from speedtrap_bots.content import Content
from speedtrap_bots.model import Attachment, Notice, Stage

from tests.bots.builders import a_breach, a_notice


def a_letter_notice(stage: Stage = Stage.OPENING, **changes: object) -> Notice:
    """The real letter, frozen as the ledger freezes it."""
    content = _written(stage)
    files = tuple(
        Attachment(
            name=file.name,
            media_type=file.media_type,
            alt_text=file.alt_text,
            sha256=sha256(file.content).hexdigest(),
            content_base64=b64encode(file.content).decode(),
        )
        for file in content.files
    )
    values: dict[str, object] = {
        "stage": stage,
        "subject": content.subject,
        "text": content.text,
        "html": content.html,
        "attachments": files,
    }
    return a_notice(**{**values, **changes})


@cache
def _written(stage: Stage) -> Content:
    """Drawn once: it is always the same."""
    settings = MailSettings(sender="Jane Doe <jane@home.example>")
    return Mail(settings).write(a_breach(), stage)


def a_dkim_key() -> tuple[str, Callable[..., bytes]]:
    """A private key in PEM, and a DNS that has its public one for s1 of home.example."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def dns(name: bytes, timeout: float = 5) -> bytes:  # noqa: ARG001 - dkimpy passes it
        assert name == b"s1._domainkey.home.example."
        return b"v=DKIM1; k=rsa; p=" + b64encode(public)

    return pem, dns
