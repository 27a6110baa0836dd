"""Runs leave by MQTT, through a real broker that goes away, forgets, and asks for a password."""

import asyncio
import gc
import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trustme
from pydantic import SecretStr, ValidationError
from speedtrap_graph.exporters.mqtt import Mqtt, MqttSettings, configs, states
from speedtrap_graph.store.database import Store

from tests.graph.exporting import exporting, started, submit
from tests.lab.mosquitto import PASSWORD, USERNAME, Broker, running_broker
from tests.lab.runs import a_run
from tests.lab.waiting import until

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
STATE = "speedtrap/laptop/state"
TOOL = "speedtrap/laptop/ookla/state"

# What Home Assistant allows a sensor of a device class to have as its unit, and which ids its
# discovery takes: from its documentation.
UNITS = {"data_rate": {"bit/s", "kbit/s", "Mbit/s", "Gbit/s"}, "duration": {"ms", "s", "min", "h"}}
ID_CHARACTERS = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with running_broker(tmp_path / "broker") as running:
        yield running


def mqtt(broker: Broker, **changes: Any) -> Mqtt:
    settings = {"mqtt_username": USERNAME, "mqtt_password": SecretStr(PASSWORD), **changes}
    return Mqtt(MqttSettings(mqtt_url=broker.url, **settings))


async def until_retained(broker: Broker, is_so: Callable[[dict[str, str]], bool]) -> dict[str, str]:
    async with asyncio.timeout(60):
        found = await broker.retained()
        while not is_so(found):
            found = await broker.retained()
    return found


def whole(found: dict[str, str]) -> bool:
    """Line and tool are told one after the other."""
    return STATE in found and TOOL in found


def is_online(found: dict[str, str]) -> bool:
    return found.get("speedtrap/status") == "online"


def told(found: dict[str, str], topic: str = STATE) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(found[topic])
    return state


def stored(*, probe: str = "laptop", **figures: Any) -> dict[str, Any]:
    measurement = {"tool": "ookla", "started_at": AT, "duration_s": 20.0, **figures}
    best = {"DOWNLOAD": figures["download_mbps"]} if "download_mbps" in figures else {}
    return {
        "_id": UUID(int=7), "probe": probe, "started_at": AT, "outcome": "MEASURED",
        "best": best, "measurements": [measurement],
    }  # fmt: skip


async def test_a_run_is_shown_and_found_by_home_assistant_and_unknown_is_null(
    store: Store, broker: Broker
) -> None:
    async with exporting(store, mqtt(broker)):
        await started(store, "mqtt")
        [run] = await submit(store, a_run(123.4))
        found = await until_retained(broker, whole)
    state = told(found)
    assert (state["outcome"], state["download_mbps"], state["latency_ms"]) == (
        "measured",
        123.4,
        12.5,
    )
    assert state["jitter_ms"] is None
    assert state["packet_loss_percent"] is None
    tool = told(found, TOOL)
    assert (tool["result"], tool["upload_mbps"], tool["loaded_latency_up_ms"]) == (
        "measured",
        80.0,
        None,
    )
    config = told(found, "homeassistant/sensor/speedtrap_laptop/download_mbps/config")
    assert config["state_topic"] == STATE
    assert config["value_template"] == "{{ value_json.download_mbps }}"
    assert (config["device_class"], config["unit_of_measurement"]) == ("data_rate", "Mbit/s")
    assert config["state_class"] == "measurement"
    assert config["availability"] == [{"topic": "speedtrap/status"}]
    # Runs themselves are news, and news is not retained.
    assert "speedtrap/laptop/run" not in found
    assert run


async def test_every_run_is_told_once_it_is_new_and_late_ones_leave_the_states_alone(
    store: Store, broker: Broker
) -> None:
    async with exporting(store, mqtt(broker)), broker.client() as listener:
        await started(store, "mqtt")
        await listener.subscribe("speedtrap/+/run", qos=1)
        new = await submit(store, a_run(500))
        late = await submit(store, a_run(5, hours_ago=300))
        seen: list[str] = []
        async with asyncio.timeout(60):
            async for message in listener.messages:
                assert isinstance(message.payload, bytes)
                seen.append(json.loads(message.payload)["id"])
                if set(seen) == {*new, *late}:
                    break
        found = await until_retained(broker, lambda found: STATE in found)
    assert told(found)["download_mbps"] == 500


async def test_an_outage_is_no_throughput_of_0(store: Store, broker: Broker) -> None:
    down = {"lineUp": False, "medium": "WIRED"}
    async with exporting(store, mqtt(broker)):
        await started(store, "mqtt")
        await submit(store, a_run(None, conditions=down))
        found = await until_retained(broker, whole)
    state = told(found)
    assert (state["outcome"], state["download_mbps"]) == ("outage", None)
    assert told(found, TOOL)["result"] == "tool_failed"


