"""What counts as a retry, and who may try what is to be tried by one alone."""

from __future__ import annotations

import asyncio

import pytest

from llm_rotate import NoAvailableKeyError

from .dialects import OTHER, each_dialect, moments
from .doors import asked
from .world import MODELS, World

KEYS = [f"k{n}" for n in range(1, 8)]
IN_ORDER = {key: 10 - n for n, key in enumerate(KEYS)}


@each_dialect
def test_R09_a_key_that_refuses_after_a_fault_costs_no_retry(provider):
    world = World(
        KEYS[:4],
        provider=provider,
        strategy="priority",
        priorities=IN_ORDER,
        defaults={"max_retries": 2},
    )
    world.sim.key("k1").then(500)
    for key in ("k2", "k3"):
        world.sim.key(key).rate_limit(retry_after=600)

    async def scenario() -> None:
        assert (await world.chat()).key_id == "k4"

    world.run(scenario)
    assert asked(world) == ["k1", "k2", "k3", "k4"]


@each_dialect
@pytest.mark.parametrize("retries", [1, 2])
def test_R18_a_fault_first_does_not_shorten_the_walk_past_exhausted_keys(provider, retries):
    limits = {"max_retries": retries}
    world = World(
        KEYS, provider=provider, strategy="priority", priorities=IN_ORDER, defaults=limits
    )
    world.sim.key("k1").then(500)
    for key in KEYS[1:6]:
        world.sim.key(key).rate_limit(retry_after=600)

    async def scenario() -> None:
        assert (await world.chat()).key_id == "k7"

    world.run(scenario)


@each_dialect
def test_R13_what_the_call_says_wins_over_the_chains_entry(provider):
    other = OTHER[provider]
    entry = {"provider": other, "model": MODELS[other], "max_tokens": 4096, "temperature": 0.9}
    world = World(
        {"a": provider, "b": other}, provider=provider, fallback_chains={provider: [entry]}
    )
    world.sim.key("a").bad_key()

    async def scenario() -> None:
        await world.chat(max_tokens=50)
        await world.chat(temperature=0.1)

    world.run(scenario)
    sent = [seen.body for seen in world.sim.log if seen.key == "b"]
    limits = [body.get("max_tokens") or body["max_completion_tokens"] for body in sent]
    warmth = [body["temperature"] for body in sent]
    assert list(zip(limits, warmth, strict=True)) == [(50, 0.9), (4096, 0.1)]


# -- one trial


@each_dialect
def test_R15_who_was_connecting_when_a_rest_came_and_went_makes_no_herd(provider):
    world = World(["k1"], provider=provider, defaults={"max_retries": 0})
    world.sim.key("k1").then(429, headers={"retry-after": "1"})

    async def scenario() -> None:
        world.transport.connect_s = 3
        herd = [asyncio.ensure_future(world.chat(max_wait_seconds=60)) for _ in range(10)]
        await asyncio.sleep(0.1)
        world.transport.connect_s = 0
        with pytest.raises(NoAvailableKeyError):
            await world.chat(max_wait_seconds=0)
        world.sim.key("k1").slow(5)
        await asyncio.sleep(4)  # all are connected, and the rest is over
        assert world.sim.in_flight == 1
        await asyncio.gather(*herd)

    world.run(scenario)
    trial, *others = moments(world, "k1")[1:]
    assert len(others) == 9
    assert all(at >= trial + 5 for at in others)


@each_dialect
@pytest.mark.parametrize("change", ["another model", "a reload", "both"])
def test_R19_a_probe_is_one_request_whatever_is_asked_and_whoever_made_the_stages(provider, change):
    world = World(KEYS[:4], provider=provider)
    world.sim.provider(provider).block(403)
    model = world.model if change == "a reload" else "another"

    async def scenario() -> None:
        with pytest.raises(NoAvailableKeyError):
            await world.chat(max_wait_seconds=0)
        for _ in range(3):
            if change != "another model":
                world.lm.reload_config(world.config)
            await asyncio.sleep(60)  # its rest is over, however long
            before = world.sim.requests()
            with pytest.raises(NoAvailableKeyError, match="its provider rests"):
                await world.chat(model=model, max_wait_seconds=0)
            assert world.sim.requests() == before + 1

    world.run(scenario)
