"""Operators stay in charge: what they say holds from the next call on, wherever it is made."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from llm_rotate import ConfigurationError, LMRotate, NoAvailableKeyError
from llm_rotate.engine.pool import Seams

from .dialects import each_dialect, health_of, moments
from .world import HELLO, World

OTHER_MODEL = {
    "openai": "gpt-4o",
    "anthropic": "claude-sonnet-4-5",
    "google_ai_studio": "gemini-2.5-pro",
    "openai_responses": "gpt-5",
    "aws_bedrock": "amazon.nova-lite-v1:0",
}


class Shared(World):
    """A world with a second pool on the same store, as another process would have it."""

    def __init__(self, provider: str, **more: Any) -> None:
        super().__init__(["a", "b"], provider=provider, **more)
        pool = self.lm._pool
        seams = Seams(self.clock, random.Random(2), pool.store, lambda: self.transport)
        self.there = LMRotate(self.config, seams=seams)

    async def both(self, calls: int = 4) -> list[str]:
        """The keys that serve here, then there."""
        here = [(await self.chat()).key_id for _ in range(calls)]
        there = [(await self.there.chat(self.model, HELLO)).key_id for _ in range(calls)]
        return here + there


@each_dialect
def test_R21_disable_takes_a_key_out_everywhere_until_it_is_enabled(provider: str) -> None:
    world = Shared(provider)

    async def scenario() -> None:
        assert set(await world.both()) == {"a", "b"}
        await world.lm.keys.disable("a", reason="leaked")
        assert set(await world.both()) == {"b"}
        health = await health_of(world, "a")
        assert (health.state, health.reason, health.until) == ("disabled", "leaked", None)
        await asyncio.sleep(1_000_000)
        assert set(await world.both()) == {"b"}
        await world.there.keys.enable("a")
        assert (await health_of(world, "a")).state == "probation"
        assert set(await world.both()) == {"a", "b"}
        assert (await health_of(world, "a")).state == "active"

    world.run(scenario)


@each_dialect
def test_R21_an_enabled_key_that_still_fails_goes_back(provider: str) -> None:
    world = Shared(provider, defaults={"quarantine_seconds": 300})
    world.sim.key("a").bad_key()

    async def scenario() -> None:
        await world.lm.keys.disable("a")
        await world.lm.keys.enable("a")
        assert set(await world.both()) == {"b"}
        assert (await health_of(world, "a")).state == "quarantine"
        assert world.sim.requests("a") == 1

    world.run(scenario)


@each_dialect
def test_R21_rest_takes_a_key_out_for_so_long(provider: str) -> None:
    world = Shared(provider)

    async def scenario() -> None:
        await world.lm.keys.rest("a", 90, reason="billing day")
        assert set(await world.both()) == {"b"}
        health = await health_of(world, "a")
        assert (health.state, health.reason) == ("cooldown", "billing day")
        assert health.until is not None
        assert health.until.timestamp() == world.clock.wall() + 90
        await asyncio.sleep(89)
        assert set(await world.both()) == {"b"}
        await asyncio.sleep(1)
        assert set(await world.both()) == {"a", "b"}

    world.run(scenario)


@pytest.mark.parametrize("seconds", [1e9, 2.6e11, 1e12, 1e308, float("inf")])
def test_R21_a_rest_of_any_length_can_be_shown_and_taken_back(seconds: float) -> None:
    world = Shared("openai", defaults={"cooldown_seconds": 1e12})
    world.sim.key("b").then(429)

    async def scenario() -> None:
        await world.lm.keys.rest("a", seconds)
        health = await health_of(world, "a")
        assert (health.state, health.until is None) == ("cooldown", seconds > 1e10)
        with pytest.raises(NoAvailableKeyError):
            await world.chat()
        for key_id in ("a", "b"):
            await world.lm.keys.reset(key_id)
        assert set(await world.both()) == {"a", "b"}

    world.run(scenario)


def test_R21_a_rest_that_has_no_length_is_refused() -> None:
    world = World(["a"])

    async def scenario() -> None:
        for seconds, why in ((0, "over 0"), (-1, "over 0"), (float("nan"), "not NaN")):
            with pytest.raises(ConfigurationError, match=why):
                await world.lm.keys.rest("a", seconds)

    world.run(scenario)


@each_dialect
def test_R21_the_operators_last_word_counts_though_it_is_the_shorter_rest(provider: str) -> None:
    world = Shared(provider)

    async def scenario() -> None:
        await world.lm.keys.rest("a", 900)
        await world.there.keys.rest("a", 10)
        await asyncio.sleep(10)
        assert set(await world.both()) == {"a", "b"}

    world.run(scenario)


@each_dialect
def test_R21_reset_makes_a_key_and_all_its_scopes_as_new(provider: str) -> None:
    world = Shared(provider)
    world.sim.key("a").forbidden(world.model).bad_key()

    async def scenario() -> None:
        await world.chat()
        await world.chat(model=OTHER_MODEL[provider])
        before = await health_of(world, "a")
        assert before.failures == 2
        assert before.state == "quarantine"
        assert before.scopes[world.model].state == "quarantine"
        world.sim.key("a").heal()
        assert set(await world.both()) == {"b"}
        await world.lm.keys.reset("a")
        after = await health_of(world, "a")
        assert (after.state, after.failures, after.scopes) == ("active", 0, {})
        assert set(await world.both()) == {"a", "b"}

    world.run(scenario)


@each_dialect
def test_R21_a_call_that_waits_goes_on_when_its_key_is_given_back(provider: str) -> None:
    world = Shared(provider)

    async def scenario() -> None:
        await world.lm.keys.rest("a", 50)
        await world.lm.keys.rest("b", 50)
        waiting = asyncio.create_task(world.chat(max_wait_seconds=100))
        await asyncio.sleep(5)
        await world.there.keys.reset("b")
        assert (await waiting).key_id == "b"

    world.run(scenario)
    assert moments(world, "b") == [5.0]


@each_dialect
def test_R21_a_key_taken_out_while_a_call_connects_is_not_used(provider: str) -> None:
    world = Shared(provider, connect_s=1.0)

    async def scenario() -> None:
        call = asyncio.create_task(world.chat())
        await asyncio.sleep(0.5)
        await world.there.keys.disable("a")
        assert (await call).key_id == "b"

    world.run(scenario)
    assert world.sim.requests("a") == 0


@each_dialect
def test_R21_a_call_in_flight_does_not_undo_what_the_operator_said(provider: str) -> None:
    world = Shared(provider)
    world.sim.key("a").slow(5)

    async def scenario() -> None:
        call = asyncio.create_task(world.chat())
        await asyncio.sleep(1)
        await world.lm.keys.rest("a", 60)
        assert (await call).key_id == "a"
        assert (await health_of(world, "a")).state == "cooldown"
        assert set(await world.both()) == {"b"}

    world.run(scenario)


def test_R21_the_sync_twins_do_the_same() -> None:
    world = Shared("openai")
    keys = world.there.keys

    def state() -> str:
        return world.lm.health_sync().providers["openai"].keys["a"].state

    states = []
    keys.disable_sync("a", "why")
    states.append(state())
    keys.enable_sync("a")
    states.append(state())
    keys.rest_sync("a", 60)
    states.append(state())
    keys.reset_sync("a")
    states.append(state())
    assert states == ["disabled", "probation", "cooldown", "active"]


@each_dialect
def test_R21_with_every_key_disabled_a_call_says_so(provider: str) -> None:
    world = Shared(provider)

    async def scenario() -> None:
        for key in ("a", "b"):
            await world.there.keys.disable(key, "maintenance")
        with pytest.raises(NoAvailableKeyError, match="maintenance"):
            await world.chat()

    world.run(scenario)
    assert world.sim.requests() == 0


def test_R21_an_unknown_key_is_named_with_the_nearest_there_is() -> None:
    world = World(["alpha", "beta"])

    async def scenario() -> None:
        with pytest.raises(ConfigurationError, match="'alpha'"):
            await world.lm.keys.disable("alpa")

    world.run(scenario)
