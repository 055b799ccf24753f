"""Rows in groups: none lost, none twice, bounded both ways."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_rotate.helpers.groups import Groups


async def all_of(groups: Groups, takers: int = 1) -> list[list[tuple[int, Any]]]:
    found: list[list[tuple[int, Any]]] = []

    async def taker() -> None:
        while (taken := await groups.take()) is not None:
            found.append(list(taken[1]))

    await asyncio.gather(*(taker() for _ in range(takers)))
    return found


@given(st.lists(st.integers(0, 9)), st.integers(1, 6), st.integers(0, 20))
def test_groups_are_bounded_and_hold_every_row_in_order(weights, count, most):
    found = asyncio.run(all_of(Groups(weights, float, count, most)))
    assert [row for group in found for row in group] == list(enumerate(weights))
    for group in found:
        assert 1 <= len(group) <= count
        assert len(group) == 1 or sum(weight for _, weight in group) <= most


def test_takers_that_wait_for_the_same_rows_lose_none():
    async def coming():
        for number in range(60):
            await asyncio.sleep(0)
            yield number

    found = asyncio.run(all_of(Groups(coming(), lambda row: 1.0, 10, 2.0), takers=7))
    assert sorted(row for group in found for row in group) == list(enumerate(range(60)))
    assert all(len(group) == 2 for group in found)


def test_what_the_rows_raise_comes_after_the_rows_before_it():
    def raising():
        yield 1
        yield 2
        raise OSError("gone")

    async def check():
        groups = Groups(raising(), float, 10, 100.0)
        assert await groups.take() == (0, [(0, 1), (1, 2)])
        for _ in range(2):
            with pytest.raises(OSError, match="gone"):
                await groups.take()

    asyncio.run(check())
