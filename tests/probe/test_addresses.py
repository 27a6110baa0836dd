"""Addresses and lists of others: read as browsers do, entry by entry, server after server."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from speedtrap_probe.engine.connection import address
from speedtrap_probe.engine.connection.wire import Target
from speedtrap_probe.errors import ToolError
from speedtrap_probe.model import FailureKind, Figures
from speedtrap_probe.tool import Setup
from speedtrap_probe.tools import fast, librespeed, ndt7, turnkey

from tests.lab.ndt7 import PATHS, ndt7_server
from tests.lab.proxy import password_proxy
from tests.lab.replay import replay_server
from tests.lab.speed import Fault, Manners, SpeedServer, speed_server
from tests.probe.stages import CLIENTS, OPTIONS, against, tool

JUNK: list[object] = [
    None,
    5,
    "http://127.0.0.1/",
    [],
    {},
    {"error": "rate limited"},
    {"server": None, "url": None, "urls": None},
    {"server": 5, "url": 5, "urls": 5, "machine": 5, "location": 5},
]
BAD_ADDRESSES = [
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:port/",
    "http://[::1/",
    "http:///nowhere",
    "127.0.0.1:80/backend/",
    "ftp://127.0.0.1/",
    "javascript:alert(1)",
    "http://a b/",
    "http://" + "a" * 70 + ".example/",
    "",
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" http://h.example/a b/ü.bin ", "http://h.example/a%20b/%C3%BC.bin"),
        ("http://h.example/a%20b?q=a b&ö=%zz", "http://h.example/a%20b?q=a%20b&%C3%B6=%zz"),
        ("http:\\\\h.example\\a?b\\c", "http://h.example/a?b\\c"),
        ("http://h.example/a\n\tb#part", "http://h.example/ab"),
        ("HTTP://H.Example:80", "http://h.example"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
        ("wss://h.example/x?access_token=a.b-c", "wss://h.example/x?access_token=a.b-c"),
    ],
)
def test_an_address_is_quoted_as_browsers_do(text: str, expected: str) -> None:
    assert address.cleaned(text) == expected


@pytest.mark.parametrize("text", BAD_ADDRESSES)
def test_an_address_that_nobody_can_ask_is_a_failure_with_its_reason(text: str) -> None:
    with pytest.raises(ToolError, match="is no address to measure with: ") as raised:
        Target(text)
    assert raised.value.failure.kind is FailureKind.TOOL_FAILED


def test_neither_password_nor_token_of_an_address_is_in_the_failure() -> None:
    with pytest.raises(ToolError) as raised:
        Target("ftp://me:secret@h.example/path?token=secret")
    assert "secret" not in raised.value.failure.message
    with speed_server(Manners(status=404)) as server:
        there = server.url.replace("//", "//me:secret@") + "/file?token=secret"
        setup = Setup(server.url, {"turnkey_url": there})
        with pytest.raises(ToolError) as raised:
            turnkey.TOOL.measure(setup)
    assert "secret" not in raised.value.failure.message


@pytest.mark.parametrize("bad", BAD_ADDRESSES)
@pytest.mark.parametrize("name", CLIENTS)
def test_a_tool_that_is_sent_to_no_address_fails_with_a_reason(name: str, bad: str) -> None:
    options = {key: bad if key.endswith("_url") else value for key, value in OPTIONS[name].items()}
    setup = Setup("http://127.0.0.1:1", options, line_up=False)
    if not bad:
        return  # no setting at all
    with pytest.raises(ToolError) as raised:
        tool(name).measure(setup)
    assert raised.value.failure.message


@pytest.mark.parametrize("path", ["/dösta/100mb.bin", "/test files/100mb.bin"])
@pytest.mark.parametrize("redirected", [False, True])
def test_turnkey_downloads_from_a_path_with_other_letters(path: str, redirected: bool) -> None:
    quoted = address.cleaned(f"http://h.example{path}").removeprefix("http://h.example")
    # As servers write it: bytes of UTF-8, which http.server would send as Latin-1.
    location = path.encode().decode("latin-1")
    answers = [
        {"request": f"HEAD {quoted}", "random_bytes": 100_000_000},
        {"request": f"GET {quoted}", "random_bytes": 100_000_000},
        {"request": "HEAD /start.bin", "status": 302, "headers": {"Location": location}},
    ]
    with replay_server(answers) as server:
        there = server.url + ("/start.bin" if redirected else path)
        setup = Setup(server.url, {"turnkey_url": there}, window_s=0.5)
        assert turnkey.TOOL.measure(setup).download_mbps is not None


def test_a_redirect_to_an_impossible_port_is_a_failure() -> None:
    with (
        speed_server(Manners(redirect="http://127.0.0.1:99999/100mb.bin")) as server,
        pytest.raises(ToolError, match="its port is 99999") as raised,
    ):
        turnkey.TOOL.measure(against("turnkey", server))
    assert raised.value.failure.kind is FailureKind.TOOL_FAILED


LISTED = {
    "librespeed": "librespeed_list_url",
    "fast": "fast_api_url",
    "ndt7": "ndt7_locate_url",
}
"""The tools that read a list of servers, and the setting that says where it is."""


def test_every_tool_with_a_list_of_servers_is_held_against_broken_ones() -> None:
    found = {
        name
        for name in CLIENTS
        for option in tool(name).options
        if "list" in option.help and option.name.endswith("_url")
    }
    assert found == set(LISTED)


def row(name: str, url: str) -> dict[str, object]:
    """An entry of that tool's list for a server at *url*."""
    if name == "librespeed":
        names = {"dlURL": "garbage.php", "ulURL": "empty.php", "pingURL": "empty.php"}
        return {"id": None, "name": None, "server": f" {url}/speed ", **names}
    if name == "fast":
        return {"url": f"{url}/fast/target?c=1"}
    return {"machine": None, "urls": {f"wss://{path}": f"{url}{path}" for path in PATHS}}


