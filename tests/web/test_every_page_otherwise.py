"""Every page without scripts, and in Spanish."""

import re

import pytest
from playwright.sync_api import Browser, expect
from speedtrap_web.text.catalogue import EN, ES

from tests.lab.axe import Axe
from tests.lab.browser import reader, sideways_px
from tests.web.stages import MAIN, OPEN_ALL, SCENES, TWO_FRAMES, Stage, log_in_quietly

pytestmark = pytest.mark.browser


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
