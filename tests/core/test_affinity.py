"""A conversation's home: the same everywhere, spread evenly, moved only with its key."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_rotate.core.affinity import RING_ABOVE_KEYS, Homes

SIZES = [1, 2, 5, RING_ABOVE_KEYS, RING_ABOVE_KEYS + 1, 100]
CONVERSATIONS = [f"conversation-{n}" for n in range(1000)]


def names(size: int) -> list[str]:
    return [f"key-{n}" for n in range(size)]


def home(homes: Homes, conversation: str) -> int:
    return next(homes.order(conversation))


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=50), st.sampled_from(SIZES))
def test_every_key_comes_once_and_always_in_the_same_order(conversation: str, size: int) -> None:
    order = list(Homes(names(size)).order(conversation))
    assert sorted(order) == list(range(size))
    assert list(Homes(names(size)).order(conversation)) == order


def test_homes_are_the_same_in_every_process_and_version() -> None:
    """Written down once: another hash would send every conversation elsewhere."""
    five, hundred = Homes(names(5)), Homes(names(100))
    some = ["a", "conversation-17", "\u00fc\u4e2d"]
    assert [home(five, each) for each in some] == [4, 0, 4]
    assert [home(hundred, each) for each in some] == [52, 16, 31]


@pytest.mark.parametrize("size", [5, RING_ABOVE_KEYS, 60, 100])
def test_a_lost_key_moves_its_own_conversations_alone(size: int) -> None:
    all_keys = names(size)
    whole, rest = Homes(all_keys), Homes(all_keys[:-1])
    for conversation in CONVERSATIONS:
        before = all_keys[home(whole, conversation)]
        after = all_keys[home(rest, conversation)]
        assert before in (after, all_keys[-1])


@pytest.mark.parametrize("size", [5, 10])
def test_a_lost_keys_conversations_go_to_many(size: int) -> None:
    homes = Homes(names(size))
    seconds: Counter[int] = Counter()
    for conversation in CONVERSATIONS:
        first, second, *_ = homes.order(conversation)
        if first == 0:
            seconds[second] += 1
    assert len(seconds) == size - 1


def test_R20_a_thousand_conversations_are_spread_over_five_keys() -> None:
    counts = Counter(home(Homes(names(5)), each) for each in CONVERSATIONS)
    assert all(150 <= counts[key] <= 250 for key in range(5)), counts


def test_the_ring_spreads_too() -> None:
    homes = Homes(names(100))
    counts = Counter(home(homes, f"c{n}") for n in range(20_000))
    assert len(counts) == 100
    assert min(counts.values()) >= 100
    assert max(counts.values()) <= 350
