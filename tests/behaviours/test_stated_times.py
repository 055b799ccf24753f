"""Times that a provider or a caller stated, heeded over all the steps of a call."""

from __future__ import annotations

import asyncio
import math
import os
import time
from typing import Any

import pytest

from llm_rotate import DeadlineError, NoAvailableKeyError, ProviderError

from .dialects import OTHER, each_dialect, moments
from .doors import asked, sockets
from .world import HELLO, MODELS, World


def chained(provider: str, **defaults: Any) -> World:
    other = OTHER[provider]
    chains = {provider: [{"provider": other, "model": MODELS[other]}]}
    keys = {"a": provider, "b": other}
    return World(keys, provider=provider, fallback_chains=chains, defaults=defaults)


# -- stated with a fault


@each_dialect
def test_R13_a_stated_time_past_the_deadline_is_not_slept_or_shortened(provider):
    world = World(["a"], provider=provider, defaults={"max_retries": 3})
    world.sim.key("a").then(503, times=9, headers={"retry-after": "20"})

    async def scenario() -> None:
        with pytest.raises(ProviderError, match="503"):
            await world.chat(timeout=15)
        assert world.clock.now() == 1000.0

    world.run(scenario)
    assert world.sim.requests() == 1


@each_dialect
def test_R13_a_stated_time_past_the_deadline_sends_the_call_down_the_chain(provider):
    world = chained(provider, max_retries=3)
    world.sim.key("a").then(503, times=9, headers={"retry-after": "20"})

    async def scenario() -> None:
        assert (await world.chat(timeout=15)).key_id == "b"
        assert world.clock.now() == 1000.0

    world.run(scenario)
    assert asked(world) == ["a", "b"]


@each_dialect
@pytest.mark.parametrize("then", [503, 429])
def test_R13_who_stated_an_hour_at_its_second_fault_is_not_asked_again(provider, then):
    world = chained(provider, max_retries=5)
    world.sim.key("a").then(503).then(503, headers={"retry-after": "3600"}, times=9)
    headers = {"retry-after": "3600"} if then == 429 else {}
    world.sim.key("b").then(then, headers=headers, times=20)

    async def scenario() -> None:
        with pytest.raises((ProviderError, NoAvailableKeyError)):
            await world.chat()

    world.run(scenario)
    assert world.sim.requests("a") == 2


def test_R13_a_time_stated_with_the_second_fault_is_kept_while_other_stages_are_tried_again():
    chain = [
        {"provider": "anthropic", "model": "claude-haiku-4-5"},
        {"provider": "openrouter", "model": "vendor/model"},
    ]
    keys = {"a": "openai", "b": "anthropic", "c": "openrouter"}
    world = World(keys, fallback_chains={"openai": chain}, defaults={"max_retries": 20})
    world.sim.key("a").then(503).then(503, headers={"retry-after": "25"})
    world.sim.key("b").then(503, times=7)
    world.sim.key("c").then(429, headers={"retry-after": "3600"})

    async def scenario() -> None:
        await world.chat()

    world.run(scenario)
    second, *third = moments(world, "a")[1:]
    assert all(at - second >= 25.0 for at in third)
    assert len(moments(world, "b")) > 4  # it was not waited with


@each_dialect
def test_R13_a_time_stated_with_the_second_fault_is_waited_for(provider):
    world = chained(provider, max_retries=5)
    world.sim.key("a").then(503).then(503, headers={"retry-after": "25"})
    world.sim.key("b").then(429, headers={"retry-after": "3600"})

    async def scenario() -> None:
        assert (await world.chat()).key_id == "a"

    world.run(scenario)
    second, third = moments(world, "a")[1:]
    assert third == pytest.approx(second + 25.0)


# -- no end


@each_dialect
def test_R12_nobody_waits_for_what_time_does_not_bring_back(provider):
    world = World(["a", "b"], provider=provider)

    async def scenario() -> None:
        for key in world.served():
            await world.lm.keys.disable(key)
        async with asyncio.timeout(1_000_000):
            with pytest.raises(NoAvailableKeyError) as caught:
                await world.chat(max_wait_seconds=math.inf)
        assert caught.value.earliest_retry_at is None
        assert world.clock.now() == 1000.0

    world.run(scenario)


@each_dialect
def test_R12_a_wait_without_end_is_long_enough_for_what_time_brings_back(provider):
    world = World(["a", "b"], provider=provider)

    async def scenario() -> None:
        await world.lm.keys.disable("a")
        await world.lm.keys.rest("b", 100_000)
        assert (await world.chat(max_wait_seconds=math.inf)).key_id == "b"
        assert world.clock.now() == 101_000.0

    world.run(scenario)


# -- the deadline


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a file that can be slow")
@each_dialect
@pytest.mark.parametrize("is_stream", [False, True])
def test_R10_reading_a_slow_secret_counts_into_the_deadline(provider, is_stream, tmp_path):
    pipe = tmp_path / "secret"
    os.mkfifo(pipe)

    def slow(config: Any) -> Any:
        config.keys[0].secret_ref = f"file://{pipe}"
        return config

    with sockets(provider=provider, keys=["k1"], edit=slow) as world:

        async def scenario() -> None:
            began = time.monotonic()
            stream = world.lm.chat_stream(world.model, HELLO, timeout=0.05)
            call = anext(stream) if is_stream else world.chat(timeout=0.05)
            try:
                with pytest.raises(DeadlineError, match=r"timeout=0\.05 s"):
                    await call
                assert time.monotonic() - began < 2.0
            finally:
                pipe.write_text(world.sim.secret("k1"))  # the thread that reads can end

        world.run(scenario)
        assert world.sim.requests() == 0
