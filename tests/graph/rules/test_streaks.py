"""Streaks and episodes, as sentences and as properties of any order of arrival."""

from bisect import bisect_left, insort
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speedtrap_graph.rules.model import DEFAULT_RULE, Episode, Observation, Outcome, Rule
from speedtrap_graph.rules.streaks import (
    ResetScan,
    Tail,
    episodes,
    fold,
    longest_streak,
    sort_key,
    streak,
    window,
)

from tests.graph.rules.builders import NOON, a_line, an_observation, hour

SLOW_TO_TRUST = replace(DEFAULT_RULE, recovered_after=3)


def the_episode(letters: str, rule: Rule = DEFAULT_RULE) -> Episode:
    (episode,) = episodes(a_line(letters), rule)
    return episode


def test_the_fifth_slow_run_opens_nothing() -> None:
    assert episodes(a_line("gbbbbb"), DEFAULT_RULE) == []


def test_the_sixth_slow_run_opens_an_episode_that_reaches_back_to_the_first() -> None:
    assert the_episode("gbbbbbb") == Episode(
        first_run_at=hour(1),
        opened_at=hour(6),
        last_run_at=hour(6),
        resolved_at=None,
        first_run_id=UUID(int=2),
        count=6,
        median=100,
    )


def test_a_seventh_slow_run_only_makes_it_longer() -> None:
    episode = the_episode("bbbbbbb")
    assert (episode.count, episode.opened_at, episode.last_run_at) == (7, hour(5), hour(6))


def test_one_good_run_resolves_it() -> None:
    episode = the_episode("bbbbbbgb")
    assert (episode.count, episode.resolved_at) == (6, hour(6))


def test_one_good_run_ends_a_streak_that_is_no_episode_yet() -> None:
    assert episodes(a_line("bbbbbgbbbbb"), SLOW_TO_TRUST) == []


def test_inconclusive_runs_neither_extend_nor_break_a_streak() -> None:
    assert episodes(a_line("bbbiiib-b"), DEFAULT_RULE) == []
    assert the_episode("bbbiiib-bib").opened_at == hour(10)


def test_inconclusive_runs_do_not_resolve_an_episode() -> None:
    assert the_episode("bbbbbbi-i").resolved_at is None


def test_an_outage_counts_as_a_slow_run_but_has_no_figure() -> None:
    episode = the_episode("booobb")
    assert (episode.count, episode.median) == (6, 100)
    assert the_episode("oooooo").median is None


def test_without_a_plan_not_even_outages_open_an_episode() -> None:
    assert episodes(a_line("obobobobob", threshold=None), DEFAULT_RULE) == []


def test_recovery_takes_as_many_good_runs_in_a_row_as_the_rule_says() -> None:
    assert the_episode("bbbbbbgg", SLOW_TO_TRUST).resolved_at is None
    assert the_episode("bbbbbbgigg", SLOW_TO_TRUST).resolved_at == hour(9)


def test_slow_runs_before_the_recovery_is_complete_belong_to_the_episode() -> None:
    episode = the_episode("bbbbbbggbggg", SLOW_TO_TRUST)
    assert (episode.count, episode.last_run_at, episode.resolved_at) == (7, hour(8), hour(11))


def test_after_a_recovery_the_count_begins_anew() -> None:
    first, second = episodes(a_line("bbbbbbgbbbbbgbbbbbbb"), DEFAULT_RULE)
    assert (first.resolved_at, second.first_run_at, second.count) == (hour(6), hour(13), 7)


def test_each_run_is_held_against_its_own_threshold() -> None:
    before = a_line("bbb", threshold=470)
    after = [
        observation._replace(threshold=50, run_id=UUID(int=place + 100), started_at=hour(place + 3))
        for place, observation in enumerate(a_line("bbb"))
    ]
    assert episodes([*before, *after], replace(DEFAULT_RULE, more_than=3)) == []


def test_zero_more_than_opens_at_the_first_slow_run() -> None:
    assert the_episode("b", replace(DEFAULT_RULE, more_than=0)).opened_at == hour(0)


FOUR_OF_SIX = replace(DEFAULT_RULE, more_than=3, out_of=6)


def test_more_than_three_of_the_last_six_open_an_episode_from_the_first_of_them() -> None:
    episode = the_episode("gbgbibgbb", FOUR_OF_SIX)
    assert (episode.first_run_at, episode.opened_at, episode.count) == (hour(1), hour(7), 5)


def test_bad_runs_that_are_too_far_apart_open_nothing() -> None:
    assert episodes(a_line("bgbggbgbgb"), FOUR_OF_SIX) == []


def test_after_a_recovery_the_last_six_begin_anew() -> None:
    first, second = episodes(a_line("bbbbgbbbgb"), FOUR_OF_SIX)
    assert (first.resolved_at, second.first_run_at, second.opened_at) == (hour(4), hour(5), hour(9))


@given(lines=st.text("bg", max_size=30), more_than=st.integers(0, 4), spare=st.integers(0, 4))
def test_an_episode_opens_at_the_first_window_with_too_many_bad_ones(
    lines: str, more_than: int, spare: int
) -> None:
    rule = Rule(below_ratio=0.5, more_than=more_than, out_of=more_than + 1 + spare)
    places = range(len(lines))
    ends = [
        place
        for place in places
        if lines[max(0, place + 1 - rule.window) : place + 1].count("b") > more_than
    ]
    found = episodes(a_line(lines), rule)
    assert [episode.opened_at for episode in found[:1]] == [hour(place) for place in ends[:1]]


