from pathlib import Path

import pytest
from speedtrap_probe import settings
from speedtrap_probe.errors import SettingsError
from speedtrap_probe.line.connectivity import Address
from speedtrap_probe.settings import Settings
from speedtrap_probe.tool import Option
from speedtrap_probe.tools import discover

OPTIONS = (Option("lan_url", "x"), Option("turnkey_url", "x", "https://files.example/"))


def read(folder: Path, toml: str = "", **environ: str) -> Settings:
    file = folder / "speedtrap.toml"
    file.write_text(toml)
    variables = {f"SPEEDTRAP_PROBE_{name}": value for name, value in environ.items()}
    return settings.read(variables, OPTIONS, file, folder)


def test_without_settings_there_are_defaults_and_no_key(tmp_path: Path) -> None:
    told = settings.read({}, OPTIONS, tmp_path / "none.toml", tmp_path)
    assert (told.url, told.key, told.tools) == ("http://127.0.0.1:8080", None, ())
    assert told.csv == Path("report.csv")
    assert told.options == {"turnkey_url": "https://files.example/"}
    assert 0 < len(told.name) <= 64


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    toml = '[probe]\nname = "attic"\nurl = "https://a.example"\ntools = ["lan", "turnkey"]'
    told = read(tmp_path, toml, NAME="cellar", LAN_URL="http://10.0.0.1/speed/")
    assert (told.name, told.url) == ("cellar", "https://a.example")
    assert told.tools == ("lan", "turnkey")
    assert told.options["lan_url"] == "http://10.0.0.1/speed/"


def test_the_key_comes_from_the_environment_then_a_key_file_then_a_secret_then_the_file(
    tmp_path: Path,
) -> None:
    toml = '[probe]\nkey = "of-the-toml"'
    assert read(tmp_path, toml).key == "of-the-toml"
    (tmp_path / "speedtrap_probe_key").write_text("of-the-secret\n")
    assert read(tmp_path, toml).key == "of-the-secret"
    key_file = tmp_path / "key"
    key_file.write_text("of-the-file\n")
    assert read(tmp_path, toml, KEY_FILE=str(key_file)).key == "of-the-file"
    assert read(tmp_path, toml, KEY_FILE=str(key_file), KEY="of-the-env").key == "of-the-env"


def test_the_key_does_not_show_in_the_settings_text(tmp_path: Path) -> None:
    told = read(tmp_path, KEY="s3cret-key", PROXY="http://u:s3cret-too@proxy.example")
    assert "s3cret" not in repr(told)


def test_checks_are_hosts_and_ports(tmp_path: Path) -> None:
    told = read(tmp_path, CHECKS="192.0.2.1:53, example.org:443,[2001:db8::1]:443")
    assert told.checks == (
        Address("192.0.2.1", 53),
        Address("example.org", 443),
        Address("2001:db8::1", 443),
    )


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"URL": "speedtrap.example"}, "url must be an http"),
        ({"LAN_URL": "ftp://x"}, "lan_url must be an http"),
        ({"NAME": "x" * 65}, "name must be 1 to 64"),
        ({"NAME": "My Laptop"}, "a to z, 0 to 9"),
        ({"CHECKS": "1.1.1.1"}, "no host:port"),
        ({"WINDOW": "2h"}, "window must be 1s to 60s"),
        ({"WINDOW": "soon"}, "no span of time"),
        ({"LOOK": "2m"}, "look must be 0s to 60s"),
        ({"PLAN_MBPS": "fast"}, "plan_mbps must be a number"),
        ({"RETEST": "50%"}, "retest must be a number from 0 to 1"),
        ({"BUDGET": "lots"}, "budget must be a size such as 500MB"),
        ({"OUTBOX_SIZE": "10kB"}, "outbox_size must be at least 1MB"),
        ({"OUTBOX_AGE": "0s"}, "outbox_age must be more than 0s"),
        ({"KEY_FILE": "/nowhere/key"}, "cannot be read"),
    ],
)
def test_a_bad_setting_is_named(environ: dict[str, str], said: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=said):
        read(tmp_path, **environ)


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[probe", "no valid TOML"),
        ("probe = 1", "must be a table"),
        ("[probe]\nkye = 'x'", "no setting 'kye'; known: url, key"),
        ("[probe]\nname = 1", "name must be text"),
        ("[probe]\ntools = [1]", "tools must be a list"),
    ],
)
def test_a_bad_file_is_explained(toml: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=said):
        read(tmp_path, toml)


def test_sizes_are_in_powers_of_a_thousand(tmp_path: Path) -> None:
    told = read(tmp_path, BUDGET="1.5 GB", OUTBOX_SIZE="2MB", OUTBOX_AGE="30d", LOOK="0s")
    assert (told.budget_bytes, told.outbox_bytes) == (1_500_000_000, 2_000_000)
    assert (told.outbox_age_s, told.look_s) == (30 * 86_400, 0)
    assert read(tmp_path).budget_bytes is None


def test_numbers_may_be_numbers_in_the_file(tmp_path: Path) -> None:
    told = read(tmp_path, "[probe]\nplan_mbps = 940\nretest = 0.6")
    assert (told.plan_mbps, told.retest) == (940, 0.6)


def test_every_setting_is_documented() -> None:
    readme = (Path(__file__).parents[2] / "probe" / "README.md").read_text(encoding="utf-8")
    options = [option.name for tool in discover().values() for option in tool.options]
    for name in (*settings.NAMES, *options):
        assert f"`{name.upper()}`" in readme


@pytest.mark.parametrize("place", ["eth0", "enp3s0.100", "wlan0", "192.0.2.7", "2001:db8::7"])
def test_a_place_to_measure_from_is_an_interface_or_an_address(place: str, tmp_path: Path) -> None:
    assert settings.read({"SPEEDTRAP_PROBE_BIND": place}, secrets=tmp_path).bind == place


@pytest.mark.parametrize(
    ("bind", "version", "said"),
    [
        ("eth0/1", "any", "bind must be an interface such as eth0"),
        ("a-name-that-is-too-long", "any", "bind must be an interface such as eth0"),
        ("192.0.2.7", "6", "bind is an IPv4 address, but ip_version is 6"),
        ("2001:db8::7", "4", "bind is an IPv6 address, but ip_version is 4"),
        ("eth0", "5", "ip_version must be any, 4 or 6: '5'"),
    ],
)
def test_a_place_or_version_that_cannot_be_is_named(
    bind: str, version: str, said: str, tmp_path: Path
) -> None:
    environ = {"SPEEDTRAP_PROBE_BIND": bind, "SPEEDTRAP_PROBE_IP_VERSION": version}
    with pytest.raises(SettingsError, match=said):
        settings.read(environ, secrets=tmp_path)
