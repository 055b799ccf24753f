"""The queue of one route: order, turns, and what a wait is foreseen to be."""

from __future__ import annotations

import asyncio
import math

from hypothesis import given
from hypothesis import strategies as st

from llm_rotate.core.bucket import Tokens
from llm_rotate.engine.queue import Place, Queue
from llm_rotate.testing import FakeTime, run_fake

ONE = Tokens(1, 1)


def test_who_was_refused_after_waiting_goes_before_who_came_later() -> None:
    queue = Queue()
    later = queue.join(9, ONE)
    assert queue.is_first(later)
    assert queue.is_first(queue.join(3, ONE))
    assert not queue.is_first(later)


def test_the_next_is_woken_when_the_first_leaves() -> None:
    clock = FakeTime()

    async def scenario() -> list[int]:
        queue, order = Queue(), []

        async def wait(place: Place) -> None:
            assert await queue.turn(place, clock, math.inf)
            order.append(place.number)
            await asyncio.sleep(1)
            queue.leave(place)

        await asyncio.gather(*(wait(queue.join(number, ONE)) for number in (3, 1, 2)))
        assert queue.places == []
        return order

    assert run_fake(scenario(), clock) == [1, 2, 3]


def test_who_is_woken_waits_on_when_an_earlier_call_has_come_back() -> None:
    clock = FakeTime()

    async def scenario() -> float:
        queue = Queue()
        first, second = queue.join(1, ONE), queue.join(2, ONE)
        turn = asyncio.create_task(queue.turn(second, clock, 10))
        await asyncio.sleep(0)
        queue.leave(first)
        back = queue.join(1, ONE)  # refused, before the second ran
        await asyncio.sleep(3)
        queue.leave(back)
        assert await turn
        return clock.now()

    began = clock.now()
    assert run_fake(scenario(), clock) - began == 3


def test_a_turn_that_does_not_come_in_time_is_not_had() -> None:
    clock = FakeTime()

    async def scenario() -> bool:
        queue = Queue()
        queue.join(1, ONE)
        return await queue.turn(queue.join(2, ONE), clock, 5.0)

    assert run_fake(scenario(), clock) is False
    assert clock.now() == 1005.0


@given(st.lists(st.integers(0, 900), min_size=1, max_size=12), st.data())
def test_what_is_foreseen_is_the_firsts_time_and_all_between(
    tokens: list[int], data: st.DataObject
) -> None:
    queue = Queue()
    places = [queue.join(number, Tokens(each, 0)) for number, each in enumerate(tokens)]
    gone = data.draw(st.lists(st.sampled_from(places), unique_by=id))
    for place in [each for each in gone if each is not places[0]]:
        queue.leave(place)
    queue.free_at = 1010.0
    kept = list(queue.places)
    for index, place in enumerate(kept):
        between = sum(each.tokens for each in kept[1 : index + 1])
        expected = 1010.0 + max(index / 2.0, between / 10.0)
        assert math.isclose(queue.foreseen(place, 1000.0, (2.0, 10.0)), expected)
