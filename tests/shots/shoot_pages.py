"""`make shots`: every page in every state, at every width, light and dark, as pictures in shots/.

For looking at. `make shots ARGS="-k breach"` takes some.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.lab.browser import reader, running_browser
from tests.lab.mongo import Mongod
from tests.web.stages import MAIN, SCENES, Scene, Stage, all_stages, lived_in_service

FOLDER = Path(__file__).parents[2] / "shots"
WIDTHS = (360, 768, 1440)
LANGUAGES = {"en": "en-GB", "es": "es-ES"}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    FOLDER.mkdir(exist_ok=True)
    with running_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def stages(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Stage]]:
    folder = tmp_path_factory.mktemp("stages")
    with (
        lived_in_service(mongod, folder / "lived-in") as service,
        all_stages(mongod, service, folder) as stages,
    ):
        yield stages


WANTED = [
    pytest.param(scene, language, id=f"{scene.name}-{language}")
    for language in LANGUAGES
    for scene in SCENES
    if language == "en" or scene.name in MAIN
]


@pytest.mark.parametrize(("scene", "language"), WANTED)
def shoot_page(chromium: Browser, stages: dict[str, Stage], scene: Scene, language: str) -> None:
    with reader(chromium, locale=LANGUAGES[language]) as page:
        stages[scene.stage].enter(page, scene, language)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                page.wait_for_timeout(100)
                name = f"{scene.name}-{language}-{width}-{scheme}.png"
                page.screenshot(path=FOLDER / name, full_page=True)


def scene(name: str) -> Scene:
    return next(scene for scene in SCENES if scene.name == name)


def shoot_a_very_wide_screen(chromium: Browser, stages: dict[str, Stage]) -> None:
    with reader(chromium, width=3840, height=2160) as page:
        stages["lived-in"].enter(page, scene("overview"))
        page.screenshot(path=FOLDER / "overview-en-3840-light.png", full_page=True)


def shoot_paper(chromium: Browser, stages: dict[str, Stage]) -> None:
    """The report as it is printed."""
    with reader(chromium) as page:
        stages["lived-in"].enter(page, scene("report"))
        page.pdf(path=FOLDER / "report.pdf", format="A4")
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 794, "height": 1123})
        page.screenshot(path=FOLDER / "report-en-print.png", full_page=True)
