"""The worst strings in every field, through every form in which they reach a reader."""

import csv
import io
import json
import re
import sys
from base64 import b64encode
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from hashlib import sha256
from html.parser import HTMLParser

import pytest
from speedtrap_bots.channels.mail import MailSettings, message_bytes
from speedtrap_bots.channels.webhook import body_of
from speedtrap_bots.content import Content
from speedtrap_bots.errors import Refused
from speedtrap_bots.letter import letter, note, post_text
from speedtrap_bots.letter.evidence import runs_csv
from speedtrap_bots.letter.pack import pack_pdf, runs_json
from speedtrap_bots.model import Attachment, Breach, Notice, Stage
from twitter_text import extract_urls, parse_tweet

from tests.bots.builders import NOON, a_notice
from tests.bots.hostile import STRINGS, a_hostile_breach
from tests.bots.letter.test_pack import words_of

MAIL = MailSettings(host="mx.example", sender="Jane Doe <jane@home.example>")
OF_THE_MESSAGE = {
    "From", "To", "Reply-To", "Subject", "Date", "Message-ID", "In-Reply-To", "References",
    "Auto-Submitted", "MIME-Version", "Content-Type",
}  # fmt: skip
OF_A_PART = {"Content-Type", "Content-Transfer-Encoding", "Content-Disposition", "Content-ID",
             "MIME-Version"}  # fmt: skip
IN_A_SUBJECT = ("encoded header", "line break", "controls", "surrogate", "megabyte", "empty")
UNSEEN = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e0fff]")
CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
TAGS = frozenset(
    ("html", "head", "meta", "title", "body", "div", "p", "strong", "table", "tr", "th", "td", "br",
     "span", "h2", "ul", "li", "img")
)  # fmt: skip


@pytest.fixture(scope="module")
def every_run_hostile() -> Breach:
    """A breach of which each run brings one of the strings in every field."""
    hostile = [a_hostile_breach(text) for _, text in sorted(STRINGS.items())]
    runs = tuple(
        breach.runs[-1].model_copy(
            update={"id": f"run-{place}", "started_at": NOON + timedelta(hours=place)}
        )
        for place, breach in enumerate(hostile)
    )
    return a_hostile_breach(STRINGS["html"]).model_copy(
        update={"runs": runs, "window": runs, "count": len(runs)}
    )


def frozen(content: Content, stage: Stage) -> Notice:
    files = tuple(
        Attachment(
            name=file.name,
            media_type=file.media_type,
            alt_text=file.alt_text,
            sha256=sha256(file.content).hexdigest(),
            content_base64=b64encode(file.content).decode(),
        )
        for file in content.files
    )
    return a_notice(
        stage=stage,
        subject=content.subject,
        text=content.text,
        html=content.html,
        attachments=files,
    )


class Tags(HTMLParser):
    """Fails at the first tag or attribute that can do anything."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        for name, value in attrs:
            assert not name.startswith("on")
            assert name != "href"
            assert name != "src" or value == "cid:chart.png@speedtrap"


def assert_harmless_mail(breach: Breach, stage: Stage) -> None:
    content = letter(breach, stage, sender="Jane Doe", contact="jane@home.example")
    for text in (content.subject, content.text, content.html or ""):
        assert not UNSEEN.search(text)
        assert not CONTROLS.search(text)
        assert "=?" not in text
        assert len(text) < 60_000
    assert "\n" not in content.subject
    Tags().feed(content.html or "")
    assert_only_known_headers(message_bytes(frozen(content, stage), MAIL))


def test_all_at_once_reach_the_mail_harmless(every_run_hostile: Breach) -> None:
    for stage in (Stage.OPENING, Stage.DIGEST):
        assert_harmless_mail(every_run_hostile, stage)


@pytest.mark.parametrize("name", IN_A_SUBJECT)
def test_what_could_break_a_header_reaches_the_mail_harmless(name: str) -> None:
    """One letter each: a subject and its chart have room for one provider."""
    assert_harmless_mail(a_hostile_breach(STRINGS[name]), Stage.OPENING)


def assert_only_known_headers(raw: bytes) -> None:
    """Both as the bytes have it and as a mail program reads it."""
    assert b"\r" not in raw.replace(b"\r\n", b"")
    assert b"\n" not in raw.replace(b"\r\n", b"")
    head = raw.split(b"\r\n\r\n", 1)[0].decode("ascii")
    names = re.findall(r"^([^\s:]+):", head, re.MULTILINE)
    assert set(names) <= OF_THE_MESSAGE
    assert len(names) == len(set(names))
    message: Message = message_from_bytes(raw, policy=policy.default)
    assert message.get_all("To") == ["support@isp.example"]
    for part in message.walk():
        allowed = OF_THE_MESSAGE if part is message else OF_A_PART
        assert set(part.keys()) <= allowed
        assert not part.defects


@pytest.mark.parametrize("name", sorted(STRINGS))
def test_it_reaches_the_post_harmless(name: str) -> None:
    """Its text alone: the picture is the letter's."""
    text = post_text(a_hostile_breach(STRINGS[name]), Stage.OPENING)
    assert parse_tweet(text).valid
    assert parse_tweet(text).weightedLength <= 280
    assert extract_urls(text) == []
    assert not set("@#$\uff20\uff03") & set(text)
    assert not UNSEEN.search(text)
    assert not CONTROLS.search(text)


