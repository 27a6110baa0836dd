"""What every channel in the folder must pass; a new one is found by itself."""

import re
from datetime import timedelta

import pytest
from pydantic import SecretStr
from speedtrap_bots.channel import ChannelKind, kinds
from speedtrap_bots.delivery.lease import MARGIN_S
from speedtrap_bots.model import Stage
from speedtrap_graph.services.notices.records import DIGEST_CHANNELS

from tests.bots.builders import NOON, a_breach

CLAIM_LEASE_S = 120.0
"""The ledger's; a delivery that could outlive it is never begun."""


@pytest.fixture(params=sorted(kinds()))
def kind(request: pytest.FixtureRequest) -> ChannelKind:
    return kinds()[request.param]


def test_its_name_is_its_files(kind: ChannelKind) -> None:
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", kind.name)
    assert kind.open(kind.settings()).name == kind.name
    assert kind.settings.__module__ == f"speedtrap_bots.channels.{kind.name}"


def test_without_settings_it_writes_and_has_nobody_to_send_to(kind: ChannelKind) -> None:
    channel = kind.open(kind.settings())
    assert channel.recipient == ""
    assert channel.write(a_breach(), Stage.OPENING).text


@pytest.mark.parametrize("stage", [Stage.OPENING, Stage.RECOVERY])
def test_the_same_breach_is_written_in_the_same_bytes(kind: ChannelKind, stage: Stage) -> None:
    channel = kind.open(kind.settings())
    breach = a_breach(status="RESOLVED", resolved_at=NOON + timedelta(hours=7))
    content = channel.write(breach, stage)
    assert content == channel.write(breach, stage)
    assert breach.reference in content.text


def test_a_delivery_fits_into_a_lease(kind: ChannelKind) -> None:
    assert kind.open(kind.settings()).timeout_s + MARGIN_S < CLAIM_LEASE_S


def test_every_setting_is_explained(kind: ChannelKind) -> None:
    assert all(field.description for field in kind.settings.model_fields.values())


def test_secrets_do_not_show(kind: ChannelKind) -> None:
    secrets = {
        name: "planted-secret"
        for name, field in kind.settings.model_fields.items()
        if "SecretStr" in str(field.annotation)
    }
    # Built without validation: a channel may refuse what is no key or address.
    settings = kind.settings.model_construct(None, **{n: SecretStr(v) for n, v in secrets.items()})
    assert all(isinstance(getattr(settings, name), SecretStr) for name in secrets)
    assert "planted-secret" not in repr(settings)


def test_graph_knows_which_channels_have_a_digest() -> None:
    """What the limits hold back waits, unless a digest can tell of it."""
    digests = {
        name for name, kind in kinds().items() if Stage.DIGEST in kind.open(kind.settings()).stages
    }
    assert digests == DIGEST_CHANNELS
