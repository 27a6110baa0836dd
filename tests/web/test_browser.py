"""The page in a real Chromium, as people use it."""

import json
import re
from collections.abc import Iterator
from datetime import date, timedelta

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.lab.browser import log_in, reader, sideways_px
from tests.lab.service import Service
from tests.web.expected import address
from tests.web.history import HOSTILE_LETTER, LETTER, a_full_run, plan_a_notice, set_plan, submit
from tests.web.lines import Line, days_of, midnight

pytestmark = pytest.mark.browser

WIDTHS = (360, 768, 1440)
NOTICE = "query($id: ID!) { notice(id: $id) { status steps { by status why } } }"


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    with reader(chromium) as page:
        yield page


def slow_morning(service: Service, html: str = LETTER) -> dict[str, str]:
    """Seven runs below half of the plan, and the complaint about them that waits."""
    set_plan(service)
    submit(service, [a_full_run(hours_ago, 0.3) for hours_ago in range(7, 0, -1)])
    return plan_a_notice(service, html)


@pytest.mark.parametrize("metric", ["upload", "latency"])
def test_the_chart_shows_another_metric_and_one_tool(
    page: Page, lived_in: Service, metric: str
) -> None:
    page.goto(f"{lived_in.base_url}/?range=7d")
    page.get_by_role("link", name=metric.capitalize(), exact=True).click()
    page.get_by_role("link", name="fast", exact=True).click()
    page.wait_for_selector("#chart[data-ready]")
    expect(page.locator("#chart-title")).to_contain_text(
        f"{metric.capitalize()}, M" if metric == "upload" else "Latency, ms"
    )
    expect(page.locator("#chart-title")).to_contain_text("fast")
    page.locator("#chart").focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    unit = "Mbps" if metric == "upload" else "ms"
    expect(page.locator("#chart-read")).to_have_text(re.compile(rf"median [\d.]+ {unit}"))


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_whole_without_scripts(
    chromium: Browser, lived_in: Service, width: int
) -> None:
    with reader(chromium, width=width, scripts=False) as page:
        page.goto(f"{lived_in.base_url}/?range=7d")
        expect(page.locator("#chart .s-median")).to_be_visible()
        expect(page.get_by_text("written, waits for approval")).to_be_visible()
        page.get_by_role("link", name="24 h").click()
        expect(page.get_by_role("link", name="24 h")).to_have_attribute("aria-current", "page")


def test_the_chart_is_read_by_the_keyboard(page: Page, lived_in: Service) -> None:
    page.goto(f"{lived_in.base_url}/?range=24h")
    page.wait_for_selector("#chart[data-ready]")
    page.locator("#chart").focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    read = page.locator("#chart-read")
    expect(read).to_have_text(re.compile(r"median \d+ Mbps .*of plan.*n = 1"))
    before = read.inner_text()
    page.keyboard.press("ArrowLeft")
    expect(read).not_to_have_text(before)
    expect(page.locator(".chart-tip")).to_be_visible()


def test_dragging_zooms_and_a_double_click_goes_back(page: Page, lived_in: Service) -> None:
    page.goto(f"{lived_in.base_url}/?range=7d")
    page.wait_for_selector("#chart[data-ready]")
    page.locator("#chart").scroll_into_view_if_needed()
    before = page.locator("#chart canvas").screenshot()
    box = page.locator("#chart .u-over").bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.3, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, middle, steps=5)
    page.mouse.up()
    page.mouse.move(0, 0)
    zoomed = page.locator("#chart canvas").screenshot()
    assert zoomed != before
    page.locator("#chart .u-over").dblclick()
    page.mouse.move(0, 0)
    expect(page.locator(".chart-tip")).to_be_hidden()
    assert page.locator("#chart canvas").screenshot() == before