async def test_a_broker_that_was_away_gets_what_it_missed_and_one_that_forgot_all_that_is_known(
    store: Store, tmp_path: Path
) -> None:
    with running_broker(tmp_path / "broker", forgets=True) as broker:
        async with exporting(store, mqtt(broker)):
            await started(store, "mqtt")
            await submit(store, a_run(500, probe="attic"))
            await until_retained(broker, lambda found: "speedtrap/attic/state" in found)
            broker.stop()
            await submit(store, a_run(300))
            broker.start()
            found = await until_retained(broker, lambda found: STATE in found)
    assert told(found)["download_mbps"] == 300
    assert told(found, "speedtrap/attic/state")["download_mbps"] == 500
    assert "homeassistant/sensor/speedtrap_attic/download_mbps/config" in found
    assert found["speedtrap/status"] == "online"


async def test_a_broker_that_comes_back_is_told_at_once_and_not_with_the_next_run(
    store: Store, broker: Broker
) -> None:
    async with exporting(store, mqtt(broker)):
        await until_retained(broker, is_online)
        broker.stop()
        broker.start()
        await until_retained(broker, is_online)


async def test_whoever_stops_says_so_and_the_will_says_it_of_whoever_cannot(
    store: Store, broker: Broker
) -> None:
    exporter = mqtt(broker)
    async with exporting(store, exporter):
        await until_retained(broker, is_online)
    assert (await broker.retained())["speedtrap/status"] == "offline"
    async with exporting(store, exporter):
        await until_retained(broker, is_online)
        # As if this copy had vanished: the broker ends its session for another of the same name.
        async with exporter._client():
            found = await broker.retained()
    assert found["speedtrap/status"] == "offline"


async def test_a_wrong_password_is_said_clearly_and_never_repeated(
    store: Store, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = mqtt(broker, mqtt_password=SecretStr("planted-wrong-password"))
    with caplog.at_level(logging.DEBUG):
        async with exporting(store, wrong):
            await until(lambda: "the broker refuses the login" in caplog.text)
    assert "MQTT_PASSWORD" in caplog.text
    assert "planted" not in caplog.text
    assert "planted" not in broker.log()


# paho leaves the socket of a certificate that it refuses to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
async def test_tls_wants_the_brokers_own_authority_and_the_password_of_a_file(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n", encoding="utf-8")
    with running_broker(tmp_path / "broker", authority=trustme.CA()) as broker:
        by_file: dict[str, Any] = {"mqtt_password": SecretStr(""), "mqtt_password_file": file}
        stranger = mqtt(broker, **by_file)
        async with exporting(store, stranger):
            await until(lambda: "certificate is not to be trusted" in caplog.text)
        gc.collect()
        trusting = mqtt(broker, **by_file, mqtt_ca_file=broker.ca_file)
        async with exporting(store, trusting):
            await until(lambda: f"as {trusting.identifier}" in broker.log())


def test_discovery_is_what_home_assistant_takes() -> None:
    run = stored(
        probe="pi.attic_2",
        download_mbps=500.0,
        upload_mbps=40.0,
        latency_ms=9.0,
        jitter_ms=1.0,
        packet_loss_ratio=0.25,
        loaded_latency_down_ms=80.0,
        loaded_latency_up_ms=60.0,
    )
    settings = MqttSettings(mqtt_url="mqtt://broker")
    told_states = dict(states(run, settings))
    found = list(configs(run, settings))
    for topic, config in found:
        prefix, component, node, entity, end = topic.split("/")
        assert (prefix, component, end) == ("homeassistant", "sensor", "config")
        assert set(node + entity) <= ID_CHARACTERS
        kind = config.get("device_class")
        if kind in UNITS:
            assert config["unit_of_measurement"] in UNITS[kind]
        # Neither an enum nor a time may be one of these.
        assert ("state_class" in config) is (kind not in {"enum", "timestamp"})
        key = config["value_template"].removeprefix("{{ value_json.").removesuffix(" }}")
        state = told_states[config["state_topic"]]
        assert key in state
        if kind == "enum":
            assert state[key] in config["options"]
        assert config["device"]["identifiers"] == ["speedtrap_pi_dattic__2"]
        assert config["expire_after"] == 86_400
    assert len({config["unique_id"] for _, config in found}) == len(found)
    assert len(found) == 2 + 1 + 1 + 7
    assert told_states["speedtrap/pi.attic_2/ookla/state"]["packet_loss_percent"] == 25


def test_what_a_tool_never_measured_is_no_sensor() -> None:
    settings = MqttSettings(mqtt_url="mqtt://broker")
    found = dict(configs(stored(download_mbps=5.0), settings))
    assert [topic for topic in found if "jitter" in topic] == []


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"mqtt_url": "broker:1883"}, "mqtt://host or mqtts://host"),
        ({"mqtt_url": "mqtt://me:planted@broker"}, "without a login"),
        ({"mqtt_url": "mqtt://broker:port"}, "cannot be used"),
        ({"mqtt_url": "mqtt://b", "mqtt_password_file": "/nowhere"}, "there is no file /nowhere"),
        ({"mqtt_url": "mqtts://b", "mqtt_ca_file": __file__}, "CA_FILE"),
        ({"mqtt_url": "mqtt://b", "mqtt_topic": "a/#"}, "mqtt_topic"),
    ],
)
def test_bad_settings_say_what_is_wrong_and_repeat_no_secret(
    settings: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem) as refused:
        MqttSettings(**settings)
    assert "planted" not in str(refused.value)
