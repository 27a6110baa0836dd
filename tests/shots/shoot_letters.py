"""`make shots`: each letter as a mail program shows it and each page of the evidence pack."""

import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from speedtrap_bots.content import Content
from speedtrap_bots.letter import letter, post
from speedtrap_bots.letter.pack import pack_pdf
from speedtrap_bots.model import Breach, Stage

from tests.bots.builders import NOON, a_breach, a_run
from tests.bots.letter.test_page import REPORT
from tests.lab.browser import running_browser

FOLDER = Path(__file__).parents[2] / "shots"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    FOLDER.mkdir(exist_ok=True)
    with running_browser() as browser:
        yield browser


def a_full_breach(stage: Stage) -> Breach:
    over = stage in {Stage.RECOVERY, Stage.DIGEST}
    ended = {"status": "RESOLVED", "resolved_at": NOON + timedelta(hours=7)} if over else {}
    return a_breach(report=REPORT, **ended)


def a_letter(stage: Stage) -> Content:
    return letter(a_full_breach(stage), stage, sender="Jane Doe", contact="jane@home.example")


@pytest.mark.parametrize("stage", list(Stage))
def shoot_letter(chromium: Browser, stage: Stage) -> None:
    content = a_letter(stage)
    name = f"letter-{stage.lower()}"
    (FOLDER / f"{name}.txt").write_text(f"{content.subject}\n\n{content.text}", encoding="utf-8")
    for file in content.files:
        (FOLDER / f"{name}-{file.name}").write_bytes(file.content)
    html = (content.html or "").replace("cid:chart.png@speedtrap", f"{name}-chart.png")
    page_file = FOLDER / f"{name}.html"
    page_file.write_text(html, encoding="utf-8")
    for width in (360, 1024):
        for scheme in ("light", "dark"):
            page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            page.goto(page_file.as_uri())
            page.screenshot(path=FOLDER / f"{name}-{width}-{scheme}.png", full_page=True)
            page.close()


def shoot_posts() -> None:
    FOLDER.mkdir(exist_ok=True)
    posts = [post(a_full_breach(s), s).text for s in (Stage.OPENING, Stage.RECOVERY)]
    (FOLDER / "posts.txt").write_text("\n\n".join(posts), encoding="utf-8")


@pytest.mark.parametrize("runs", [16, 300])
def shoot_pack(runs: int) -> None:
    FOLDER.mkdir(exist_ok=True)
    breach = a_full_breach(Stage.OPENING)
    if runs > 16:
        slow = tuple(a_run(n, 100.0 + n % 40) for n in range(runs))
        last = {"last_run_at": slow[-1].started_at}
        breach = breach.model_copy(update={"runs": slow, "count": runs, **last})
    pdf = FOLDER / f"pack-{runs}.pdf"
    pdf.write_bytes(pack_pdf(breach))
    program = shutil.which("pdftoppm")
    assert program, "apt-get install poppler-utils"
    subprocess.run([program, "-r", "90", "-png", pdf, FOLDER / f"pack-{runs}"], check=True)
