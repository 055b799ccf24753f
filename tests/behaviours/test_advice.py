"""An error says what would have helped, by what stood in the way."""

from __future__ import annotations

import re
from typing import Any

import pytest

from llm_rotate import DeadlineError, LMRotateError, NoAvailableKeyError

from .dialects import each_dialect
from .doors import sockets
from .world import World


async def failed(world: World, **arguments: Any) -> str:
    with pytest.raises(LMRotateError) as caught:
        await world.chat(**arguments)
    return str(caught.value)


@each_dialect
def test_R12_a_wait_that_was_too_short_is_named_and_the_named_one_is_long_enough(provider):
    world = World(["k1"], provider=provider)

    async def scenario() -> None:
        await world.lm.keys.rest("k1", 80)
        text = await failed(world)
        named = re.search(r"Pass max_wait_seconds=(\d+) to wait", text)
        assert named is not None
        assert (await world.chat(max_wait_seconds=float(named[1]))).key_id == "k1"
        assert "max_retries" not in text
        assert "enable" not in text

    world.run(scenario)


@each_dialect
def test_R12_what_was_waited_already_is_counted_into_the_named_wait(provider):
    world = World(["k1"], provider=provider)
    world.sim.key("k1").then(429, headers={"retry-after": "5"}, times=2)

    async def scenario() -> None:
        text = await failed(world, max_wait_seconds=8)
        assert "Pass max_wait_seconds=11 to wait" in text

    world.run(scenario)


@each_dialect
def test_R12_a_deadline_in_the_way_is_named_and_no_longer_wait(provider):
    world = World(["k1"], provider=provider)

    async def scenario() -> None:
        await world.lm.keys.rest("k1", 8)
        for wait in (10, 60):
            text = await failed(world, timeout=5, max_wait_seconds=wait)
            assert "Pass a timeout over 8 s" in text
            assert "max_wait_seconds" not in text

    world.run(scenario)


@each_dialect
def test_R12_retries_in_the_way_are_named_and_no_longer_wait(provider):
    world = World(["k1"], provider=provider, defaults={"max_retries": 0})
    world.sim.key("k1").rate_limit(retry_after=2)

    async def scenario() -> None:
        text = await failed(world)
        assert "Raise max_retries (it is 0)" in text
        assert "max_wait_seconds" not in text

    world.run(scenario)


@each_dialect
def test_R12_a_disabled_key_is_named_and_nothing_that_waits(provider):
    world = World(["k1", "k2"], provider=provider)

    async def scenario() -> None:
        for key in world.served():
            await world.lm.keys.disable(key)
        text = await failed(world)
        assert "call lm.keys.enable('k1')" in text
        assert "max_wait_seconds" not in text
        assert "max_retries" not in text

    world.run(scenario)


@each_dialect
def test_R12_a_loan_is_not_advised_to_have_a_chain(provider):
    world = World(["k1"], provider=provider)

    async def scenario() -> None:
        await world.lm.keys.rest("k1", 80)
        assert "fallback chain" in await failed(world)
        for model in (None, world.model):
            with pytest.raises(NoAvailableKeyError) as caught:
                async with world.lm.acquire(provider, model=model):
                    pass
            assert "fallback chain" not in str(caught.value)
            assert "provider=" not in str(caught.value)

    world.run(scenario)


@each_dialect
@pytest.mark.parametrize("timeout", [0.03, 0.125])
def test_R10_a_timeout_is_shown_as_it_was_given(provider, timeout):
    with sockets(provider=provider, keys=["k1"]) as world:
        world.sim.key("k1").slow(50)

        async def scenario() -> None:
            with pytest.raises(DeadlineError, match=f"timeout={timeout} s "):
                await world.chat(timeout=timeout)

        world.run(scenario)


def test_R13_a_call_that_names_its_provider_is_told_that_no_chain_applies():
    chains = {"openai": [{"provider": "anthropic", "model": "claude-haiku-4-5"}]}
    world = World({"k1": "openai", "k2": "anthropic"}, fallback_chains=chains)

    async def scenario() -> None:
        await world.lm.keys.rest("k1", 80)
        text = await failed(world, provider="openai")
        assert "leave provider= out" in text
        assert "give 'openai' a fallback chain" not in text

    world.run(scenario)


@each_dialect
def test_R16_a_missing_secret_is_not_waited_for(provider):
    def unset(config: Any) -> Any:
        config.keys[0].secret_ref = "env://LLM_ROTATE_TEST_UNSET"
        return config

    world = World(["k1"], provider=provider, edit=unset)

    async def scenario() -> None:
        text = await failed(world)
        assert "LLM_ROTATE_TEST_UNSET" in text
        assert "set what their secret_ref names" in text
        assert "max_wait_seconds" not in text

    world.run(scenario)


@each_dialect
def test_a_misspelt_model_is_told_to_be_checked_in_the_providers_words_and_not_waited_for(provider):
    world = World(["k1", "k2"], provider=provider)
    for key in ("k1", "k2"):
        world.sim.key(key).unknown_model(world.model)

    async def scenario() -> None:
        text = await failed(world)
        assert text.endswith(f"  Check the model's name ('{world.model}').")
        assert f"{provider} said: " in text
        assert "wait" not in text

    world.run(scenario)


@each_dialect
def test_wrong_secrets_are_told_to_be_mended_and_not_waited_for(provider):
    world = World(["k1", "k2"], provider=provider, defaults={"max_consecutive_failures": 1})
    for key in ("k1", "k2"):
        world.sim.key(key).bad_key()

    async def scenario() -> None:
        text = await failed(world)
        assert "Mend the secret: `llm-rotate keys check`" in text
        assert text.endswith("Then call lm.keys.enable('k1').")
        assert "wait" not in text

    world.run(scenario)


def test_money_used_up_is_a_matter_of_billing():
    world = World(["k1"])
    world.sim.key("k1").quota_exhausted()

    async def scenario() -> None:
        assert "See the provider's billing" in await failed(world)

    world.run(scenario)


def test_among_several_the_key_that_time_brings_back_is_waited_for():
    world = World(["k1", "k2"])
    world.sim.key("k1").bad_key()
    world.sim.key("k2").rate_limit(retry_after=400)

    async def scenario() -> None:
        text = await failed(world)
        assert "the first is back in 300 s (k1)" in text
        assert "  Pass max_wait_seconds=401 to wait, add a key, or give 'openai' a" in text

    world.run(scenario)


def test_C07_what_failed_before_the_last_provider_is_told_too():
    chains = {"openai": [{"provider": "anthropic", "model": "claude-haiku-4-5"}]}
    world = World({"k1": "openai", "k2": "anthropic"}, fallback_chains=chains)
    for provider in ("openai", "anthropic"):
        world.sim.provider(provider).outage(status=503)

    async def scenario() -> None:
        text = await failed(world, max_retries=1)
        assert "3 attempts: openai overloaded x2, anthropic overloaded x1." in text

    world.run(scenario)
