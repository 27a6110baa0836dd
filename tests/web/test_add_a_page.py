"""CONTRIBUTING's "Add a page", followed to the letter in a copy of the page: it is served."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx

from tests.lab.mongo import free_port
from tests.probe.home import wait_for
from tests.web.serving import a_graph_that_answers, served

ROOT = Path(__file__).resolve().parents[2]
SERVE = "from speedtrap_web.cli import main; main()"


def with_the_page_of_contributing(folder: Path) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## Add a page")[2].partition("\n## ")[0]
    [page] = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    [template] = re.findall(r"```html\n(.*?)```", section, re.DOTALL)
    shutil.copytree(ROOT / "web/speedtrap_web", folder / "speedtrap_web")
    (folder / "speedtrap_web/pages/count.py").write_text(page, encoding="utf-8")
    (folder / "speedtrap_web/templates/count.html").write_text(template, encoding="utf-8")


def test_a_new_page_is_served(tmp_path: Path) -> None:
    with_the_page_of_contributing(tmp_path)
    port, log = free_port(), tmp_path / "web.log"
    with served(a_graph_that_answers(200, {"data": {"probes": [{}, {}, {}]}})) as graph:
        settings = {"SPEEDTRAP_WEB_GRAPH_URL": graph, "PYTHONPATH": str(tmp_path)}
        with (
            log.open("wb") as out,
            subprocess.Popen(
                [sys.executable, "-c", SERVE, "serve", "--port", str(port)],
                env={**os.environ, **settings},
                cwd=tmp_path,
                stdout=out,
                stderr=out,
            ) as process,
        ):
            try:
                wait_for(lambda: "running on" in log.read_text())
                answer = httpx.get(f"http://127.0.0.1:{port}/count")
            finally:
                process.terminate()
    assert answer.status_code == 200
    assert "<h1>3</h1>" in answer.text
