"""A call that waits without limit: for room and for rests, not for what time does not mend."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from llm_rotate import AuthenticationError, ForbiddenError, NoAvailableKeyError
from llm_rotate.testing import Scripted

from .world import World


def endless(world: World, count: int = 1) -> list[Any]:
    return world.run(lambda: world.gather(count, max_wait_seconds=math.inf))


@pytest.mark.parametrize("retry_after", [5, 3_000])
def test_it_waits_for_a_rate_limit_however_long(retry_after: int) -> None:
    world = World(["k1"])
    world.sim.key("k1").answers([Scripted(429, headers={"retry-after": str(retry_after)}), 200])
    (answer,) = endless(world)
    assert answer.content
    assert world.clock.now() - 1000.0 == pytest.approx(retry_after, abs=2.0)


def test_a_dead_key_ends_every_call_at_once() -> None:
    world = World(["k1"])
    world.sim.key("k1").bad_key()
    found = endless(world, 20) + endless(world, 20)
    assert all(isinstance(each, NoAvailableKeyError) for each in found)
    assert any(isinstance(each.__cause__, AuthenticationError) for each in found)
    assert "401" in str(found[-1])
    assert world.clock.now() == 1000.0


def test_a_forbidden_model_too() -> None:
    world = World(["k1"])
    world.sim.key("k1").forbidden()
    (error,) = endless(world)
    assert isinstance(error.__cause__, ForbiddenError)
    assert world.clock.now() == 1000.0


def test_money_that_is_used_up_is_asked_for_once_more() -> None:
    world = World(["k1"])
    world.sim.key("k1").quota_exhausted()
    found = endless(world, 20)
    assert all(isinstance(each, NoAvailableKeyError) for each in found)
    assert 300.0 <= world.clock.now() - 1000.0 < 330.0


def test_with_a_dead_key_it_waits_for_the_other() -> None:
    world = World(["dead", "limited"])
    world.sim.key("dead").bad_key()
    world.sim.key("limited").answers([Scripted(429, headers={"retry-after": "700"}), 200])
    (answer,) = endless(world)
    assert answer.key_id == "limited"
    assert world.served()["dead"] <= 2


def test_a_limit_to_the_waiting_is_kept_to_the_letter() -> None:
    """Who says how long waits so long, even for a key that may be dead."""
    world = World(["k1"])
    world.sim.key("k1").answers([401, 200])

    async def scenario() -> Any:
        return await world.chat(max_wait_seconds=400)

    assert world.run(scenario).content
    assert world.clock.now() >= 1300.0


def test_an_operator_can_bring_it_back_meanwhile() -> None:
    world = World(["k1", "k2"])
    world.sim.key("k1").bad_key()
    world.sim.key("k2").rate_limit(retry_after=5_000)

    async def scenario() -> Any:
        call = asyncio.create_task(world.chat(max_wait_seconds=math.inf))
        await asyncio.sleep(10.0)
        world.sim.key("k1").heal()
        await world.lm.keys.enable("k1")
        return await call

    assert world.run(scenario).key_id == "k1"
    assert world.clock.now() < 1011.0
