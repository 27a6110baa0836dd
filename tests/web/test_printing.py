"""The PDFs: what the pages say, on paper, and what others wrote stays text."""

import io
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from PIL import Image
from speedtrap_web.graphql.answers import Observation, Rule, Run
from speedtrap_web.printing.pdf import COLOURS, evidence_data, set_pdf
from speedtrap_web.text.catalogue import EN
from speedtrap_web.views.breaches import BreachLine
from speedtrap_web.views.drawings.chart import HEIGHT, WIDTH
from speedtrap_web.views.drawings.evidence import evidence
from speedtrap_web.views.runs import Cell, Line, Table

from tests.bots.hostile import STRINGS
from tests.lab.service import Service
from tests.web.builders import a_breach, a_run, words
from tests.web.history import BREACHES, a_full_run, set_plan, submit
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
    reference = re.search(r"Breach (ST-\w{6})", text_of(page))
    assert reference is not None
    assert reference[1] in text
    assert "Dear support team" not in text
    assert client.get("/breaches/none/evidence.pdf").status_code == 404
    tagged = {"If-None-Match": found.headers["etag"]}
    assert client.get(f"/breaches/{breach}/evidence.pdf", headers=tagged).status_code in {200, 304}


@pytest.mark.parametrize("name", STRINGS)
def test_what_others_wrote_stays_text(name: str) -> None:
    """In every place of the document; set twice, it is the same to the byte."""
    said = '#panic("typst") $x$ `raw` @label \\u{41} *bold*' + STRINGS[name]
    run = Line("", said, said, "MEASURED", said, said, said, (Cell("", said),), said)
    breach = a_breach(reference=said, probe=said, rule=Rule(below_ratio=0.5, tool=said))
    context = {
        "breach": breach,
        "line": BreachLine(said, said, said, said, said, "bad", "▼", "", said, ()),
        "evidence": evidence(breach, [a_run(started_at=NOON)], [], words()),
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


def runs_of(*mbps: float | None, down: int = 0) -> list[Run]:
    """One an hour, the last at noon; None is a run without a figure, the first *down* outages."""
    found = []
    for n, figure in enumerate(mbps):
        outcome = "OUTAGE" if n < down else "MEASURED" if figure else "INCONCLUSIVE"
        moment = NOON - timedelta(hours=len(mbps) - 1 - n)
        times = {"started_at": moment, "finished_at": moment}
        found.append(a_run(id=str(n), outcome=outcome, download_mbps=figure, **times))
    return found


def test_the_picture_of_a_breach_shows_each_run_where_it_was() -> None:
    runs = runs_of(None, 900, 400, 300, 200, None, 600, 450, down=1)
    breach = a_breach(
        first_run_at=runs[2].started_at,
        last_run_at=runs[4].started_at,
        resolved_at=runs[6].started_at,
        status="RESOLVED",
    )
    said = [
        Observation(run=run.id, value=run.download_mbps, in_breach=run in runs[2:5]) for run in runs
    ]
    found = evidence(breach, runs, said, words())
    assert found is not None
    picture = found.picture
    top = float(picture.y_marks[-1].label.replace(",", ""))
    told = [(dot.x / WIDTH * 7, (1 - dot.y / HEIGHT) * top, dot.broke) for dot in picture.dots]
    wanted = [
        (1, 900, False), (2, 400, True), (3, 300, True), (4, 200, True), (6, 600, False),
        # Low as well, but after the end: nothing that this breach stands on.
        (7, 450, False),
    ]  # fmt: skip
    for (hour, mbps, broke), (x, y, held) in zip(wanted, told, strict=True):
        assert (x, y) == pytest.approx((hour, mbps), abs=2)
        assert held is broke
    assert picture.outages == (0.0,)
    assert picture.inconclusive == pytest.approx((5 / 7 * WIDTH,), abs=1)
    (span,) = picture.breaches
    assert (span.x, span.x + span.width) == pytest.approx((2 / 7 * WIDTH, 6 / 7 * WIDTH), abs=1)
    for path, mbps in ((picture.subscribed, 1000), (picture.threshold, 500)):
        y = float(path.removeprefix("M0 ").split("H")[0])
        assert (1 - y / HEIGHT) * top == pytest.approx(mbps, abs=2)


@pytest.mark.parametrize(
    ("rule", "figure", "title", "value"),
    [
        ({"metric": "LATENCY", "above_ms": 40}, 52.0, "Latency, ms", 52.0),
        ({"metric": "JITTER", "above_ms": 5}, 9.5, "Jitter, ms", 9.5),
        ({"metric": "PACKET_LOSS", "above_ratio": 0.02}, 0.05, "Lost packets, %", 5.0),
        ({"tool": "fast", "below_ratio": 0.5}, 90.0, "Download (fast), Mbps", 90.0),
    ],
)  # fmt: skip
def test_a_breach_of_any_rule_has_its_own_figures_in_its_picture(
    rule: dict[str, Any], figure: float, title: str, value: float
) -> None:
    run = a_run(started_at=NOON, finished_at=NOON)
    said = [Observation(run=run.id, value=figure, in_breach=True)]
    breach = a_breach(rule=Rule(**rule), first_run_at=NOON, last_run_at=NOON, resolved_at=NOON)
    found = evidence(breach, [run], said, words())
    assert found is not None
    assert found.title == title
    assert bool(found.picture.subscribed) == ("Mbps" in title)
    (dot,) = found.picture.dots
    assert dot.broke
    top = float(found.picture.y_marks[-1].label.replace(",", ""))
    assert (1 - dot.y / HEIGHT) * top == pytest.approx(value, rel=0.05)


def test_a_breach_whose_runs_are_no_longer_kept_has_no_picture() -> None:
    assert evidence(a_breach(), [], [], words()) is None


def colours_of(pdf: bytes) -> Counter[tuple[int, int, int]]:
    """Of the first page, as it is seen: how many pixels of each."""
    command = ["pdftoppm", "-png", "-r", "100", "-f", "1", "-l", "1", "-"]
    png = subprocess.run(command, input=pdf, capture_output=True, check=True).stdout
    page = Image.open(io.BytesIO(png)).convert("RGB")
    pixels = page.tobytes()
    return Counter(zip(pixels[::3], pixels[1::3], pixels[2::3], strict=True))


def test_the_evidence_shows_the_breach_as_a_picture(empty: Service) -> None:
    set_plan(empty)
    runs = [a_full_run(hours_ago, 0.95) for hours_ago in range(20, 12, -1)]
    runs += [a_full_run(hours_ago, 0.3) for hours_ago in range(12, 6, -1)]
    runs += [a_full_run(6, None, line_up=False), a_full_run(5, None)]
    runs += [a_full_run(hours_ago, 0.9) for hours_ago in range(4, 0, -1)]
    submit(empty, runs)
    (breach,) = empty.query(BREACHES)["breaches"]["nodes"]
    address = f"{empty.base_url}/breaches/{breach['id']}/evidence.pdf"
    pdf = httpx.get(address, timeout=60).content
    text = words_of(pdf)
    for said in (
        "Download, Mbps", "run below 50 % of the subscribed speed", "you pay for 940 Mbps", "1,000",
        "line down", "inconclusive", "one run",
    ):  # fmt: skip
        assert said in text
    shown = colours_of(pdf)
    for key in ("breach", "broke", "kept", "subscribed", "threshold"):
        colour = COLOURS[key].removeprefix("#")
        seen = shown[int(colour[:2], 16), int(colour[2:4], 16), int(colour[4:], 16)]
        assert seen > 20, key
    spanish = words_of(httpx.get(address, headers={"Accept-Language": "es"}, timeout=60).content)
    assert "prueba por debajo de 50 % de la velocidad contratada" in spanish
