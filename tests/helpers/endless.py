"""Many generated rows against a server in a process of its own, and the memory they take."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from llm_rotate import ChatResponse
from tests.behaviours.crowd import resident
from tests.benchmarks import pools
from tests.benchmarks.server import serving

MIB = 1024 * 1024
SETTLED = 10_000  # rows after which memory is what it will be
LOOKS = 20


def prompts(count: int) -> Iterator[str]:
    return (
        f"row {number}, of a length that is felt when it is kept. " * 4 for number in range(count)
    )


async def _worked_through(url: str, count: int) -> float:
    every = (count - SETTLED) // LOOKS
    settled, most, done = 0, 0, 0
    async with pools.pool(url) as lm:
        async for _, result in lm.as_completed(pools.MODEL, prompts(count)):
            assert isinstance(result, ChatResponse)
            done += 1
            if done == SETTLED:
                settled = resident()
            elif done > SETTLED and not done % every:
                most = max(most, resident())
    assert done == count
    return (most - settled) / MIB


def growth(count: int) -> float:
    """MiB more, at the most, than after the first 10,000 of ``count`` rows."""
    with serving() as url:
        return asyncio.run(_worked_through(f"{url}/now", count))
