"""What a letter and a post say, and that they always say it in the same bytes."""

import csv
import hashlib
import io
import re
from datetime import timedelta

import pytest
from PIL import Image
from speedtrap_bots.content import Content
from speedtrap_bots.letter import letter, note, post, post_text
from speedtrap_bots.letter.chart import KEPT, WORSE, chart_svg
from speedtrap_bots.letter.clean import clean, clean_for_post, csv_cell
from speedtrap_bots.letter.evidence import chart_in_words, gather
from speedtrap_bots.letter.pack import pack_data
from speedtrap_bots.model import Breach, Failure, Measurement, NoticeSummary, Plan, Rule, Stage
from twitter_text import extract_urls, parse_tweet

from tests.bots.builders import NOON, a_breach, a_failed, a_measurement, a_run
from tests.bots.hostile import a_hostile_breach


def a_letter(breach: Breach | None = None, stage: Stage = Stage.OPENING) -> Content:
    return letter(breach or a_breach(), stage, sender="Jane Doe", contact="jane@home.example")


@pytest.fixture(scope="module")
def opening() -> Content:
    """The letter about `a_breach()`: always the same, so that it is drawn once."""
    return a_letter()


def a_resolved_breach() -> Breach:
    return a_breach(status="RESOLVED", resolved_at=NOON + timedelta(hours=7))


@pytest.mark.parametrize("stage", [Stage.OPENING, Stage.RECOVERY])
def test_the_same_breach_gives_the_same_bytes(stage: Stage) -> None:
    assert a_letter(a_resolved_breach(), stage) == a_letter(a_resolved_breach(), stage)
    assert post(a_resolved_breach(), stage) == post(a_resolved_breach(), stage)


def test_the_order_of_the_runs_changes_nothing() -> None:
    breach = a_breach()
    shuffled = a_breach(window=tuple(reversed(breach.window)))
    assert a_letter(shuffled) == a_letter(breach)


@pytest.mark.parametrize("part", ["text", "html"])
def test_the_letter_can_be_checked(opening: Content, part: str) -> None:
    said = " ".join(str(getattr(opening, part)).split())
    for words in (
        "Example Cable: 940 Mbps down, 35 Mbps up",
        "below 50 % of the subscribed 940 Mbps (470 Mbps) more than 5 times in a row",
        "below half of the subscribed 940 Mbps",
        "127.5 Mbps",
        "14 % of the subscribed 940 Mbps",
        "2026-11-24 12:00 MST",
        "ookla 110.0, speedtest-cli 99.0, fast timed out",
        "929.0 Mbps",  # a good one
        "ST-7K2M9Q",
        "jane@home.example",
        "STOP",
        hashlib.sha256(opening.files[1].content).hexdigest(),
    ):
        assert words in said
    assert said.count("?") == 1, "one request"


def test_the_subject_names_metric_provider_bound_and_reference(opening: Content) -> None:
    assert opening.subject == (
        "Download on our Example Cable line: 6 measurements in a row below half of the"
        " subscribed 940 Mbps [ST-7K2M9Q]"
    )


def test_the_reminder_names_the_day_of_the_opening_however_late_it_goes_out() -> None:
    sent = NoticeSummary(
        stage="OPENING",
        channel="mail",
        recipient="support@isp.example",
        status="SENT",
        sent_at=NOON + timedelta(hours=12),
    )
    content = a_letter(a_breach(notices=(sent,)), Stage.REMINDER)
    for said in (content.text, content.html or ""):
        assert "on 2026-11-25 we wrote to you about this line under ST-7K2M9Q" in said
        assert "a week ago" not in said


def test_the_recovery_thanks_and_asks_for_nothing() -> None:
    said = a_letter(a_resolved_breach(), Stage.RECOVERY).text
    assert "at or above 470.0 Mbps\nagain since 2026-11-24 19:00 MST" in said
    assert "?" not in said


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Rule(below_ratio=0.8), "below 80 % of the subscribed 940 Mbps"),
        (Rule(below_mbps=300), "below 300.0 Mbps"),
        (Rule(metric="LATENCY", above_ms=80), "above 80.0 ms"),
        (Rule(metric="PACKET_LOSS", above_ratio=0.02), "above 2.0 %"),
    ],
)
def test_every_kind_of_rule_reads_well(rule: Rule, words: str) -> None:
    breach = a_breach(rule=rule)
    content = a_letter(breach)
    assert words in content.text
    assert words in content.subject
    assert words in post_text(breach, Stage.OPENING)


