"""Why something was not reported, held back or taken back, in the reader's language."""

import ast
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from speedtrap_graph.rules.judgement import judge
from speedtrap_graph.rules.model import FailureKind, Medium, Metric, Rule, RunFacts
from speedtrap_web.graphql.answers import NoticeBrief
from speedtrap_web.http.freshness import Freshness
from speedtrap_web.text.catalogue import EN, ES
from speedtrap_web.views.breaches import notice_line
from speedtrap_web.views.reasons import judgement, reason
from speedtrap_web.views.words import Words

from tests.graph.rules.builders import a_failure, a_plan, a_reading, a_run
from tests.lab.service import Service
from tests.web.builders import NOW, a_notice
from tests.web.history import a_full_run, plan_a_notice, set_plan, submit
from tests.web.stages import session_cookie
from tests.web.test_pages import text_of

GRAPH = Path(__file__).parents[2] / "graph/speedtrap_graph"
WRITERS = (
    "rules/permission.py",
    "services/notices/records.py",
    "services/notices/ledger.py",
    "services/notices/sending.py",
    "services/notices/outcomes.py",
    "services/breaches/withdraw.py",
    "services/probes/remove.py",
    "services/intake/delete_run.py",
    "services/breaches/reconcile.py",
    "services/breaches/rejudge.py",
    "services/notices/channels.py",
    "store/notices.py",
)
"""Where graph puts a notice's steps, or what goes into them, into words."""
NO_REASONS = {"recipient is longer than 12 characters"}
"""Said to a caller, not to the ledger."""


def sentences(node: ast.AST) -> Iterator[str]:
    """Every text of several words, but for docstrings, log lines and errors."""
    if isinstance(node, ast.Raise):
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("_log."):
        return
    if isinstance(node, ast.Constant | ast.JoinedStr):
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        text = "".join(
            str(p.value) if isinstance(p, ast.Constant) else "12" for p in parts if _is_text(p)
        )
        if " " in text:
            yield text
        return
    for child in ast.iter_child_nodes(node):
        yield from sentences(child)


def _is_text(part: ast.expr) -> bool:
    return not isinstance(part, ast.Constant) or isinstance(part.value, str)


REASONS = sorted(
    {
        text
        for file in WRITERS
        for text in sentences(ast.parse((GRAPH / file).read_text(encoding="utf-8")))
    }
    - NO_REASONS
)


def test_every_reason_that_graph_writes_is_found_and_every_wording_is_one() -> None:
    assert len(REASONS) > 20
    told = " ".join(reason(text, ES) for text in REASONS)
    wordings = [words for key, words in ES.words.items() if key.startswith("because.")]
    assert [words for words in wordings if words.partition("{")[0] not in told] == []


@pytest.mark.parametrize("text", REASONS)
def test_no_reason_is_english_on_a_spanish_page(text: str) -> None:
    assert reason(text, EN) == text
    line = notice_line(
        NoticeBrief.model_validate(a_notice("SUPPRESSED", text)), Words(ES, UTC, Freshness(NOW))
    )
    assert line.why is not None
    assert set(line.why.casefold().split()) & ENGLISH == set()
    told = a_notice("SENT", sent_at=NOW, contradicted_at=NOW, contradicted_why=text)
    sent = notice_line(NoticeBrief.model_validate(told), Words(ES, UTC, Freshness(NOW)))
    assert sent.contradicted is not None
    assert set(sent.contradicted.casefold().split()) & ENGLISH == set()


ENGLISH = {"the", "this", "was", "its", "has", "not", "after", "before", "sent", "needs", "limit:"}


def test_words_of_a_person_or_of_the_other_side_stay_theirs() -> None:
    for text in ("not now, please", "550 5.1.1 no such user", "the line is fine\nI looked"):
        assert reason(text, ES) == text
    assert reason("bounced: 550 no such user", ES) == "devuelto: 550 no such user"
    nested = "contradicted: the breach does not stand: a run of it was deleted"
    assert reason(nested, ES) == (
        "desmentido: el incumplimiento no se sostiene: se borró una de sus pruebas"
    )


