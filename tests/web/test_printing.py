"""The PDFs: what the pages say, on paper, and what others wrote stays text."""

import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest
from speedtrap_web.catalogue import EN
from speedtrap_web.printing import evidence_data, set_pdf
from speedtrap_web.views.breaches import BreachLine
from speedtrap_web.views.runs import Cell, Line, Table

from tests.bots.hostile import STRINGS
from tests.lab.service import Service
from tests.web.stages import shared_link, things_of
from tests.web.test_pages import SAME_SITE, text_of

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def client(lived_in: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=lived_in.base_url, headers=SAME_SITE, timeout=30) as client:
        yield client


def words_of(pdf: bytes) -> str:
    """The text as a reader copies it; long words may carry a place to break."""
    assert pdf.startswith(b"%PDF")
    command = ["pdftotext", "-layout", "-", "-"]
    text = subprocess.run(command, input=pdf, capture_output=True, check=True).stdout
    return " ".join(text.decode().replace("\u200b", "").split())


def test_the_report_on_paper_holds_the_figures_of_the_page(client: httpx.Client) -> None:
    page = client.get("/report")
    link = re.search(r'href="(/report\.pdf[^"]+)"', page.text)
    assert link is not None
    pdf = client.get(link[1].replace("&amp;", "&"))
    assert pdf.headers["content-type"] == "application/pdf"
    text = words_of(pdf.content)
    for figure in re.findall(r'<p class="value">(?:<span.*?</span>)?([^<]+)', page.text):
        assert " ".join(figure.split()) in text
    for cell in re.findall(r"<td>([\d,.]+)</td>", page.text):
        assert cell in text
    assert "Contoso Fibre" in text
    again = client.get(link[1].replace("&amp;", "&"))
    third = client.get(link[1].replace("&amp;", "&"))
    # A minute may pass once between three of them, and stands in the document.
    assert len({pdf.content, again.content, third.content}) <= 2


def test_the_report_speaks_the_readers_language(client: httpx.Client) -> None:
    text = words_of(client.get("/report.pdf", headers={"Accept-Language": "es"}).content)
    assert "Informe de servicio" in text
    assert "Service report" not in text


def test_a_shared_link_shows_its_pdf_and_no_other(client: httpx.Client, lived_in: Service) -> None:
    token = shared_link(lived_in)
    page = httpx.get(f"{lived_in.base_url}/shared/{token}")
    assert f"/shared/{token}/report.pdf" in page.text
    assert 'href="/report.pdf' not in page.text
    pdf = httpx.get(f"{lived_in.base_url}/shared/{token}/report.pdf")
    assert "Service report" in words_of(pdf.content)
    assert pdf.headers["referrer-policy"] == "no-referrer"
    assert client.get(f"/shared/{token[:-5]}AAAAA/report.pdf").status_code == 404
    assert client.get("/report.pdf?month=1999-01").status_code == 404


def test_the_evidence_holds_every_run_of_the_breach_and_no_letter(
    client: httpx.Client, lived_in: Service
) -> None:
    breach = things_of(lived_in)["breach"]
    page = client.get(f"/breaches/{breach}")
    assert f'href="/breaches/{breach}/evidence.pdf"' in page.text
    client.post("/login", data={"key": lived_in.keys["admin"]})
    found = client.get(f"/breaches/{breach}/evidence.pdf")
    assert found.headers["content-disposition"].endswith('.pdf"')
    text = words_of(found.content)
    for figure in re.findall(r'<td class="best">([^<]+)</td>', page.text):
        assert figure in text
    reference = re.search(r"Breach ([\w-]+\d)", text_of(page))
    assert reference is not None
    assert reference[1] in text
    assert "Dear support team" not in text
    assert client.get("/breaches/none/evidence.pdf").status_code == 404
    tagged = {"If-None-Match": found.headers["etag"]}
    assert client.get(f"/breaches/{breach}/evidence.pdf", headers=tagged).status_code in {200, 304}


class _Breach:
    probe = "laptop"


@pytest.mark.parametrize("name", STRINGS)
def test_what_others_wrote_stays_text(name: str) -> None:
    """In every place of the document; set twice, it is the same to the byte."""
    said = '#panic("typst") $x$ `raw` @label \\u{41} *bold*' + STRINGS[name]
    run = Line("", said, said, "MEASURED", said, said, said, (Cell("", said),), said)
    context = {
        "breach": _Breach,
        "line": BreachLine(said, said, said, said, said, "bad", "▼", "", said, ()),
        "plan": said,
        "rule_sentence": said,
        "table": Table((said,), (run,)),
        "zone": said,
    }
    data = evidence_data(context, EN)
    pdf = set_pdf("evidence", data, NOON)
    assert pdf == set_pdf("evidence", data, NOON)
    assert '#panic("typst")' in words_of(pdf)
    assert "\u202e" not in words_of(pdf)
