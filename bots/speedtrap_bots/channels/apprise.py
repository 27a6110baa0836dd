"""The apprise library, for telling the subscriber: ntfy, Telegram, Discord, Matrix and many more.

It is an optional extra (`speedtrap-bots[apprise]`) and leads to the subscriber only: nothing that
it carries is addressed to anybody else.
"""

import logging
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from speedtrap_bots.channel import Channel, ChannelKind, Gate
from speedtrap_bots.content import Content
from speedtrap_bots.errors import Unavailable, Unknown
from speedtrap_bots.letter import note
from speedtrap_bots.model import Breach, Notice, Stage
from speedtrap_bots.settings import EnvironmentSettings

DELIVERY_TIMEOUT_S = 60.0
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
        description="Try again when apprise only says that it failed: you may be told twice."
        " Otherwise such a notice waits for your decision.",
    )


class Apprise(Channel):
    """Tells the subscriber."""

    name = "apprise"
    drafts = False
    timeout_s = DELIVERY_TIMEOUT_S

    def __init__(self, settings: AppriseSettings) -> None:
        self._settings = settings
        self._urls = settings.urls.get_secret_value().split() if settings.urls else []
        if not self._urls:
            return
        if find_spec("apprise") is None:
            raise ValueError(
                "SPEEDTRAP_BOTS_APPRISE_URLS is set, but apprise is not installed:"
                " pip install 'speedtrap-bots[apprise]'"
            )
        self._services()

    @property
    def recipient(self) -> str:
        """Not the addresses: they hold tokens."""
        return SUBSCRIBER if self._urls else ""

    def write(self, breach: Breach, stage: Stage, covered: Sequence[Breach] = ()) -> Content:
        del covered
        return note(breach, stage)

    async def deliver(self, notice: Notice, gate: Gate) -> str:
        return await self._tell(notice.subject, notice.text, gate)

    async def test(self) -> str:
        text = "This is the test you asked for."
        return await self._tell("speedtrap can reach you", text, lambda: None)

    async def _tell(self, title: str, text: str, gate: Gate) -> str:
        services = self._services()
        gate()
        if await services.async_notify(title=title, body=text, body_format="text"):
            return f"told through {len(self._urls)} of {len(self._urls)} addresses"
        trouble = "apprise says that it failed, and not whether anything arrived"
        raise Unavailable(trouble) if self._settings.repeat else Unknown(trouble)

    def _services(self) -> Any:
        services = import_module("apprise").Apprise()  # an extra: loaded where it is configured
        for place, url in enumerate(self._urls, 1):
            if not services.add(url):
                raise ValueError(
                    f"SPEEDTRAP_BOTS_APPRISE_URLS: apprise does not understand address {place}"
                )
        return services


CHANNEL = ChannelKind("apprise", AppriseSettings, Apprise)
