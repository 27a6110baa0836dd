"""Lists and redirects lead no client to this machine or this network; settings may."""

import json
import socket

import pytest
from speedtrap_probe.engine.connection.connecting import Found
from speedtrap_probe.engine.connection.resolving import is_own, on_the_internet
from speedtrap_probe.engine.connection.wire import Target
from speedtrap_probe.engine.link import follow
from speedtrap_probe.errors import ToolError
from speedtrap_probe.tool import Setup

from tests.lab.ndt7 import PATHS
from tests.lab.replay import replay_server
from tests.lab.speed import Manners, speed_server
from tests.probe.stages import tool

OWN = [
    "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255",  # noqa: S104 - refused here
    "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255",
    "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fdaa::1", "fec0::1", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::",
    "localhost", "LOCALHOST.", "a.localhost",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1", "172.32.0.1", "100.128.0.1", "198.18.0.1", "2606:4700:4700::1111",
    "64:ff9b::101:101", "2002:101:101::", "::ffff:1.1.1.1", "mlab1.example", "local.example",
]  # fmt: skip


@pytest.mark.parametrize("host", OWN)
def test_addresses_of_this_machine_and_network_are_known(host: str) -> None:
    assert is_own(host)


@pytest.mark.parametrize("host", PUBLIC)
def test_addresses_of_the_internet_are_known(host: str) -> None:
    assert not is_own(host)


def test_of_a_name_with_both_only_the_addresses_on_the_internet_are_connected_to() -> None:
    found: list[Found] = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 80)) for host in ("127.0.0.1", "1.1.1.1")
    ]
    assert on_the_internet(found) == found[1:]


def listing(url: str) -> list[dict[str, object]]:
    """What each client's list looks like, naming a server at *url*."""
    ways = {f"ws://{path}": url.replace("http", "ws") + path for path in PATHS}
    servers = [{"server": url, "dlURL": "g", "ulURL": "e", "pingURL": "e", "id": 1, "name": "x"}]
    return [
        {"request": "GET /librespeed", "body": json.dumps(servers)},
        {"request": "GET /ndt7*", "body": json.dumps({"results": [{"urls": ways}]})},
        {"request": "GET /fast/api*", "body": json.dumps({"targets": [{"url": f"{url}/s"}]})},
        {"request": "GET /fast/", "body": '<script src="/app-1.js">'},
        {"request": "GET /app-1.js", "body": 'token:"abc"'},
        {"request": "HEAD /100mb.bin", "status": 302, "headers": {"Location": f"{url}/100mb.bin"}},
    ]


LISTS = {
    "librespeed": {"librespeed_list_url": "{url}/librespeed"},
    "ndt7": {"ndt7_agree": "yes", "ndt7_locate_url": "{url}/ndt7"},
    "fast": {
        "fast_command": "none", "fast_url": "{url}/fast/", "fast_api_url": "{url}/fast/api",
    },
    "turnkey": {"turnkey_url": "{url}/100mb.bin"},
}  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
def test_a_list_or_a_redirect_leads_no_tool_to_this_machine(name: str) -> None:
    with speed_server() as private, replay_server(listing(private.url)) as listed:
        elsewhere = listed.url.replace("127.0.0.1", "localhost")
        options = {key: text.replace("{url}", elsewhere) for key, text in LISTS[name].items()}
        with pytest.raises(ToolError):
            tool(name).measure(Setup("http://192.0.2.1", options, window_s=0.5))
        assert private.connections == 0


@pytest.mark.parametrize("where", ["http://127.0.0.1:{port}/", "http://[::ffff:127.0.0.1]:{port}/"])
def test_a_redirect_is_refused_when_it_is_connected_to_and_says_why(where: str) -> None:
    with speed_server() as private:
        port = Target(private.url).port
        with speed_server(Manners(redirect=where.format(port=port))) as public:
            start = Target(public.url.replace("127.0.0.1", "localhost") + "/100mb.bin")
            with pytest.raises(ToolError, match="only a host that the settings name may"):
                follow(start)
        assert private.connections == 0


def test_a_server_that_a_person_names_may_be_on_this_machine() -> None:
    with speed_server() as own:
        setup = Setup("http://192.0.2.1", {"librespeed_url": own.url + "/speed/"}, window_s=0.5)
        assert tool("librespeed").measure(setup).download_mbps is not None
