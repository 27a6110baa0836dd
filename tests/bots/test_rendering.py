"""Templates of the operator's own: they replace ours, and cannot take the bots down."""

from pathlib import Path

import pytest
from speedtrap_bots.errors import LetterError
from speedtrap_bots.rendering import render


def test_an_own_template_replaces_ours(tmp_path: Path) -> None:
    (tmp_path / "opening.subject.txt").write_text("Slow: {{ e.reference }}")
    assert render(("opening.subject.txt",), {"e": {"reference": "ST-1"}}, tmp_path) == [
        "Slow: ST-1"
    ]


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ 'a' * 2000000000 }}", "MemoryError|memory"),
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "5 s"),
        ("{{ 'a' * 600000 }}", "characters"),
        ("{{ e.nothing }}", "nothing"),
        ("{% if %}", "line 1"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
    ],
    ids=["memory", "time", "length", "unknown name", "syntax", "escape"],
)
def test_a_bad_template_is_one_clear_error(tmp_path: Path, template: str, words: str) -> None:
    (tmp_path / "x.txt").write_text(template)
    with pytest.raises(LetterError, match=words):
        render(("x.txt",), {"e": {"reference": "ST-1"}}, tmp_path)


def test_data_never_becomes_a_template(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("{{ e.name }}")
    assert render(("x.txt",), {"e": {"name": "{{ 7*7 }}"}}, tmp_path) == ["{{ 7*7 }}"]
