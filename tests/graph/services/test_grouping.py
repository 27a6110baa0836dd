"""What goes into the store together, and who hears of it when that fails."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from pymongo.errors import AutoReconnect
from speedtrap_graph.services.intake.batches import Grouping, Waiting

MOST = 10


class SpoiltError(Exception):
    """What a run that the store cannot take makes of its transaction."""


@dataclass
class Storing:
    """Takes a group once it is let; runs are the answers that their caller is to get."""

    groups: list[list[str]] = field(default_factory=list)
    let: asyncio.Event = field(default_factory=asyncio.Event)
    second: asyncio.Event = field(default_factory=asyncio.Event)
    lost: bool = False
    grouping: Grouping[str, str] | None = None
    """Whose latecomers join a group at the end of its waiting."""

    async def store(self, group: list[Waiting[str, str]]) -> Sequence[str]:
        self.groups.append([item.probe for item in group])
        if len(self.groups) == 2:
            self.second.set()
        await self.let.wait()
        if self.grouping is not None:
            self.grouping.join(group)
            self.groups[-1] = [item.probe for item in group]
        if self.lost:
            raise AutoReconnect("the connection was lost")
        if any("spoilt" in item.runs for item in group):
            raise SpoiltError
        return [",".join(item.runs) for item in group]


@pytest.fixture
def storing() -> Storing:
    return Storing()


@pytest.fixture
def grouping(storing: Storing) -> Grouping[str, str]:
    return Grouping(storing.store, MOST)


async def settled(*futures: asyncio.Future[str]) -> list[str | BaseException]:
    return await asyncio.gather(*futures, return_exceptions=True)


async def test_what_came_while_one_was_under_way_goes_in_together(
    storing: Storing, grouping: Grouping[str, str]
) -> None:
    first = grouping.add({"a": ["1"]})
    rest = [future for name in "bcd" for future in grouping.add({name: [name]})]
    await asyncio.sleep(0)
    storing.let.set()
    assert await settled(*first, *rest) == ["1", "b", "c", "d"]
    assert storing.groups == [["a"], ["b", "c", "d"]]


async def test_the_probes_of_one_caller_go_in_together(
    storing: Storing, grouping: Grouping[str, str]
) -> None:
    storing.let.set()
    assert await settled(*grouping.add({"a": ["1"], "b": ["2"]})) == ["1", "2"]
    assert storing.groups == [["a", "b"]]


async def test_on_a_cluster_they_do_not(storing: Storing, grouping: Grouping[str, str]) -> None:
    storing.let.set()
    assert await settled(*grouping.add({"a": ["1"], "b": ["2"]}, alone=True)) == ["1", "2"]
    assert storing.groups == [["a"], ["b"]]


async def test_of_one_probe_there_is_never_more_than_one_under_way(
    storing: Storing, grouping: Grouping[str, str]
) -> None:
    first = grouping.add({"a": ["1"]})
    more = [future for _ in range(3) for future in grouping.add({"a": ["x"] * MOST})]
    other = grouping.add({"b": ["2"] * MOST})  # a full load need not wait for the one under way
    await asyncio.sleep(0)
    assert storing.groups == [["a"], ["b"]]
    storing.let.set()
    await settled(*first, *more, *other)
    assert storing.groups == [["a"], ["b"], ["a"], ["a"], ["a"]]


async def test_what_comes_while_a_group_waits_for_its_turn_joins_it(
    storing: Storing, grouping: Grouping[str, str]
) -> None:
    storing.grouping = grouping
    first = grouping.add({"a": ["1"]})
    late = grouping.add({"a": ["2"], "b": ["3"]})
    too_much = grouping.add({"a": ["x"] * MOST})
    storing.let.set()
    assert await settled(*first, *late) == ["1", "2", "3"]
    await settled(*too_much)
    assert storing.groups == [["a", "a"], ["b"], ["a"]]


async def test_where_many_call_for_one_probe_those_who_were_answered_go_in_together_again(
    storing: Storing, grouping: Grouping[str, str]
) -> None:
    storing.let.set()
    first = [future for name in "123" for future in grouping.add({"a": [name]})]
    assert await settled(*first) == ["1", "2", "3"]
    fourth = grouping.add({"a": ["4"]})
    await asyncio.sleep(0)
    assert await settled(*fourth, *grouping.add({"a": ["5"]})) == ["4", "5"]
    assert storing.groups == [["a"], ["a", "a"], ["a", "a"]]


async def test_a_probe_that_another_process_is_busy_with_is_left_to_it_for_a_moment(
    storing: Storing, grouping: Grouping[str, str]
) -> None:
    storing.let.set()
    [first] = grouping.add({"a": ["1"]})
    grouping.give_way([Waiting("a", (), first, 0.0)])
    assert await first == "1"
    second = grouping.add({"a": ["2"]})
    await asyncio.sleep(0)
    assert await settled(*second, *grouping.add({"a": ["3"]})) == ["2", "3"]
    assert storing.groups == [["a"], ["a", "a"]]


async def test_nobody_waits_long_for_one_that_takes_its_time(
    storing: Storing, grouping: Grouping[str, str]
) -> None:
    slow = grouping.add({"slow": ["1"]})
    quick = grouping.add({"quick": ["2"]})
    await storing.second.wait()
    assert not slow[0].done()
    storing.let.set()
    assert await settled(*slow, *quick) == ["1", "2"]


async def test_a_group_that_fails_is_taken_apart_and_only_the_culprit_hears_of_it(
    storing: Storing, grouping: Grouping[str, str]
) -> None:
    storing.let.set()
    good, spoilt, another = await settled(*grouping.add({"a": ["1"], "b": ["spoilt"], "c": ["3"]}))
    assert (good, another) == ("1", "3")
    assert isinstance(spoilt, SpoiltError)
    assert storing.groups == [["a", "b", "c"], ["a"], ["b"], ["c"]]


async def test_a_lost_connection_is_everybodys_at_once(
    storing: Storing, grouping: Grouping[str, str]
) -> None:
    storing.lost = True
    storing.let.set()
    told = await settled(*grouping.add({"a": ["1"], "b": ["2"]}))
    assert [type(each) for each in told] == [AutoReconnect, AutoReconnect]
    assert len(storing.groups) == 1


async def test_who_no_longer_waits_is_left_out_and_the_others_go_on(
    storing: Storing, grouping: Grouping[str, str]
) -> None:
    first = grouping.add({"a": ["1"]})
    given_up, kept = (grouping.add({name: [name]})[0] for name in "bc")
    await asyncio.sleep(0)
    first[0].cancel()  # under way already: it is stored, and nobody told
    given_up.cancel()
    storing.let.set()
    assert await kept == "c"
    assert storing.groups == [["a"], ["c"]]


async def test_no_group_is_larger_than_a_batch_may_be(
    storing: Storing, grouping: Grouping[str, str]
) -> None:
    storing.let.set()
    by_probe = {name: [name] * 4 for name in "abcde"} | {"big": ["x"] * (MOST + 5)}
    await settled(*grouping.add(by_probe))
    assert storing.groups == [["a", "b"], ["c", "d"], ["e"], ["big"]]