def document(name: str, rows: list[object]) -> bytes:
    key = {"fast": "targets", "ndt7": "results"}.get(name)
    return json.dumps({key: rows} if key else rows).encode()


@contextmanager
def listing(name: str, body: bytes) -> Iterator[Setup]:
    """A setup whose list of servers is *body*."""
    latin = body.decode("latin-1")
    answers = [
        {"request": "GET /fast/", "body": '<script src="app-1.js"></script>'},
        {"request": "GET /fast/app-1.js", "body": 'token:"T"'},
        {"request": "GET /list*", "latin1_body": latin},
    ]
    with replay_server(answers) as lists:
        options = {LISTED[name]: f"{lists.url}/list", "ndt7_agree": "yes"}
        options |= {"fast_command": "none", "fast_url": f"{lists.url}/fast/"}
        yield Setup("http://127.0.0.1:1", options, window_s=0.5)


@contextmanager
def good_server(name: str) -> Iterator[str]:
    if name == "ndt7":
        with ndt7_server() as server:
            yield server.url.replace("http", "ws")
    else:
        with speed_server() as server:
            yield server.url


@pytest.mark.parametrize("name", LISTED)
def test_broken_entries_are_left_out_and_the_good_one_is_measured(name: str) -> None:
    with good_server(name) as url:
        broken = [row(name, bad) for bad in BAD_ADDRESSES]
        with listing(name, document(name, [*JUNK, *broken, row(name, url)])) as setup:
            assert tool(name).measure(setup).download_mbps is not None


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"5",
        b'"x"',
        b"[]",
        b"{}",
        b'{"error": "rate limited"}',
        b'{"targets": 5, "results": 5}',
        b'{"targets": null, "results": {"a": 1}}',
        b"[" * 100_000,
        b'[{"server": "http://127.0.0.1:99999"}]',
        b"\xff\xfe\xfd",
        b"",
        json.dumps(JUNK).encode(),
    ],
    ids=lambda body: repr(body[:24]),
)
@pytest.mark.parametrize("name", LISTED)
def test_a_list_without_a_server_is_a_failure_with_its_reason(name: str, body: bytes) -> None:
    with listing(name, body) as setup, pytest.raises(ToolError) as raised:
        tool(name).measure(setup)
    assert raised.value.failure.message


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b""], ids=["a BOM", "Latin-1"])
def test_a_list_in_another_encoding_is_read(before: bytes) -> None:
    entry = dict(row("librespeed", "https://h.example"), id=7, name="Düsseldorf")
    text = json.dumps([entry], ensure_ascii=False)
    known = librespeed.entries(before + text.encode("utf-8" if before else "latin-1"))
    assert [(one.id, one.name) for one in known] == [("7", "Düsseldorf")]