def test_one_finger_zooms_and_a_button_goes_back(chromium: Browser, lived_in: Service) -> None:
    with reader(chromium, width=390, touch=True) as page:
        page.goto(f"{lived_in.base_url}/?range=7d")
        page.wait_for_selector("#chart[data-ready]")
        back = page.get_by_role("button", name="Show the whole range")
        expect(back).to_be_hidden()
        page.locator("#chart").scroll_into_view_if_needed()
        box = page.locator("#chart .u-over").bounding_box()
        assert box is not None
        y = box["y"] + box["height"] / 2
        fingers = page.context.new_cdp_session(page)

        def touch(kind: str, *shares: float) -> None:
            points = [{"x": box["x"] + box["width"] * share, "y": y} for share in shares]
            fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        touch("touchStart", 0.2)
        touch("touchMove", 0.4)
        touch("touchMove", 0.7)
        touch("touchEnd")
        expect(back).to_be_visible()
        back.click()
        expect(back).to_be_hidden()


@pytest.mark.parametrize(("still", "name"), [(True, "none"), (False, "pulse")])
def test_nothing_moves_for_who_wants_it_so(
    chromium: Browser, empty: Service, still: bool, name: str
) -> None:
    with reader(chromium, still=still) as page:
        page.goto(empty.base_url)
        motion = "getComputedStyle(document.querySelector('.pulse')).animationName"
        assert page.evaluate(motion) == name


def test_the_first_start_leads_from_the_plan_to_the_first_run(page: Page, empty: Service) -> None:
    page.goto(empty.base_url)
    page.get_by_role("link", name="Set the plan").click()
    page.get_by_label("Admin key").fill(empty.keys["admin"])
    page.get_by_role("button", name="Log in").click()
    page.get_by_label("Provider").fill("Contoso Fibre")
    page.get_by_label("Subscribed download").fill("940")
    page.get_by_label("Time zone").fill("America/Denver")
    page.get_by_role("button", name="Save the plan").click()
    expect(page.locator(".steps")).to_contain_text("The plan is set.")
    expect(page.locator(".command code").last).to_contain_text(f"--url {empty.base_url}")
    submit(empty, [a_full_run(0.01, 0.97)])
    expect(page.locator("h1")).to_have_text("Too early to say.")
    expect(page.locator("header")).to_contain_text("Contoso Fibre · 940 Mbps down")


def test_an_empty_page_waits_and_shows_the_first_run_by_itself(page: Page, empty: Service) -> None:
    page.goto(empty.base_url)
    expect(page.locator("h1")).to_have_text("Waiting for the first run")
    command = f"speedtrap probe run -k YOUR-KEY --url {empty.base_url}"
    expect(page.get_by_text(command)).to_be_visible()
    submit(empty, [a_full_run(0.01, None, line_up=False)])
    expect(page.locator("h1")).to_have_text("No verdict without a plan.")


def test_failed_tools_are_shown_with_their_reason_and_nothing_is_judged_without_a_plan(
    page: Page, empty: Service
) -> None:
    submit(empty, [a_full_run(0.01, None, line_up=False)])
    page.goto(empty.base_url)
    last = page.locator(".at-last")
    expect(last.get_by_text("no network: Name or service not known")).to_have_count(3)
    expect(last.get_by_role("row", name=re.compile("^lan")).locator("td").first).to_have_text(
        "2,310"
    )
    expect(last.locator("td", has_text=re.compile(r"^0(\.0+)?$"))).to_have_count(0)
    expect(page.locator(".tile.tone-bad, .tile.tone-warn, .tile.tone-good")).to_have_count(0)
    expect(page.locator(".at-breaches")).to_contain_text("None recorded.")
    page.get_by_role("link", name="Set the plan").click()
    expect(page.locator("h1")).to_have_text("Log in")


def test_a_new_run_appears_without_a_reload(page: Page, empty: Service) -> None:
    set_plan(empty)
    submit(empty, [a_full_run(3, 0.97)])
    page.goto(empty.base_url)
    page.evaluate("window.sameDocument = true")
    page.wait_for_selector("#chart[data-ready]")
    page.wait_for_timeout(1000)
    submit(empty, [a_full_run(0.01, 0.5)])
    expect(page.locator(".tile").last).to_contain_text("470", timeout=40_000)
    expect(page.locator("#live")).to_have_text("A new run arrived; the page was updated.")
    assert page.evaluate("window.sameDocument")


