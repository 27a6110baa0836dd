import random
from itertools import islice

import pytest
from speedtrap_probe.errors import SettingsError
from speedtrap_probe.schedule.interval import moments, seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5h30m", 19_800), ("1h", 3_600), ("90s", 90), ("10m", 600), ("1d2h", 93_600), (" 1H ", 3600)],
)
def test_spans_are_read_as_people_write_them(text: str, expected: int) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "5", "h", "5.5h", "30m5h", "-1h", "1h!", "٣h"])
def test_other_spans_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(SettingsError, match="5h30m"):
        seconds(text)


def test_the_first_round_is_at_once_and_the_rest_on_a_grid() -> None:
    assert list(islice(moments(7, 10, 0, random.Random(1)), 4)) == [7, 17, 27, 37]


def test_jitter_moves_each_round_without_adding_up() -> None:
    for number, moment in enumerate(islice(moments(0, 100, 10, random.Random(1)), 1, 200), 1):
        assert abs(moment - number * 100) <= 10
