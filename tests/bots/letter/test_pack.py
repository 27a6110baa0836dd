"""The evidence pack as a reader of the PDF finds it, and that it is always the same bytes."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from speedtrap_bots.letter import letter
from speedtrap_bots.letter.evidence import runs_csv
from speedtrap_bots.letter.pack import pack_pdf, runs_json
from speedtrap_bots.model import Breach, NoticeSummary, Plan, Stage

from tests.bots.builders import NOON, a_breach, a_run
from tests.bots.letter.test_page import REPORT


def words_of(pdf: bytes) -> str:
    """What a reader can select, on one line."""
    program = shutil.which("pdftotext")
    assert program, "apt-get install poppler-utils"
    done = subprocess.run([program, "-raw", "-", "-"], input=pdf, capture_output=True, check=True)
    return " ".join(done.stdout.decode().replace("\u200b", "").split())


def told(stage: str, *, hours_ago: int, channel: str = "mail") -> NoticeSummary:
    return NoticeSummary(
        stage=stage,
        channel=channel,
        recipient="support@isp.example",
        status="SENT",
        sent_at=NOON - timedelta(hours=hours_ago),
    )


def a_told_breach() -> Breach:
    notices = (told("REMINDER", hours_ago=1), told("OPENING", hours_ago=170),
               told("OPENING", hours_ago=171, channel="webhook"))  # fmt: skip
    return a_breach(report=REPORT, notices=notices)


def test_the_pack_has_what_a_regulator_asks_for() -> None:
    breach = a_told_breach()
    said = words_of(pack_pdf(breach))
    for words in (
        "Evidence pack ST-7K2M9Q",
        "Example Cable: 940 Mbps down, 35 Mbps up",
        "below 50 % of the subscribed 940 Mbps (470 Mbps) more than 5 times in a row",
        "6 measurements in a row of our line's download were below half",
        "median of 127.5 Mbps (14 % of the subscribed 940 Mbps)",
        "FCC band: at least 95 % of the subscribed speed",
        "120.0 Mbps (13 %): 80 % of the runs at peak reach it",
        "140.0 Mbps, n = 22",
        "For the complaint form",
        "Company Example Cable",
        "Account number yours",
        "a complaint, by mail",
        "connected by cable",
        "household's own traffic was not measured",
        "The home network alone was not measured",
        "files nothing: a person reads this",
        hashlib.sha256(runs_csv(breach)).hexdigest(),
        hashlib.sha256(runs_json(breach)).hexdigest(),
    ):
        assert words in re.sub("\u2019", "'", said), words
    assert said.index("2026-11-17 10:00 MST: a complaint") < said.index("a reminder, by mail")
    assert "support@isp.example" not in said
    for run in breach.window:
        assert f"{run.download_mbps:.1f} Mbps" in said, "every run, the good ones too"


def test_the_same_breach_gives_the_same_pack() -> None:
    breach = a_told_breach()
    shuffled = breach.model_copy(update={"window": tuple(reversed(breach.window))})
    assert pack_pdf(a_told_breach()) == pack_pdf(breach) == pack_pdf(shuffled)


def test_a_pack_written_elsewhere_is_the_same(tmp_path: Path) -> None:
    """In another process, folder, language and hour; fonts of the machine play no part."""
    script = (
        "import sys; from pathlib import Path; from speedtrap_bots.model import Breach;"
        " from speedtrap_bots.letter.pack import pack_pdf;"
        " Path('pack.pdf').write_bytes(pack_pdf(Breach.model_validate_json(sys.stdin.read())))"
    )
    breach = a_told_breach()
    subprocess.run(
        [sys.executable, "-c", script],
        input=breach.model_dump_json().encode(),
        cwd=tmp_path,
        env={**os.environ, "TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "7"},
        check=True,
    )
    assert (tmp_path / "pack.pdf").read_bytes() == pack_pdf(breach)


def test_every_run_of_a_long_breach_is_in_it() -> None:
    runs = tuple(a_run(n, 100 + n / 10) for n in range(900))
    said = words_of(pack_pdf(a_breach(runs=runs, window=runs, count=900)))
    assert all(f"{100 + n / 10:.1f} Mbps" in said for n in range(900))


@pytest.mark.parametrize(
    "text",
    ['#eval("1+1") #sys.inputs', "$x^2$ *b* _i_ `r` @ref <label>", '#read("/etc/passwd")',
     "\u0634\u0631\u0643\u0629", "\u7db2" * 60, "W" * 1_000_000, "\ud800\x00\r\n\t",
     "\U0001f600" * 9, ""],
    ids=["code", "markup", "file", "right to left", "cjk", "long", "controls", "emoji", "empty"],
)  # fmt: skip
def test_what_others_say_is_only_ever_text(text: str) -> None:
    plan = Plan(provider=text, download_mbps=940, time_zone="America/Denver")
    pdf = pack_pdf(a_breach(plan=plan, probe=text))
    said = words_of(pdf)
    assert "root:" not in said
    assert "ST-7K2M9Q" in said
    if text.startswith(("#", "$")):
        assert f"Company {' '.join(text.split())}" in said
    assert len(pdf) < 1_000_000


def test_the_json_is_the_whole_evidence() -> None:
    document = json.loads(runs_json(a_told_breach()))
    assert document["reference"] == "ST-7K2M9Q"
    assert len(document["window"]) == 16
    assert document["window"][0]["measurements"][0]["tool"] == "ookla"
    assert "notices" not in document, "a recipient is nobody else's business"


def test_the_second_letter_brings_the_pack_without_the_form() -> None:
    content = letter(a_told_breach(), Stage.REMINDER, sender="Jane", contact="jane@home.example")
    [pack] = [file for file in content.files if file.name == "evidence.pdf"]
    assert pack.media_type == "application/pdf"
    assert "complaint form" not in words_of(pack.content)
    assert "evidence.pdf" in content.text
    assert "evidence.pdf" in (content.html or "")
    first = letter(a_told_breach(), Stage.OPENING, sender="Jane", contact="jane@home.example")
    assert "evidence.pdf" not in first.text + str([file.name for file in first.files])
