"""The apprise library, for telling the subscriber: ntfy, Telegram, Discord, Matrix and many more.

It is an optional extra (`speedtrap-bots[apprise]`) and leads to the subscriber only: nothing that
it carries is addressed to anybody else.
"""

import asyncio
import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from speedtrap_bots.channel import Channel, ChannelKind, Delivered, MaySend
from speedtrap_bots.content import Content
from speedtrap_bots.errors import Refused, Unavailable, Unknown
from speedtrap_bots.letter import note
from speedtrap_bots.model import Breach, Notice, Stage
from speedtrap_bots.settings import EnvironmentSettings

DELIVERY_TIMEOUT_S = 60.0
ADDRESS_TIMEOUT_S = 45.0
ATTEMPTS = 6
"""So often is an address tried that only says that it failed: it may have got it each time."""
_MARKS = re.compile(r"\[([0-9a-f ]*)\]$")
SUBSCRIBER = "subscriber"

# It names addresses in what it logs, and they hold tokens.
logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)


class AppriseSettings(EnvironmentSettings):
    """`SPEEDTRAP_BOTS_APPRISE_<NAME>`. You are told when URLS is set."""

    model_config = SettingsConfigDict(env_prefix="SPEEDTRAP_BOTS_APPRISE_")

    urls: SecretStr | None = Field(
        default=None,
        description="Where to tell you, as apprise writes it, e.g. ntfys://my-topic; several are"
        " separated by spaces.",
    )
    repeat: bool = Field(
        default=True,
        description="Try an address again, at most 6 times in all, of which apprise only says that"
        " it failed: you may be told more than once there. Otherwise such a notice waits for your"
        " decision.",
    )


@dataclass(frozen=True, slots=True)
class Address:
    """`name` is for people and `mark` for the ledger: the address itself holds tokens."""

    url: str
    name: str
    mark: str


def addresses_in(urls: str) -> list[Address]:
    return [
        Address(
            url,
            name=f"address {place} ({url.partition(':')[0][:20]})",
            mark=hashlib.sha256(url.encode()).hexdigest()[:8],
        )
        for place, url in enumerate(urls.split(), 1)
    ]


class Apprise(Channel):
    """Tells the subscriber, each address on its own."""

    name = "apprise"
    drafts = False
    timeout_s = DELIVERY_TIMEOUT_S

    def __init__(self, settings: AppriseSettings) -> None:
        self._settings = settings
        self._addresses = addresses_in(settings.urls.get_secret_value()) if settings.urls else []
        if not self._addresses:
            return
        if find_spec("apprise") is None:
            raise ValueError(
                "SPEEDTRAP_BOTS_APPRISE_URLS is set, but apprise is not installed:"
                " pip install 'speedtrap-bots[apprise]'"
            )
        for address in self._addresses:
            _service(address)

    @property
    def recipient(self) -> str:
        """Not the addresses: they hold tokens."""
        return SUBSCRIBER if self._addresses else ""

    def write(self, breach: Breach, stage: Stage, covered: Sequence[Breach] = ()) -> Content:
        del covered
        return note(breach, stage)

    async def deliver(self, notice: Notice, may_send: MaySend) -> Delivered:
        """To every address that has not taken it in an earlier attempt: the ledger keeps which."""
        marks = _marks_in(notice.external_reference)
        left = [address for address in self._addresses if address.mark not in marks]
        may_send()
        failed = await _tell(left, notice.subject, notice.text)
        told = [a for a in self._addresses if a not in failed]
        reference = (
            f"told {len(told)} of {len(self._addresses)} addresses"
            f" [{' '.join(address.mark for address in told)}]"
        )
        if not failed:
            return Delivered(reference)
        trouble = _trouble(failed)
        if not self._settings.repeat:
            raise Unknown(trouble, reference=reference)
        if notice.attempts + 1 < ATTEMPTS:
            raise Unavailable(trouble, reference=reference)
        if not told:
            raise Refused(f"{trouble}, in {ATTEMPTS} attempts")
        return Delivered(reference, f"{trouble}, in {ATTEMPTS} attempts; the others have it")

    async def test(self) -> str:
        """One try each; which failed is for the owner to see."""
        failed = await _tell(
            self._addresses, "speedtrap can reach you", "This is the test you asked for."
        )
        if failed:
            raise Refused(_trouble(failed))
        count = len(self._addresses)
        return f"told through {count} of {count} addresses"


async def _tell(addresses: Sequence[Address], title: str, text: str) -> list[Address]:
    """Those that did not take it, as far as apprise says."""
    taken = await asyncio.gather(*(_takes(address, title, text) for address in addresses))
    return [address for address, took in zip(addresses, taken, strict=True) if not took]


async def _takes(address: Address, title: str, text: str) -> bool:
    try:
        async with asyncio.timeout(ADDRESS_TIMEOUT_S):
            return bool(
                await _service(address).async_notify(title=title, body=text, body_format="text")
            )
    except TimeoutError:
        return False


def _trouble(failed: Sequence[Address]) -> str:
    names = ", ".join(address.name for address in failed)
    return f"apprise says that it failed, and not whether anything arrived: {names}"


def _marks_in(reference: str | None) -> set[str]:
    found = _MARKS.search(reference or "")
    return set(found[1].split()) if found else set()


def _service(address: Address) -> Any:
    service = import_module("apprise").Apprise()  # an extra: loaded where it is configured
    if not service.add(address.url):
        which = address.name.partition(" (")[0]  # what is no scheme may be a secret
        raise ValueError(f"SPEEDTRAP_BOTS_APPRISE_URLS: apprise does not understand {which}")
    return service


CHANNEL = ChannelKind("apprise", AppriseSettings, Apprise)