@pytest.mark.parametrize(
    "rule",
    [Rule(below_ratio=0.5, out_of=10), Rule(below_ratio=0.5, recovered_after=2)],
    ids=["of the last ten", "two to recover"],
)
def test_where_good_ones_may_lie_between_nobody_says_in_a_row(rule: Rule) -> None:
    breach = a_breach(rule=rule)
    content = a_letter(breach)
    assert content.subject.startswith("Download on our Example Cable line: 6 measurements below")
    said = [content.subject, content.text, content.html, post_text(breach, Stage.OPENING)]
    said += [a_letter(breach, Stage.REMINDER).text, a_letter(breach, Stage.DIGEST).text]
    said += [str(note(breach, Stage.OPENING)), str(pack_data(breach)["summary"])]
    assert not any("6 measurements in a row" in str(words) for words in said)
    assert not any(re.search(r"6\s+in a row", str(words)) for words in said)
    asked = "in more than 5 of the last 10 measurements" if rule.out_of else "2 in a row keep it"
    assert asked in " ".join(content.text.split())


def test_a_rule_of_the_peak_and_of_one_tool_says_so() -> None:
    rule = Rule(below_ratio=0.5, tool="speedtest-cli", only_at_peak=True)
    content = a_letter(a_breach(rule=rule))
    said = " ".join(content.text.split())
    assert content.subject.startswith("Download by speedtest-cli on our Example Cable line: 6 meas")
    assert "6 measurements at peak in a row" in content.subject
    assert "in a row at peak (weekdays 19:00 to 23:00); each measurement counts with what" in said
    assert "speedtest-cli gave" in said
    assert "with a median of 114.8 Mbps" in said, "of that tool's figures, 0.9 of the best"


def test_a_slow_run_outside_of_the_breach_is_not_said_to_have_kept_the_rule() -> None:
    breach = a_breach()
    slow = a_run(9, 200.0)
    evidence = gather(a_breach(window=(*breach.window, slow)))
    assert (evidence.window_count, evidence.good_count) == (17, 10)
    assert "10 around them kept it" in chart_in_words(evidence)
    assert KEPT in chart_svg_labels(breach)
    assert WORSE not in chart_svg_labels(breach)
    assert WORSE in chart_svg_labels(a_breach(window=(*breach.window, slow)))


def chart_svg_labels(breach: Breach) -> set[str]:
    """The words of the chart's legend: in the file they are comments beside the curves."""
    return set(re.findall(r"<!-- (.*?) -->", chart_svg(breach)))


def test_no_line_of_the_text_is_wider_than_a_mail_program(opening: Content) -> None:
    tools = [a_measurement(f"tool-{n}", 100.0 + n) for n in range(8)]
    run = a_run(5, 107.0, measurements=tools)
    breach = a_breach()
    many = a_letter(a_breach(runs=(*breach.runs[:-1], run), window=(*breach.window[:-1], run)))
    digest = a_letter(a_resolved_breach(), Stage.DIGEST)
    for content in (opening, many, digest, a_letter(a_resolved_breach(), Stage.RECOVERY)):
        wide = [line for line in content.text.splitlines() if len(line) > 86]
        assert wide == []


def test_a_breach_of_more_runs_than_are_listed_has_the_median_of_all() -> None:
    assert "a median of 99.9 Mbps" in a_letter(a_breach(count=700, median_mbps=99.9)).text


def test_a_digest_of_episodes_of_several_rules_states_each_ones() -> None:
    first = a_resolved_breach()
    other = a_breach(
        id="b2",
        reference="ST-AAAAAA",
        rule=Rule(below_mbps=300, out_of=10),
        status="RESOLVED",
        resolved_at=NOON,
    )
    content = letter(
        first, Stage.DIGEST, sender="Jane", contact="jane@home.example", covered=[other, first]
    )
    text, html = " ".join(content.text.split()), " ".join((content.html or "").split())
    for said in (text, html):
        assert "download below 300.0 Mbps in more than 5 of the last 10 measurements" in said
        assert "below 50 % of the subscribed 940 Mbps (470 Mbps) more than 5 times in a" in said
    assert content.subject.startswith(
        "Measurements on our Example Cable line: 2 episodes that are over"
    )
    alike = letter(
        first, Stage.DIGEST, sender="Jane", contact="jane@home.example", covered=[first, first]
    )
    assert alike.text.count("more than 5 times in a row") == 1


