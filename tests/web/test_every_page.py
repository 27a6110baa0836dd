"""Every page in every state: for everybody (WCAG 2.2 AA), on every screen, light and dark."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.lab.axe import Axe
from tests.lab.browser import sideways_px, watched
from tests.lab.steps import close
from tests.web.stages import OPEN_ALL, SCENES, TWO_FRAMES, Scene, Stage

pytestmark = pytest.mark.browser

STYLE = Path(__file__).parents[2] / "web/speedtrap_web/static/page.css"

LOOKS = {
    (False, 1440): Axe.whole,
    (True, 768): Axe.at_another_width,
    (False, 360): Axe.in_another_layout,
}
"""By whether it is dark, and the width in pixels: what is looked at that was not before."""
ON_PHONES_ALONE = ".heat-tall"
"""What the other widths do not show; it is looked at in the dark too."""


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
            show(page, dark, width)
            assert sideways_px(page) == 0, width
            assert look(axe) == [], f"{width} px, dark: {dark}"
        if page.locator(ON_PHONES_ALONE).count():
            show(page, dark=True, width=360)
            assert axe.in_other_colours() == []


def show(page: Page, dark: bool, width: int) -> None:
    page.emulate_media(color_scheme="dark" if dark else "light", reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate(TWO_FRAMES)


def test_nothing_else_is_shown_on_phones_alone() -> None:
    screen = STYLE.read_text(encoding="utf-8")
    hidden = re.findall(r"^([^\s{]+) \{[^}]*display: none", screen, re.MULTILINE)
    assert set(hidden) - {"[hidden]", ".u-legend"} == {ON_PHONES_ALONE}
