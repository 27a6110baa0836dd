"""One recipient has one key, and two recipients have two."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speedtrap_graph.rules.recipients import recipient_key


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("support@isp.example", "support@isp.example"),
        (" Support@ISP.Example. ", "support@isp.example"),
        ('"Lumen, Support" <support+a+b@isp.example>', "support@isp.example"),
        ("MAILTO:support@isp.example", "support@isp.example"),
        ('"sup\\port"@isp.example', "support@isp.example"),
        ("hilfe@münchen.example", "hilfe@xn--mnchen-3ya.example"),
        ("hilfe@XN--MNCHEN-3YA.example", "hilfe@xn--mnchen-3ya.example"),
        ("+@isp.example", "+@isp.example"),
        ("@CenturyLink", "centurylink"),
        ("centurylink", "centurylink"),
        ("", ""),
    ],
)
def test_every_spelling_has_the_same_key(written: str, key: str) -> None:
    assert recipient_key(written) == key


def test_other_mailboxes_are_other_recipients() -> None:
    written = ["a@isp.example", "b@isp.example", "a@isp.test", "a.b@isp.example", "@a", "@b"]
    assert len({recipient_key(one) for one in written}) == len(written)


@given(st.text(max_size=320))
def test_any_text_has_a_key(written: str) -> None:
    assert recipient_key(written) is not None