def test_a_page_whose_service_went_away_keeps_what_it_has(page: Page, empty: Service) -> None:
    set_plan(empty)
    submit(empty, [a_full_run(3, 0.97)])
    page.goto(empty.base_url)
    page.wait_for_selector("#chart[data-ready]")
    empty.kill()
    expect(page.locator("#live")).to_contain_text("has not answered since", timeout=40_000)
    expect(page.locator(".tile")).to_have_count(6)


def test_a_wrong_key_is_told_beside_the_field(page: Page, empty: Service) -> None:
    page.goto(f"{empty.base_url}/login")
    page.get_by_label("Admin key").fill("not-the-key-of-anybody")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("This key is not known.")
    expect(page.get_by_label("Admin key")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Admin key")).to_be_focused()


def test_an_admin_sets_the_plan(page: Page, empty: Service) -> None:
    submit(empty, [a_full_run(0.5, 0.97)])
    log_in(page, empty.base_url, empty.keys["admin"])
    page.get_by_role("link", name="Set the plan").click()
    page.get_by_label("Provider").fill("Contoso Fibre")
    page.get_by_label("Subscribed download").fill("940")
    expect(page.get_by_label("Time zone")).not_to_have_value("")
    page.get_by_role("button", name="Save the plan").click()
    expect(page.get_by_role("status").first).to_be_attached()
    expect(page.locator("main")).to_contain_text("The plan is saved.")
    expect(page.locator("header")).to_contain_text("Contoso Fibre · 940 Mbps down")


def test_a_notice_is_read_and_approved_by_the_keyboard_alone(page: Page, empty: Service) -> None:
    notice = slow_morning(empty)
    log_in(page, empty.base_url, empty.keys["admin"])
    press_tab_until(page, "Read and decide")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{empty.base_url}/notices/{notice['id']}")
    expect(page.locator("pre.letter")).to_contain_text("please check the line")
    expect(page.get_by_text("support@isp.example")).to_be_visible()
    expect(page.locator(".facts code")).to_have_text(notice["digest"])
    press_tab_until(page, "Approve and send")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_contain_text("Approved.")
    expect(page.get_by_role("button", name="Approve and send")).to_have_count(0)
    read = empty.query(NOTICE, {"id": notice["id"]})["notice"]
    assert read["status"] in {"APPROVED", "DUE"}
    assert any(step["by"] == "operator" for step in read["steps"])


def test_the_first_key_skips_to_the_content(page: Page, lived_in: Service) -> None:
    page.goto(f"{lived_in.base_url}/breaches")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")


def test_a_breach_is_found_and_its_letter_rejected_by_the_keyboard_alone(
    page: Page, empty: Service
) -> None:
    notice = slow_morning(empty)
    log_in(page, empty.base_url, empty.keys["admin"])
    press_tab_until(page, "Breaches")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{empty.base_url}/breaches")
    press_tab_until(page, "ST-")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{empty.base_url}/breaches/*")
    press_tab_until(page, "Approve and send")
    page.keyboard.press("Tab")
    page.keyboard.type("We were downloading ourselves")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_contain_text("Rejected. It will not be sent.")
    assert empty.query(NOTICE, {"id": notice["id"]})["notice"]["status"] == "REJECTED"


FOCUS = """() => {
  const at = document.activeElement;
  const style = getComputedStyle(at);
  const seen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  return { text: at.textContent.trim(), seen: seen || at === document.body };
}"""


def press_tab_until(page: Page, name: str) -> None:
    """Goes on by the keyboard until the thing whose text begins with *name* has the focus; on the
    way each thing shows that it has it.
    """
    for _ in range(80):
        page.keyboard.press("Tab")
        focus = page.evaluate(FOCUS)
        assert focus["seen"], focus["text"]
        if focus["text"].startswith(name):
            return
    pytest.fail(f"the keyboard does not reach {name!r}")


def test_a_notice_is_rejected_with_a_reason(page: Page, empty: Service) -> None:
    notice = slow_morning(empty)
    log_in(page, empty.base_url, empty.keys["admin"])
    page.goto(f"{empty.base_url}/notices/{notice['id']}")
    page.get_by_label("Why it should not be sent").fill("We were downloading ourselves")
    page.get_by_role("button", name="Reject").click()
    expect(page.locator("main")).to_contain_text("Rejected. It will not be sent.")
    page.goto(empty.base_url)
    expect(page.locator(".notices")).to_contain_text(
        "rejected, not sent, because: We were downloading ourselves"
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_the_letter_is_shown_as_its_reader_sees_it(
    chromium: Browser, lived_in: Service, width: int
) -> None:
    with reader(chromium, width=width) as page:
        log_in(page, lived_in.base_url, lived_in.keys["admin"])
        page.get_by_role("link", name="Read and decide").click()
        letter = page.frame_locator(".letter-frame")
        expect(letter.locator("h1")).to_have_text("Dear support team")
        expect(letter.get_by_alt_text("chart")).to_have_attribute(
            "src", re.compile("^data:image/png;base64,")
        )
        expect(page.get_by_alt_text("Download over time")).to_be_visible()
        assert sideways_px(page) == 0


def test_a_hostile_letter_can_do_nothing(chromium: Browser, empty: Service) -> None:
    notice = slow_morning(empty, HOSTILE_LETTER)
    refused = ("Blocked script execution", "https://example.com/spy.png")
    with reader(chromium, refused=refused) as page:
        log_in(page, empty.base_url, empty.keys["admin"])
        page.goto(f"{empty.base_url}/notices/{notice['id']}")
        expect(page.frame_locator(".letter-frame").locator("h1")).to_have_text("Dear support team")
        expect(page).to_have_title(re.compile("^Mail: complaint about ST-"))
        # Opened by itself it is just as powerless.
        page.goto(f"{empty.base_url}/notices/{notice['id']}/letter")
        assert page.title() != "taken over"


def test_an_attachment_is_downloaded_and_never_opened(page: Page, lived_in: Service) -> None:
    log_in(page, lived_in.base_url, lived_in.keys["admin"])
    page.get_by_role("link", name="Read and decide").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="runs.csv").click()
    assert download.value.suggested_filename == "runs.csv"


@pytest.mark.parametrize(("since", "until", "days"), [(25, 27, 3), (25, 31, 7), (24, 25, 2)])
def test_day_labels_of_the_chart_stand_at_midnight_from_a_day_of_25_hours_on(
    page: Page, measured: Service, lines: dict[str, Line], since: int, until: int, days: int
) -> None:
    """In Berlin clocks go back on 25 October."""
    line = lines["attic"]
    [year] = {run.start.year for run in line.runs}
    first = date(year, 10, since)
    page.goto(measured.base_url + address(line, since=f"{first}", until=f"{first:%Y-%m}-{until}"))
    page.wait_for_selector("#chart[data-ready]")
    labels = dict(json.loads(page.locator("#chart").get_attribute("data-labels") or "[]"))
    midnights = {
        midnight(day, line.zone).timestamp(): f"{day.day} {day:%b}"
        for day in days_of(first, first + timedelta(days=days))
    }
    of_days = {at: label for at, label in labels.items() if ":" not in label}
    assert len(of_days) >= days / 2, labels
    assert of_days == {at: midnights[at] for at in of_days}
    assert not midnights.keys() & (labels.keys() - of_days.keys())


def test_the_chart_tells_the_two_hours_apart_that_the_clock_shows_twice(
    page: Page, measured: Service, lines: dict[str, Line]
) -> None:
    line = lines["attic"]
    [year] = {run.start.year for run in line.runs}
    day = f"{year}-10-25"
    page.goto(measured.base_url + address(line, since=day, until=day))
    page.wait_for_selector("#chart[data-ready]")
    page.locator("#chart").focus()
    page.keyboard.press("Home")
    said = []
    for _ in range(5):
        said.append(page.locator("#chart-read").inner_text().partition(": ")[0])
        page.keyboard.press("ArrowRight")
    assert [text.partition(", ")[2] for text in said] == [
        "00:00", "01:00", "02:00 CEST", "02:00 CET", "03:00",
    ]  # fmt: skip
