"""The window by itself: whatever its width does meanwhile, every row is done once."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from llm_rotate import LMRotateError
from llm_rotate.helpers.source import Source
from llm_rotate.helpers.width import Fixed
from llm_rotate.helpers.window import Window


class Restless:
    """Another width after every row."""

    def __init__(self, limits: list[int]) -> None:
        self.limits = limits
        self.limit = limits[0]
        self.most = 0

    def began(self, under_way: int) -> None:
        self.most = max(self.most, under_way)

    def ended(self, mark: Any, outcome: Any) -> None:
        self.limit = self.limits.pop() if self.limits else 1


async def at_once(row: int) -> int:
    await asyncio.sleep(0)
    return row


def test_a_window_that_shrinks_while_all_its_rows_end_goes_on():
    async def scenario() -> None:
        width = Restless([64] + [1] * 10)
        window: Window[int, int] = Window(Source(range(500)), at_once, width)
        found = [index async for index, _ in window.pairs()]
        assert sorted(found) == list(range(500))

    asyncio.run(scenario())


@pytest.mark.parametrize("seed", range(20))
def test_every_row_is_done_once_however_the_width_changes(seed):
    dice = random.Random(seed)

    async def now_or_later(row: int) -> int:
        for _ in range(dice.randrange(3)):
            await asyncio.sleep(0)
        return -row

    async def scenario() -> None:
        width = Restless([dice.choice([1, 2, 5, 40]) for _ in range(400)])
        window: Window[int, int] = Window(Source(iter(range(400))), now_or_later, width)
        found = dict([pair async for pair in window.pairs()])
        assert found == {row: -row for row in range(400)}
        assert width.most <= 40

    asyncio.run(scenario())


@pytest.mark.parametrize("lost", [3, 9], ids=["amid others", "when no more come"])
def test_a_row_that_is_cancelled_from_outside_is_not_lost_without_a_word(lost):
    async def send(row: int) -> int:
        if row == lost:
            await asyncio.sleep(0.01)
            raise asyncio.CancelledError
        return row

    async def scenario() -> None:
        window: Window[int, int] = Window(Source(range(10)), send, Fixed(2))
        seen = []

        async def look() -> None:
            async for index, _ in window.pairs():
                seen.append(index)

        with pytest.raises(LMRotateError, match="cancelled"):
            await look()
        assert lost not in seen
        assert set(range(3)) <= set(seen)

    asyncio.run(scenario())
