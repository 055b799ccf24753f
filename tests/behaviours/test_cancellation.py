"""R10 at every await: chats, streams and loans cancelled at random, through both doors."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from .cancelling import many
from .dialects import each_dialect
from .doors import fake_time, sockets, wait_until

QUICK = {
    "max_wait_seconds": 0.5,
    "timeouts": {"connect": 1.0, "first_byte": 1.0, "first_event": 0.5, "idle": 0.3},
}


def connections_of(most: int) -> Callable[[Any], Any]:
    def edit(config: Any) -> Any:
        config.http.max_connections = most
        return config

    return edit


@each_dialect
@pytest.mark.parametrize("seed", range(12))
def test_R10_cancelled_anywhere_in_fake_time(provider, seed):
    with fake_time(
        provider=provider, keys=["k1", "k2"], defaults=QUICK, connect_s=seed % 3 * 0.01, seed=seed
    ) as world:
        rng = random.Random(seed)
        world.run(lambda: many(world, rng, rounds=25, at_once=12, longest_s=1.0))


@each_dialect
@pytest.mark.parametrize("connections", [100, 3])
def test_R10_cancelled_anywhere_on_real_sockets(provider, connections):
    """With room for all calls, and with calls that wait for a connection."""

    async def scenario() -> None:
        await many(world, random.Random(connections), rounds=12, at_once=40, longest_s=0.15)
        assert await asyncio.to_thread(world.sim.wait_idle)

    with sockets(
        provider=provider, keys=["k1", "k2"], defaults=QUICK, edit=connections_of(connections)
    ) as world:
        world.run(scenario)


@each_dialect
def test_R10_a_cancelled_calls_connection_is_closed_and_its_place_is_free(provider):
    """Ten times as many cancelled calls as connections may be open at once."""

    async def scenario() -> None:
        for _ in range(10):
            calls = [asyncio.ensure_future(world.chat()) for _ in range(4)]
            await asyncio.to_thread(world.sim.wait_for, lambda: world.sim.in_flight == 2)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            assert await asyncio.to_thread(wait_until, lambda: world.sim.open_connections == 0)
        world.sim.key("k1").heal()
        assert (await world.chat()).content == "You said: hello"

    with sockets(provider=provider, keys=["k1"], edit=connections_of(2)) as world:
        world.sim.key("k1").slow(float("inf"))
        world.run(scenario)


@each_dialect
def test_R10_cancelled_while_it_waits_for_a_key_leaves_no_waiter(provider):
    async def scenario() -> None:
        await world.lm.keys.rest("k1", 3600)
        calls = [asyncio.ensure_future(world.chat(max_wait_seconds=7200)) for _ in range(9)]
        await asyncio.sleep(1)
        bell = world.lm._pool.judge.bell
        assert len(bell._waiting) == 9
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert not bell._waiting
        assert world.sim.requests() == 0

    with fake_time(provider=provider, keys=["k1"]) as world:
        world.run(scenario)
