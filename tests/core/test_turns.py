"""Whose turn it is: exact shares, and the same answers as a model that looks at every key."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_rotate.core.pool import Norm, Place, Record
from llm_rotate.core.turns import Turns

NOW = 1000.0


def turns_of(*places: tuple[int, float]) -> Turns:
    spots = [Place(tier, stride) for tier, stride in places]
    return Turns(len(spots), lambda index, _record, _norm: spots[index])


def serve(turns: Turns, calls: int, now: float = NOW) -> list[int]:
    served = []
    for _ in range(calls):
        (index,) = turns.window(now, 1)
        turns.charge(index)
        served.append(index)
    return served


def test_equal_keys_take_turns_in_their_order() -> None:
    assert serve(turns_of((0, 1.0), (0, 1.0), (0, 1.0)), 9) == [0, 1, 2] * 3


@given(st.lists(st.integers(1, 12), min_size=1, max_size=8))
def test_shares_are_exact_in_proportion_to_one_over_stride(weights: list[int]) -> None:
    """After any number of turns no key is more than a turn from its share."""
    turns = turns_of(*((0, 1.0 / weight) for weight in weights))
    counts: Counter[int] = Counter()
    for done, index in enumerate(serve(turns, 12 * sum(weights)), 1):
        counts[index] += 1
        if done % sum(weights) == 0:
            for key, weight in enumerate(weights):
                assert abs(counts[key] - done * weight / sum(weights)) <= 1.0 + 1e-6


def test_the_bigger_tier_goes_first_and_the_next_while_it_rests() -> None:
    turns = turns_of((1, 1.0), (5, 1.0), (1, 1.0))
    assert serve(turns, 3) == [1, 1, 1]
    turns.rest(1, NOW + 7)
    assert serve(turns, 4) == [0, 2, 0, 2]
    assert serve(turns, 2, NOW + 7) == [1, 1]


def test_a_window_holds_the_best_first_over_all_tiers_and_leaves_the_order_alone() -> None:
    turns = turns_of((0, 1.0), (9, 1.0), (0, 1.0), (9, 1.0))
    assert turns.window(NOW, 8) == [1, 3, 0, 2]
    assert turns.window(NOW, 3) == [1, 3, 0]
    assert turns.window(NOW, 8, skip={1, 0}) == [3, 2]
    assert turns.window(NOW, 8) == [1, 3, 0, 2]
    assert turns.window(NOW, 1, skip={0, 1, 2, 3}) == []


@pytest.mark.parametrize("rested", [10, 1000])
def test_a_key_that_returns_gets_no_burst(rested: int) -> None:
    turns = turns_of((0, 1.0), (0, 1.0), (0, 1.0))
    serve(turns, 30)
    turns.rest(0, NOW + 60)
    assert set(serve(turns, rested)) == {1, 2}
    after = Counter(serve(turns, 30, NOW + 60))
    assert after == {0: 10, 1: 10, 2: 10}


def test_a_key_that_rests_again_and_again_gets_no_more_than_its_share() -> None:
    turns = turns_of((0, 1.0), (0, 1.0))
    counts: Counter[int] = Counter()
    for n in range(100):
        turns.rest(0, NOW + n + 0.5)
        counts.update(serve(turns, 2, NOW + n))
        counts.update(serve(turns, 2, NOW + n + 0.6))
    assert counts[0] <= 100


def test_earliest_is_the_first_wake_of_those_not_skipped() -> None:
    turns = turns_of(*[(0, 1.0)] * 3)
    assert turns.earliest() == math.inf
    turns.rest(0, NOW + 5)
    turns.rest(1, NOW + 9)
    turns.rest(2, math.inf)
    assert turns.earliest() == NOW + 5
    assert turns.earliest({0}) == NOW + 9
    assert turns.earliest({0, 1}) == math.inf
    turns.rest(0, NOW + 20)  # the old wake time no longer holds
    assert turns.earliest() == NOW + 9
    turns.wake(1)
    assert turns.earliest() == NOW + 20


def test_a_fault_record_is_forgiven_when_a_key_returns() -> None:
    shares: list[float] = []

    def place(index: int, record: Record, _norm: Norm) -> Place:
        if index == 0:
            shares.append(record.fault_share)
        return Place(0, 1.0)

    turns = Turns(2, place)
    for _ in range(10):
        turns.note(0, True, 1.0)
    assert shares[-1] > 0.8
    turns.rest(0, NOW + 5)
    turns.wake_due(NOW + 5)
    assert shares[-1] == 0.0


def test_records_are_moving_means_of_a_fifth() -> None:
    seen: list[tuple[float, float, int, float]] = []

    def place(_index: int, record: Record, norm: Norm) -> Place:
        seen.append((record.seconds, record.fault_share, record.samples, norm.seconds))
        return Place(0, 1.0)

    turns = Turns(1, place)
    turns.note(0, False, 2.0)
    turns.note(0, False, 7.0)
    turns.note(0, True, 100.0)
    assert seen[1:] == [(2.0, 0.0, 1, 2.0), (3.0, 0.0, 2, 3.0), (3.0, pytest.approx(0.2), 2, 3.0)]


# -- against a model that looks at every key each time


@dataclass
class Naive:
    """The same promises with plain lists and no heaps."""

    places: list[tuple[int, float]]
    times: list[float] = field(init=False)
    stamps: list[int] = field(init=False)
    until: list[float] = field(init=False)
    present: dict[int, float] = field(init=False)
    clock: int = 0

    def __post_init__(self) -> None:
        size = len(self.places)
        self.times, self.until = [0.0] * size, [0.0] * size
        self.stamps, self.clock = list(range(size)), size
        self.present = {tier: 0.0 for tier, _ in self.places}

    def window(self, now: float, n: int, skip: set[int]) -> list[int]:
        self.wake_due(now)
        ready = [i for i, until in enumerate(self.until) if not until and i not in skip]
        return sorted(ready, key=lambda i: (-self.places[i][0], self.times[i], self.stamps[i]))[:n]

    def charge(self, index: int) -> None:
        tier, stride = self.places[index]
        self.present[tier] = max(self.present[tier], self.times[index])
        self.times[index] += stride
        if not self.until[index]:
            self.stamp(index)

    def rest(self, index: int, until: float) -> None:
        self.until[index] = until

    def wake(self, index: int) -> None:
        if self.until[index]:
            tier = self.places[index][0]
            others = [
                self.times[i]
                for i, until in enumerate(self.until)
                if not until and self.places[i][0] == tier
            ]
            self.until[index] = 0.0
            # A turn taken out of order does not move the tier past its best key.
            present = min([self.present[tier], *others])
            self.times[index] = max(self.times[index], present)
            self.stamp(index)

    def wake_due(self, now: float) -> None:
        due = sorted((until, i) for i, until in enumerate(self.until) if 0 < until <= now)
        for _, index in due:
            self.wake(index)

    def stamp(self, index: int) -> None:
        self.clock += 1
        self.stamps[index] = self.clock


KEYS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from([0.1, 0.25, 0.5, 1.0, 3.0])),
    min_size=1,
    max_size=6,
)
STEP = st.one_of(
    st.tuples(st.just("take"), st.sets(st.integers(0, 5))),
    st.tuples(st.just("rest"), st.integers(0, 5), st.integers(1, 20) | st.just(math.inf)),
    st.tuples(st.just("wake"), st.integers(0, 5)),
    st.tuples(st.just("pass"), st.integers(0, 10)),
)


@settings(max_examples=300, deadline=None)
@given(KEYS, st.lists(STEP, max_size=60))
def test_it_answers_as_the_naive_model(
    places: list[tuple[int, float]], steps: list[tuple[str, int | set[int], float]]
) -> None:
    turns, naive, now = turns_of(*places), Naive(places), NOW
    for kind, *rest in steps:
        if kind == "take":
            skip = {i for i in rest[0] if i < len(places)}
            assert turns.window(now, 3, skip) == naive.window(now, 3, skip)
            for index in turns.window(now, 1, skip):
                turns.charge(index)
                naive.charge(index)
        elif kind == "pass":
            now += rest[0]
        elif rest[0] < len(places):
            if kind == "rest":
                turns.rest(rest[0], now + rest[1])
                naive.rest(rest[0], now + rest[1])
            else:
                turns.wake(rest[0])
                naive.wake(rest[0])
        resting = [until for until in naive.until if until]
        assert turns.earliest() == min(resting, default=math.inf)
        assert [turns.until(i) for i in range(len(places))] == naive.until
    assert turns.window(now, 6) == naive.window(now, 6, set())


def test_nothing_grows_with_the_number_of_keys_that_rest() -> None:
    """Ten thousand keys, all but one resting: a turn looks at a handful of them."""
    looked = 0

    class Counting(set[int]):
        def __contains__(self, index: object) -> bool:
            nonlocal looked
            looked += 1
            return super().__contains__(index)

    turns = turns_of(*[(0, 1.0)] * 10_000)
    for index in range(9_999):
        turns.rest(index, NOW + 1e6)
    turns.window(NOW, 1)
    for _ in range(100):
        turns.charge(turns.window(NOW, 1, Counting())[0])
    assert looked <= 200
