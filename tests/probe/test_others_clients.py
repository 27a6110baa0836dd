"""Clients of others against the lab's servers: what our own are tested against is no invention."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.lab.browser import running_browser
from tests.lab.http11 import Handler, Server, serving
from tests.lab.ndt7 import PATHS, Habits, ndt7_server
from tests.lab.npm import client

pytestmark = pytest.mark.browser

MEASURE = """async ([server, folder]) => {
  const seen = {errors: [], server: {download: [], upload: []}, client: {}};
  const kept = (test) => ({Source, Data}) => {
    if (Source === 'server') seen.server[test].push(Data); else seen.client[test] = Data;
  };
  const config = {server, protocol: 'ws', userAcceptedDataPolicy: true,
    metadata: {client_name: 'lab'}, downloadworkerfile: folder + 'ndt7-download-worker.js',
    uploadworkerfile: folder + 'ndt7-upload-worker.js'};
  seen.code = await ndt7.test(config, {
    error: (message) => seen.errors.push(message),
    downloadMeasurement: kept('download'),
    uploadMeasurement: kept('upload'),
  });
  return seen;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as running:
        yield running


@pytest.fixture(scope="module")
def page_server() -> Iterator[Server]:
    """Serves M-Lab's library, and an empty page that has it."""
    folder = client("@m-lab/ndt7") / "src"

    class Files(Handler):
        def do_GET(self) -> None:  # noqa: N802 - the base class's name
            file = folder / Path(self.route).name
            if self.route == "/":
                self.answer(b"<script src=/ndt7.js></script>", media_type="text/html")
            elif file.is_file():
                self.answer(file.read_bytes(), media_type="text/javascript")
            else:
                self.answer(b"no such file", 404)

    with serving(Server(("127.0.0.1", 0), Files)) as server:
        yield server


def test_m_lab_s_own_client_measures_against_the_lab_s_server(
    browser: Browser, page_server: Server
) -> None:
    with ndt7_server(Habits(duration_s=1.5, download_mbps=200)) as server:
        page = browser.new_page()
        page.goto(page_server.url)
        address = server.url.removeprefix("http://")
        seen: dict[str, Any] = page.evaluate(MEASURE, [address, f"{page_server.url}/"])
        page.close()
    assert (seen["code"], seen["errors"]) == (0, [])
    assert seen["client"]["download"]["MeanClientMbps"] > 0
    assert seen["client"]["upload"]["MeanClientMbps"] > 0
    for told in seen["server"].values():
        assert told
        assert all("TCPInfo" in one and "AppInfo" not in one for one in told)
    assert seen["server"]["upload"][-1]["TCPInfo"]["BytesReceived"] > 0
    assert sorted(server.ended) == sorted(PATHS)
    assert server.breaches == []