def test_an_outage_is_no_measured_zero() -> None:
    out = a_run(5, None, outcome="OUTAGE", measurements=[a_failed("ookla", "NO_NETWORK")])
    breach = a_breach()
    content = a_letter(a_breach(runs=(*breach.runs[:-1], out), window=(*breach.window[:-1], out)))
    assert re.search(r"17:00 MST  no connection\s+ookla no network", content.text)
    assert not re.search(r"\b0\.0 Mbps", content.text)


def test_a_broken_tool_is_no_measured_zero_either(opening: Content) -> None:
    assert "fast             no figure" in opening.text


def test_the_home_network_is_not_counted_as_the_line() -> None:
    run = a_run(5, 120, measurements=[a_measurement("ookla", 120), a_measurement("lan", 941)])
    breach = a_breach()
    text = a_letter(a_breach(runs=(*breach.runs[:-1], run), window=(*breach.window[:-1], run))).text
    assert "ookla 120.0, lan (home network) 941.0" in text
    assert not re.search(r"^  lan", text, re.MULTILINE)


def test_a_long_breach_keeps_the_letter_short_and_the_csv_whole() -> None:
    runs = tuple(a_run(n, 100 + n % 7) for n in range(300))
    content = a_letter(a_breach(runs=runs, window=runs, count=300))
    assert "the newest 60 here, all in runs.csv" in content.text
    assert len(content.text) < 15_000
    assert len({row["run_id"] for row in rows_of(content)}) == 300


def test_the_csv_has_every_measurement_unrounded(opening: Content) -> None:
    rows = rows_of(opening)
    assert len(rows) == 16 * 3
    assert rows[0]["timestamp"] == "2026-11-24T02:00:00-07:00"
    assert rows[0]["download_mbps"] == "920.0"
    assert [row["in_breach"] for row in rows].count("yes") == 6 * 3
    failed = next(row for row in rows if row["failure"])
    assert failed["download_mbps"] == ""


def rows_of(content: Content) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.files[1].content.decode())))


def test_the_chart_is_a_picture_without_a_date_in_it(opening: Content) -> None:
    chart = opening.files[0]
    picture = Image.open(io.BytesIO(chart.content))
    assert picture.size == (1000, 420)
    assert set(picture.info) <= {"dpi"}
    assert len(chart.content) < 100_000
    assert chart.alt_text is not None
    assert len(chart.alt_text) <= 1000


@pytest.mark.parametrize("stage", [Stage.OPENING, Stage.RECOVERY])
@pytest.mark.parametrize(
    "provider",
    ["Example Cable", "AT&T", "@isp #1 $ISP", "x.com", "\N{CJK UNIFIED IDEOGRAPH-7DB2}" * 99],
    ids=["plain", "ampersand", "marks", "domain", "long"],
)
def test_a_post_fits_and_bothers_nobody(stage: Stage, provider: str) -> None:
    plan = Plan(provider=provider, download_mbps=940, time_zone="America/Argentina/Buenos_Aires")
    text = post_text(a_breach(plan=plan, status="RESOLVED", resolved_at=NOON), stage)
    parsed = parse_tweet(text)
    assert parsed.valid
    assert parsed.weightedLength <= 280
    assert extract_urls(text) == []
    assert not set("@#$\uff20\uff03") & set(text)
    assert "ST-7K2M9Q" in text


def test_templates_are_never_made_of_data() -> None:
    content = a_letter(a_hostile_breach("{{7*7}}"))
    assert "{{7*7}}" in content.text
    assert "49" not in content.subject


def test_cleaning_cuts_and_normalizes() -> None:
    assert clean("e\u0301") == "\u00e9"
    assert clean("x" * 100) == "x" * 59 + "…"
    assert clean(" a \n\t b ") == "a b"
    assert clean(None) == ""
    assert clean_for_post("@a.b #c") == "a b c"
    assert [csv_cell(text) for text in ("=1", "+1", "-1", "@a", "a")] == [
        "'=1", "'+1", "'-1", "'@a", "a",
    ]  # fmt: skip


def test_a_failures_message_stays_data() -> None:
    failed = Measurement(
        tool="ookla",
        started_at=NOON,
        failure=Failure(kind="TOOL_FAILED", message="=cmd|' /C calc'"),
    )
    run = a_run(0, 110, measurements=[failed])
    rows = rows_of(a_letter(a_breach(runs=(run,), window=(run,))))
    assert rows[0]["failure"] == "TOOL_FAILED: =cmd|' /C calc'"