@pytest.mark.parametrize("name", [*IN_A_SUBJECT, "mention", "html", "link", "bidi"])
def test_it_reaches_the_subscriber_harmless(name: str) -> None:
    """By webhook and apprise. A chat would ring everybody at `@everyone`."""
    content = note(a_hostile_breach(STRINGS[name]), Stage.OPENING)
    said = content.subject + content.text
    assert not set("@#$\uff20\uff03") & set(said)
    assert extract_urls(said) == []
    for text in (content.subject, content.text):
        assert not UNSEEN.search(text)
        assert not CONTROLS.search(text)
    document = json.loads(body_of(frozen(content, Stage.OPENING)))
    assert (document["subject"], document["text"]) == (content.subject, content.text)


NAIVE = "=?utf-8?q?a=0D=0ABcc:_e@e.example?="


def test_a_python_that_makes_a_header_of_a_subject_sends_none_of_ours() -> None:
    """CPython before 3.11.10 (3.11.7 among them) does so, CVE-2024-6923: seen here where it does.

    Neither a provider's name nor a notice that somebody wrote into the ledger gets that far.
    """
    if sys.version_info < (3, 11, 10):
        naive = EmailMessage(policy=policy.SMTP)
        naive["Subject"] = NAIVE
        assert b"\r\nBcc: e@e.example" in naive.as_bytes()
    assert_harmless_mail(a_hostile_breach(NAIVE), Stage.OPENING)
    with pytest.raises(Refused, match="encoded word"):
        message_bytes(a_notice(subject=NAIVE), MAIL)
    for field in ("reference", "recipient"):
        with pytest.raises(Refused):
            message_bytes(a_notice(**{field: NAIVE}), MAIL)


def test_all_at_once_reach_the_csv_harmless(every_run_hostile: Breach) -> None:
    table = runs_csv(every_run_hostile).decode()
    rows = list(csv.reader(io.StringIO(table)))
    assert {len(row) for row in rows} == {len(rows[0])}
    assert len(rows) == 1 + sum(len(run.measurements) for run in every_run_hostile.window)
    for cell in (cell for row in rows for cell in row):
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "|"))
        assert not UNSEEN.search(cell)
        assert not CONTROLS.search(cell)
        assert len(cell) <= 170


def test_all_at_once_reach_the_pack_harmless(every_run_hostile: Breach) -> None:
    said = words_of(pack_pdf(every_run_hostile))
    assert "ST-7K2M9Q" in said
    assert "root:" not in said
    document = runs_json(every_run_hostile)
    json.loads(document)
    assert document.isascii()


@pytest.mark.parametrize(
    "media_type",
    ["text/csv; name==?utf-8?q?a=0D=0ABcc:_e@e.example?=", "text/csv\r\nBcc: e@e.example", "text",
     "multipart/mixed", ""],
)  # fmt: skip
def test_a_files_type_cannot_smuggle_a_header(media_type: str) -> None:
    """It comes from the ledger, which checks it too; CPython before 3.11.10 would decode it."""
    file = Attachment(
        name="runs.csv", media_type=media_type, sha256=sha256(b"").hexdigest(), content_base64=""
    )
    with pytest.raises(Refused, match="type of an attachment"):
        message_bytes(a_notice(attachments=(file,)), MAIL)
