"""The letter as a mail program shows it on a phone."""

from datetime import timedelta

import pytest
from speedtrap_bots.letter import letter
from speedtrap_bots.model import Figure, ServiceReport, Stage

from tests.bots.builders import NOON, a_breach
from tests.lab.browser import running_browser, sideways_px

REPORT = ServiceReport(
    since=NOON - timedelta(days=30),
    until=NOON,
    n=120,
    median_mbps=903,
    median_ratio=0.96,
    fcc_band="AT_LEAST_95",
    consistent_mbps=120,
    consistent_ratio=0.13,
    peak=Figure(median=140, n=22),
    off_peak=Figure(median=920, n=98),
)


@pytest.mark.browser
def test_no_letter_is_wider_than_a_phone() -> None:
    with running_browser() as browser:
        page = browser.new_page(viewport={"width": 360, "height": 640})
        for stage in Stage:
            ended = {"status": "RESOLVED", "resolved_at": NOON + timedelta(hours=7)}
            breach = a_breach(report=REPORT, **ended)
            content = letter(breach, stage, sender="Jane Doe", contact="jane@home.example")
            page.set_content(content.html or "")
            assert sideways_px(page) == 0, stage


def test_the_letter_sums_up_the_month_before() -> None:
    content = letter(a_breach(report=REPORT), Stage.OPENING, sender="", contact="")
    for words in (
        "903.0 Mbps (96 %); FCC band: at least 95 % of the subscribed speed",
        "120.0 Mbps (13 %): 80 % of the measurements at peak reach it",
        "140.0 Mbps, n = 22",
        "920.0 Mbps, n = 98",
        "connected by cable",
    ):
        assert words in content.text
