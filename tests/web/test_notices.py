"""What a page says of notices that were held back, told elsewhere, or turned out to be wrong."""

from collections.abc import Iterator

import httpx
import pytest

from tests.lab.service import Service
from tests.web.history import a_full_run, plan_a_notice, set_plan, submit
from tests.web.letters import DELETE, plan_a_digest, send, the_breach
from tests.web.test_pages import SAME_SITE, text_of


@pytest.fixture
def admin(empty: Service) -> Iterator[httpx.Client]:
    set_plan(empty)
    submit(empty, [a_full_run(hours_ago, 0.3) for hours_ago in range(9, 1, -1)])
    with httpx.Client(base_url=empty.base_url, headers=SAME_SITE, timeout=30) as client:
        client.post("/login", data={"key": empty.keys["admin"]})
        yield client


def test_a_complaint_that_no_longer_holds_says_so_with_what_to_do(
    admin: httpx.Client, empty: Service
) -> None:
    notice, breach = plan_a_notice(empty), the_breach(empty)
    send(empty, notice)
    page = f"/notices/{notice['id']}"
    assert "no longer holds" not in text_of(admin.get(page))
    for run in breach["runs"][:4]:
        empty.query(DELETE, {"id": run["id"]})
    text = text_of(admin.get(page))
    assert "▲ sent" in text
    assert "This was sent, and no longer holds" in text
    assert "Not right any more, as is known since" in text
    assert f"Write to support@isp.example that the letter about {breach['reference']}" in text
    for path in (f"/breaches/{breach['id']}", "/breaches"):
        assert "Not right any more" in text_of(admin.get(path)), path


def test_a_digest_and_what_it_tells_of_lead_to_each_other(
    admin: httpx.Client, empty: Service
) -> None:
    held_back, breach = plan_a_notice(empty), the_breach(empty)
    submit(empty, [a_full_run(1, 0.9)])
    told = plan_a_digest(empty, breach["id"])
    page = admin.get(f"/notices/{held_back['id']}")
    assert "Told instead in digest" in text_of(page)
    assert f'href="/notices/{told["id"]}"' in page.text
    of_digest = admin.get(f"/notices/{told['id']}")
    assert "The breaches that it tells of" in text_of(of_digest)
    assert of_digest.text.count(f'href="/breaches/{breach["id"]}"') == 2
    for path in ("/", "/breaches", f"/breaches/{breach['id']}"):
        assert "Told instead in digest" in text_of(admin.get(path)), path


REPORT = """
mutation($state: ChannelState!) { reportChannel(channel: "mail", worker: "w", state: $state) }
"""


def test_a_letter_that_could_not_be_sent_says_so_above_its_text_and_asks_for_no_leave(
    admin: httpx.Client, empty: Service
) -> None:
    notice, breach = plan_a_notice(empty), the_breach(empty)
    pages = (f"/notices/{notice['id']}", f"/breaches/{breach['id']}")
    for state, can in (("READY", True), ("UNCONFIGURED", False), ("READY", True)):
        empty.query(REPORT, {"state": state}, role="bot")
        for path in pages:
            text = text_of(admin.get(path))
            assert ("Approve and send" in text) is can, path
            assert ("Cannot be sent as it is" in text) is not can, path
            if not can:
                before_the_text = text.partition("Dear support team")[0]
                assert "SPEEDTRAP_BOTS_MAIL_TO, _HOST and _FROM" in before_the_text
                spanish = admin.get(path, headers={"Accept-Language": "es"})
                assert "No puede enviarse así: el bot del canal dice" in text_of(spanish)
