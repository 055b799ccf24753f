"""Calls of every kind, cancelled wherever they happen to be; nothing of them may be left."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from llm_rotate import LMRotateError

from .world import HELLO

# What the provider does meanwhile: all of it costs the calls further awaits.
TROUBLES: tuple[Callable[[Any], Any], ...] = (
    lambda key: key.rate_limit(retry_after=0.3),
    lambda key: key.slow(0.2, between=0.05),
    lambda key: key.then(500, times=3),
    lambda key: key.bad_key(),
    lambda key: key.drop(times=2),
    lambda key: key.cut_stream(1, times=2),
    lambda key: key.silent_stream(1, times=2),
    lambda key: key.silent_stream(0, times=1),
    lambda key: key.error_in_stream(0, times=2),
    lambda key: key,
)


async def chat(world: Any, rng: random.Random) -> None:
    await world.lm.chat(world.model, HELLO, timeout=rng.choice([None, 0.4]))


async def stream(world: Any, rng: random.Random) -> None:
    opened = world.lm.chat_stream(world.model, HELLO, timeout=rng.choice([None, 0.4]))
    if rng.random() < 0.5:
        async for _ in opened:
            pass
        return
    async with opened:
        async for _ in opened:
            if rng.random() < 0.3:
                break


async def loan(world: Any, rng: random.Random) -> None:
    async with world.lm.acquire(world.provider, model=world.model):
        await asyncio.sleep(rng.choice([0, 0.01, 0.2]))


KINDS: tuple[Callable[..., Awaitable[None]], ...] = (chat, stream, loan)


async def steps(rng: random.Random, longest_s: float) -> None:
    """A few turns of the loop, or a while: cancellations fall inside steps and between."""
    if rng.random() < 0.6:
        for _ in range(rng.randrange(12)):
            await asyncio.sleep(0)
    else:
        await asyncio.sleep(rng.random() * longest_s)


async def one(world: Any, rng: random.Random, longest_s: float) -> None:
    """One call, cancelled at some point unless it ended before; perhaps twice."""
    task = asyncio.ensure_future(rng.choice(KINDS)(world, rng))
    await steps(rng, longest_s)
    for _ in range(rng.randint(1, 2)):
        task.cancel()
        if rng.random() < 0.3:
            await asyncio.sleep(0)
    with suppress(asyncio.CancelledError, LMRotateError):
        await task


async def many(world: Any, rng: random.Random, rounds: int, at_once: int, longest_s: float) -> None:
    """``rounds`` crowds of calls, and then one call that must be answered."""
    for _ in range(rounds):
        for key in ("k1", "k2"):
            world.sim.key(key).heal()
            rng.choice(TROUBLES)(world.sim.key(key))
        if rng.random() < 0.5:
            await world.lm.keys.enable(rng.choice(["k1", "k2"]))  # on probation: a trial
        await asyncio.gather(*(one(world, rng, longest_s) for _ in range(at_once)))
        await asyncio.sleep(0)  # streams that were dropped are given back in the loop's next turn
        check_nothing_is_held(world)
    await check_every_key_serves(world)


def check_nothing_is_held(world: Any) -> None:
    """No lease, no trial, no waiter."""
    pool = world.lm._pool
    assert not pool.judge.live
    assert not pool.judge.bell._waiting
    assert not pool.store._trials


async def check_every_key_serves(world: Any) -> None:
    for key in ("k1", "k2"):
        world.sim.key(key).heal()
        await world.lm.keys.reset(key)  # with the rests of its scopes
        await world.lm.keys.enable(key)
        answer = await world.lm.chat(world.model, HELLO, key_id=key, max_wait_seconds=0)
        assert answer.content == "You said: hello"