@pytest.mark.parametrize(
    ("letters", "current", "longest"),
    [("", 0, 0), ("g", 0, 0), ("bbgb", 1, 2), ("bbi-", 2, 2), ("bobgg", 0, 3), ("gbib", 2, 2)],
)
def test_streaks_count_bad_runs_in_a_row(letters: str, current: int, longest: int) -> None:
    assert streak(a_line(letters), DEFAULT_RULE) == current
    assert longest_streak(a_line(letters), DEFAULT_RULE) == longest


def test_a_window_ends_at_the_nearest_row_of_good_runs() -> None:
    line = a_line("bbgigigbbgbggbgggb")
    assert window(line, 8, DEFAULT_RULE) == range(6, 10)
    assert window(line, 8, SLOW_TO_TRUST) == range(2, 17)
    assert window(line, 17, DEFAULT_RULE) == range(16, 18)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    more_than = draw(st.integers(0, 4))
    return Rule(
        below_ratio=0.5,
        more_than=more_than,
        recovered_after=draw(st.integers(1, 3)),
        out_of=draw(st.none() | st.integers(more_than + 1, more_than + 5)),
    )


RULES = rules()


@st.composite
def lines(draw: st.DrawFn) -> list[Observation]:
    """Observations with distinct ids, many of them at the same moment."""
    letters = draw(st.text("bbbggoi-", max_size=40))
    minutes = draw(st.lists(st.integers(0, 25), min_size=len(letters), max_size=len(letters)))
    line = [
        observation._replace(started_at=NOON + timedelta(minutes=minute))
        for observation, minute in zip(a_line(letters), minutes, strict=True)
    ]
    return sorted(line, key=sort_key)


@dataclass
class Incremental:
    """The service in small: keeps runs and episodes, and touches only a window a run."""

    rule: Rule
    runs: list[Observation] = field(default_factory=list)
    episodes: list[Episode] = field(default_factory=list)

    def submit(self, run: Observation) -> None:
        if any(known.run_id == run.run_id for known in self.runs):
            return
        insort(self.runs, run, key=sort_key)
        place = bisect_left(self.runs, sort_key(run), key=sort_key)
        near = [self.runs[index] for index in window(self.runs, place, self.rule)]
        touched = {observation.run_id for observation in near}
        kept = [found for found in self.episodes if found.first_run_id not in touched]
        found = [*kept, *episodes(near, self.rule)]
        order = {run.run_id: sort_key(run) for run in self.runs}
        self.episodes = sorted(found, key=lambda episode: order[episode.first_run_id])


@given(lines(), RULES, st.data())
def test_any_order_of_arrival_ends_in_the_same_episodes(
    line: list[Observation], rule: Rule, data: st.DataObject
) -> None:
    arrivals = data.draw(st.permutations(line))
    repeated = data.draw(st.lists(st.sampled_from(line), max_size=10)) if line else []
    service = Incremental(rule)
    for run in [*arrivals, *repeated]:
        service.submit(run)
        assert service.episodes == episodes(service.runs, rule)
    assert service.runs == line


@given(lines(), RULES, st.integers(0, 40))
def test_a_tail_goes_on_where_the_observations_before_it_ended(
    line: list[Observation], rule: Rule, place: int
) -> None:
    tail = Tail(rule)
    fold(line[:place], tail)
    before = [found for found in episodes(line[:place], rule) if found.resolved_at is not None]
    assert before + fold(line[place:], tail) == episodes(line, rule)


@given(lines(), RULES, st.data())
def test_a_scan_outward_finds_the_same_window(
    line: list[Observation], rule: Rule, data: st.DataObject
) -> None:
    if not line:
        return
    place = data.draw(st.integers(0, len(line) - 1))
    near = [line[place]]
    older, newer = ResetScan(rule), ResetScan(rule)
    for observation in reversed(line[:place]):
        near.insert(0, observation)
        if older.take(observation):
            break
    for observation in line[place + 1 :]:
        near.append(observation)
        if newer.take(observation):
            break
    assert near == [line[index] for index in window(line, place, rule)]


@given(lines(), RULES)
def test_episodes_are_apart_and_longer_than_the_rule_tolerates(
    line: list[Observation], rule: Rule
) -> None:
    found = episodes(line, rule)
    assert all(episode.count > rule.more_than for episode in found)
    assert all(episode.resolved_at is not None for episode in found[:-1])
    assert len({episode.first_run_id for episode in found}) == len(found)
    for episode in found:
        assert episode.first_run_at <= episode.opened_at <= episode.last_run_at
        assert episode.resolved_at is None or episode.last_run_at <= episode.resolved_at


@given(lines(), RULES)
def test_silent_runs_change_nothing(line: list[Observation], rule: Rule) -> None:
    speaking = [
        observation
        for observation in line
        if observation.outcome is Outcome.OUTAGE or observation.value is not None
    ]
    assert episodes(line, rule) == episodes(speaking, rule)
    assert streak(line, rule) == streak(speaking, rule)
    assert longest_streak(line, rule) == longest_streak(speaking, rule)


def test_runs_of_one_moment_are_ordered_by_their_ids() -> None:
    tied = [an_observation(100, number=number) for number in (3, 1, 2)]
    assert [int(run.run_id) for run in sorted(tied, key=sort_key)] == [1, 2, 3]
