"""What a stranger sends has a bound; a quadratic pattern would outlast a time limit of tests."""

import json

import pytest
from speedtrap_probe.engine.frames import Frames
from speedtrap_probe.engine.server_timing import server_ms
from speedtrap_probe.errors import ToolError
from speedtrap_probe.tools import fast, librespeed, ndt7


@pytest.mark.parametrize(
    "page", ["<script src='" + "app-" * 2_000_000, "src='app-" * 1_000_000, "src='" * 2_000_000]
)
def test_a_page_of_megabytes_that_nearly_names_a_script_is_refused(page: str) -> None:
    with pytest.raises(ToolError, match="no script"):
        fast.script_of(page)


@pytest.mark.parametrize(
    "script", ["token" + " " * 8_000_000, "token='" + "a" * 8_000_000, "token:'a.b-" * 700_000]
)
def test_a_script_of_megabytes_that_nearly_holds_a_token_is_refused(script: str) -> None:
    with pytest.raises(ToolError, match="no token"):
        fast.token_of(script)


def test_the_script_and_its_token_are_found_as_before() -> None:
    page = '<script src="/other.js"></script><script async src="/js/app-dd0f-6.js"></script>'
    assert fast.script_of(page) == "/js/app-dd0f-6.js"
    assert fast.token_of('x={token:"YXNk.Zg-1",a:1}') == "YXNk.Zg-1"


def test_quotes_that_never_end_are_no_time() -> None:
    assert server_ms(['"' + '\\"' * 30_000] * 100) == 0
    assert server_ms(["cfRequestDuration;dur=12.5", "a" * 60_000]) == 12.5


def test_a_text_frame_of_more_than_64_kb_is_refused() -> None:
    with pytest.raises(ValueError, match="a text of more than 65,536 bytes"):
        list(Frames().feed(b"\x81\x7f" + (65_537).to_bytes(8, "big")))


def test_of_measurements_without_end_a_thousand_are_kept() -> None:
    heard = ndt7.Heard()
    text = json.dumps({"TCPInfo": {"RTT": 1, "ElapsedTime": 1, "BytesReceived": 1}})
    for _ in range(3 * ndt7.MEASUREMENTS):
        heard.read(text)
    assert len(heard.rtts_ms) == len(heard.received) == ndt7.MEASUREMENTS


def test_a_number_of_hundreds_of_digits_is_no_figure() -> None:
    heard = ndt7.Heard()
    heard.read('{"TCPInfo": {"RTT": ' + "9" * 400 + "}}")
    assert heard.rtts_ms == []


def test_of_a_list_without_end_the_first_are_looked_at() -> None:
    row = {"server": "//a.example/", "dlURL": "g", "ulURL": "e", "pingURL": "e"}
    assert len(librespeed.entries(json.dumps([row] * 5000).encode())) == librespeed.LISTED