def test_a_silenced_notice_says_why_in_spanish(empty: Service) -> None:
    set_plan(empty)
    submit(empty, [a_full_run(hours_ago, 0.3) for hours_ago in range(7, 0, -1)])
    until = datetime.now(UTC) + timedelta(days=1)
    silence = 'mutation($u: DateTime!) { silence(probe: "laptop", until: $u, reason: "x") { by } }'
    empty.query(silence, {"u": until.isoformat()})
    notice = plan_a_notice(empty)
    cookie = session_cookie(empty.base_url, empty.keys["admin"])
    headers = {"Accept-Language": "es", "Cookie": f"speedtrap={cookie}"}
    for path in ("/", "/breaches", f"/notices/{notice['id']}"):
        text = text_of(httpx.get(f"{empty.base_url}{path}", headers=headers, timeout=60))
        assert f"silenciado hasta el {until:%Y-%m-%d %H:%M} UTC" in text
        assert "silenced until" not in text


SLOW, GOOD, LAN = a_reading(download=100), a_reading(download=800), a_reading("lan", 300.5)
JUDGED = [
    a_run(GOOD),
    *(a_run(SLOW, a_failure("fast", kind), line_up=False) for kind in FailureKind),
    *(a_run(a_failure("ookla", kind), a_failure("fast"), line_up=up)
      for kind in FailureKind for up in (True, False, None)),
    a_run(a_reading("ookla")),
    a_run(LAN),
    *(run._replace(**why)
      for run in (a_run(SLOW), a_run(GOOD))
      for why in ({"cross_traffic_mbps": 151.25}, {"link_mbps": 100.5, "medium": Medium.WIFI},
                  {"link_mbps": 100.5, "medium": Medium.UNKNOWN}, {"link_mbps": 100.5},
                  {"cross_traffic_down_mbps": 99.5}, {"cross_traffic_up_mbps": 99.5},
                  {"vpn": True}, {"cpu_percent": 97.5}, {"cpu_wait_percent": 40.5})),
    a_run(SLOW, LAN),
    a_run(GOOD, LAN),
]  # fmt: skip


@pytest.mark.parametrize("run", JUDGED)
def test_why_a_run_is_judged_as_it_is_is_not_english_on_a_spanish_page(run: RunFacts) -> None:
    rules = [Rule(below_ratio=0.5), Rule(below_ratio=0.95, name="strict")]
    text = judge(run, a_plan(), rules).reason
    assert judgement(text, EN) == text
    said = judgement(text, ES)
    assert (
        set(said.casefold().replace(",", "").split()) & {*ENGLISH, "by", "and", "network"} == set()
    )
    assert "{" not in said


def test_a_judgement_in_spanish_has_its_numbers_and_tools() -> None:
    busy = a_run(SLOW, cross_traffic_mbps=151.25)
    text = judge(busy, a_plan(), [Rule(Metric.DOWNLOAD, below_ratio=0.5)]).reason
    assert judgement(text, ES) == (
        "La línea estaba ocupada con otro tráfico: 151,2 Mbps, y se admiten 94 como máximo."
    )
    down = a_run(a_failure("ookla"), a_failure("fast", FailureKind.TIMEOUT), line_up=False)
    assert judgement(judge(down, None, []).reason, ES) == (
        "Ninguna herramienta de internet midió nada (ookla: sin red; fast: sin respuesta a tiempo),"
        " y la comprobación de conectividad falló."
    )


@pytest.mark.parametrize("metric", Metric)
def test_every_metric_of_a_judgement_has_its_name_in_spanish(metric: Metric) -> None:
    doubt = "It was measured through a VPN, and that may be what was measured."
    name = metric.value.lower().replace("_", " ")
    kept = f"{doubt} What still counts: {name}."
    assert judgement(kept, EN) == kept
    assert ES.words[f"judged.metric.{metric}"] in judgement(kept, ES)
    assert name not in judgement(kept, ES)
