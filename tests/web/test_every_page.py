"""Every page in every state: for everybody (WCAG 2.2 AA), on every screen, light and dark."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, expect
from speedtrap_web.text.catalogue import EN, ES

from tests.lab.axe import Axe
from tests.lab.browser import reader, running_browser, sideways_px, watched
from tests.lab.mongo import Mongod
from tests.lab.service import Service
from tests.lab.steps import close
from tests.web.stages import MAIN, SCENES, Scene, Stage, all_stages, log_in_quietly

pytestmark = pytest.mark.browser

LOOKS = {
    (False, 1440): Axe.whole,
    (False, 768): Axe.at_another_width,
    (False, 360): Axe.in_another_layout,
    (True, 360): Axe.in_other_colours,
    (True, 768): Axe.in_other_colours,
    (True, 1440): Axe.in_other_colours,
}
"""By whether it is dark, and the width in pixels: what is looked at that was not before."""
OPEN_ALL = "for (const part of document.querySelectorAll('details')) part.open = true"
TWO_FRAMES = "() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def stages(
    mongod: Mongod, lived_in: Service, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Stage]]:
    with all_stages(mongod, lived_in, tmp_path_factory.mktemp("stages")) as stages:
        yield stages


@pytest.fixture(scope="module")
def readers(chromium: Browser) -> Iterator[dict[bool, BrowserContext]]:
    """Everybody, and an admin; they keep what they once fetched, as browsers do."""
    contexts = {admin: chromium.new_context(locale="en-GB") for admin in (False, True)}
    yield contexts
    for context in contexts.values():
        close(context)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_a_page_is_for_everybody_and_every_screen(
    readers: dict[bool, BrowserContext], stages: dict[str, Stage], scene: Scene
) -> None:
    with watched(readers[scene.admin]) as page:
        page.set_viewport_size({"width": 1440, "height": 900})
        stages[scene.stage].enter(page, scene)
        expect(page.locator("h1")).to_have_count(1)
        page.evaluate(OPEN_ALL)
        axe = Axe(page)
        for (dark, width), look in LOOKS.items():
            page.emulate_media(color_scheme="dark" if dark else "light", reduced_motion="reduce")
            page.set_viewport_size({"width": width, "height": 900})
            page.evaluate(TWO_FRAMES)
            assert sideways_px(page) == 0, width
            assert look(axe) == [], f"{width} px, dark: {dark}"


@pytest.mark.parametrize("admin", [False, True], ids=["reader", "admin"])
def test_every_page_is_whole_without_scripts(
    chromium: Browser, stages: dict[str, Stage], admin: bool
) -> None:
    with reader(chromium, width=768, scripts=False) as page:
        for scene in (scene for scene in SCENES if scene.admin is admin):
            stage = stages[scene.stage]
            if admin:
                log_in_quietly(page.context, stage)
                stage.just_now()
            page.goto(stage.address(scene))
            expect(page.locator("h1"), scene.name).to_have_count(1)
            expect(page.locator("body"), scene.name).to_contain_text(scene.shows)
            for button in page.locator("button.copy, #chart-reset").all():
                expect(button, scene.name).to_be_hidden()


@pytest.mark.parametrize("name", MAIN)
def test_a_page_in_spanish_is_whole_and_fits(
    chromium: Browser, stages: dict[str, Stage], name: str
) -> None:
    scene = next(scene for scene in SCENES if scene.name == name)
    with reader(chromium, locale="es-ES") as page:
        stages[scene.stage].enter(page, scene, "es")
        page.evaluate(OPEN_ALL)
        for width in (1440, 360):
            page.set_viewport_size({"width": width, "height": 900})
            page.evaluate(TWO_FRAMES)
            assert sideways_px(page) == 0, width
        assert Axe(page).structure() == []
        page.evaluate("for (const part of document.querySelectorAll('[lang=en]')) part.remove()")
        assert english_in(page.locator("body").inner_text()) == []


def english_in(text: str) -> list[str]:
    """What the page says in English, though it has Spanish words for it."""
    return [
        words
        for words in EN.words.values()
        if len(words) > 5
        and "{" not in words
        and words not in ES.words.values()
        and re.search(rf"\b{re.escape(words)}\b", text)
    ]