def test_a_name_that_is_missing_is_no_word() -> None:
    (entry,) = librespeed.entries(document("librespeed", [row("librespeed", "https://h.example")]))
    assert (entry.id, entry.name) == (None, None)
    (place,) = fast.targets_of(document("fast", [row("fast", "https://h.example")]))
    assert place[1] is None


REFUSALS = {
    "refuses everything": Manners(status=503),
    "limits downloads": Manners(fault=Fault("download", status=429)),
    "is busy for most connections": Manners(fault=Fault("download", status=503, spared=1)),
    "is no such server": Manners(status=404),
    "sends a page": Manners(instead=(b"<html>" * 1000, "text/html")),
    "cuts": Manners(fault=Fault("download", cut=True)),
}


@pytest.mark.parametrize("manners", REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("name", LISTED)
def test_the_next_server_of_a_list_is_tried_when_the_first(name: str, manners: Manners) -> None:
    with speed_server(manners) as first, good_server(name) as second:
        figures = measured_of(name, first, second)
    assert figures.download_mbps is not None
    assert figures.upload_mbps is not None
    assert first.asked  # it was the first one


def measured_of(name: str, first: SpeedServer, second: str) -> Figures:
    rows: list[object] = [row(name, first.url), row(name, second)]
    with listing(name, document(name, rows)) as setup:
        return tool(name).measure(setup)


def test_where_all_servers_of_a_list_refuse_the_first_reason_is_told() -> None:
    with (
        speed_server(Manners(status=503)) as first,
        speed_server(Manners(status=404)) as second,
        pytest.raises(ToolError, match="HTTP 503") as raised,
    ):
        measured_of("fast", first, second.url)
    assert raised.value.failure.kind is FailureKind.RATE_LIMITED


def test_no_more_than_three_servers_are_tried() -> None:
    refused = Manners(status=503)
    with (
        speed_server(refused) as one,
        speed_server(refused) as two,
        speed_server(refused) as three,
        ndt7_server() as four,
    ):
        rows: list[object] = [row("ndt7", server.url) for server in (one, two, three)]
        rows.append(row("ndt7", four.url))
        with listing("ndt7", document("ndt7", rows)) as setup, suppress(ToolError):
            ndt7.TOOL.measure(setup)
    assert all(server.asked for server in (one, two, three))
    assert four.queries == []


def test_turnkey_s_other_places_are_tried_when_its_first_does_not_answer() -> None:
    with password_proxy(leads_nowhere=True) as proxy, pytest.raises(ToolError):
        turnkey.TOOL.measure(Setup("http://127.0.0.1:1", proxy=proxy.url_with_password))
    asked = dict.fromkeys(place for _method, place in proxy.asked)
    places = [f"speedtest-{where}.turnkeyinternet.net:443" for where in ("ny", "ca", "co")]
    assert list(asked) == places


@pytest.mark.parametrize(
    "answer",
    [(503, ""), (302, "http://127.0.0.1:99999/")],
    ids=["a refusal", "a redirect to nowhere"],
)
def test_cloudflare_measures_without_its_description_of_itself(answer: tuple[int, str]) -> None:
    status, location = answer
    answers: list[dict[str, Any]] = [
        {"request": "GET /meta", "status": status, "headers": {"Location": location}},
        {"request": "GET /__down?bytes=0"},
        {"request": "GET /__down*", "random_bytes": 25_000_000},
        {"request": "POST /__up"},
    ]
    with replay_server(answers) as server:
        setup = Setup(server.url, {"cloudflare_url": server.url}, window_s=0.5)
        figures = tool("cloudflare").measure(setup)
    assert figures.upload_mbps is not None


def test_cloudflare_s_description_is_asked_for_with_its_own_page_as_the_referer() -> None:
    with speed_server(Manners(wants_referer=True)) as server:
        figures = tool("cloudflare").measure(against("cloudflare", server))
    assert figures.server is not None
    assert figures.server.id == "FRA"
