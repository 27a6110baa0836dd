"""Why something was not reported, held back or taken back, in the reader's language."""

import ast
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from speedtrap_web.answers import NoticeBrief
from speedtrap_web.catalogue import EN, ES
from speedtrap_web.lasting import Lasting
from speedtrap_web.views.breaches import notice_line
from speedtrap_web.views.reasons import reason
from speedtrap_web.views.words import Words

from tests.lab.service import Service
from tests.web.builders import NOW, a_notice
from tests.web.history import a_full_run, plan_a_notice, set_plan, submit
from tests.web.stages import session_cookie
from tests.web.test_pages import text_of

GRAPH = Path(__file__).parents[2] / "graph/speedtrap_graph"
WRITERS = (
    "services/leave.py", "services/book.py", "services/ledger.py", "services/sending.py",
    "services/settling.py", "services/withdrawal.py", "services/removal.py", "services/deletion.py",
    "services/reconcile.py", "services/rejudge.py", "services/channels.py", "store/notices.py",
)  # fmt: skip
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
        NoticeBrief.model_validate(a_notice("SUPPRESSED", text)), Words(ES, UTC, Lasting(NOW))
    )
    assert line.why is not None
    assert set(line.why.casefold().split()) & ENGLISH == set()
    told = a_notice("SENT", sent_at=NOW, contradicted_at=NOW, contradicted_why=text)
    sent = notice_line(NoticeBrief.model_validate(told), Words(ES, UTC, Lasting(NOW)))
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
