"""F03: a new configuration for the next call; health stays, calls in flight end on the old one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from llm_rotate import (
    ConfigurationError,
    LMRotateConfig,
    NoAvailableKeyError,
    configure_from_file,
)
from llm_rotate.testing.pool import pool_config
from llm_rotate.testing.routes import base_path

from .dialects import each_address, each_service, health_of
from .doors import asked, fake_time, sockets, text
from .world import HELLO, HOST, World


def new_config(world: World, *keys: str, **fields: Any) -> LMRotateConfig:
    """The world's pool with these keys instead."""
    return pool_config(
        dict.fromkeys(keys, world.provider),
        lambda name: HOST + base_path(name),
        world.sim.secret,
        {},
        fallback_chains={},
        defaults={"selection_strategy": "priority", **fields},
    )


async def state(world: World, key_id: str) -> str:
    return (await health_of(world, key_id)).state


@each_address
def test_F03_keys_that_stay_keep_their_health(provider):
    async def scenario() -> None:
        await world.chat()
        before = await health_of(world, "k1")
        world.lm.reload_config(new_config(world, "k1", "k3"))
        after = await health_of(world, "k1")
        assert (after.state, after.scopes, after.since) == (
            before.state,
            before.scopes,
            before.since,
        )
        assert after.state == "quarantine"
        assert (await world.chat()).key_id == "k3"
        with pytest.raises(KeyError):
            await health_of(world, "k2")

    with fake_time(provider=provider, keys=["k1", "k2"]) as world:
        world.sim.key("k1").bad_key()
        world.run(scenario)
        assert asked(world) == ["k1", "k2", "k3"]


@each_service
def test_F03_the_rests_of_a_models_scope_stay_too(provider):
    """Their end is still known, also to stages that are made anew."""

    async def scenario() -> None:
        await world.chat()
        world.lm.reload_config(new_config(world, "k1"))
        began = world.clock.now()
        assert (await world.chat(max_wait_seconds=60)).key_id == "k1"
        assert world.clock.now() - began == pytest.approx(30, abs=0.01)

    with fake_time(provider=provider, keys=["k1", "k2"]) as world:
        world.sim.key("k1").rate_limit(retry_after=30)
        world.run(scenario)


@each_service
def test_F03_a_call_in_flight_ends_on_the_old_configuration(provider):
    async def scenario() -> None:
        call = asyncio.ensure_future(world.chat())
        await asyncio.sleep(1)
        world.lm.reload_config(new_config(world, "k9"))
        assert (await world.chat()).key_id == "k9"
        answer = await call
        assert (answer.key_id, answer.content) == ("k2", "You said: hello")
        assert [attempt.key_id for attempt in answer.attempts] == ["k1", "k2"]

    with fake_time(provider=provider, keys=["k1", "k2"]) as world:
        world.sim.key("k1").slow(5).bad_key()
        world.run(scenario)
        assert asked(world) == ["k1", "k9", "k2"]


@each_service
def test_F03_a_stream_and_a_loan_in_flight_end_well(provider):
    async def scenario() -> None:
        chunks = []
        async with world.lm.acquire(provider) as key:
            stream = world.lm.chat_stream(world.model, HELLO)
            chunks.append(await anext(stream))
            world.lm.reload_config(new_config(world, "k9"))
            chunks += [chunk async for chunk in stream]
            assert key.key_value.startswith("sk-sim-k")
        assert text(chunks) == "You said: hello"

    with fake_time(provider=provider) as world:
        world.sim.key("k2").slow(0, between=3)
        world.run(scenario)


@each_service
def test_F03_a_call_that_waits_goes_on(provider):
    """It waits for the keys that it was planned with."""

    async def scenario() -> None:
        await world.lm.keys.rest("k1", 20)
        call = asyncio.ensure_future(world.chat(max_wait_seconds=60))
        await asyncio.sleep(1)
        world.lm.reload_config(new_config(world, "k1", "k9"))
        assert (await call).content

    with fake_time(provider=provider, keys=["k1"]) as world:
        world.run(scenario)


@each_service
def test_F03_new_defaults_hold_for_the_next_call(provider):
    async def rest_of(key: str) -> float:
        with pytest.raises(NoAvailableKeyError):
            await world.chat(key_id=key, max_wait_seconds=0)
        [scope] = (await health_of(world, key)).scopes.values()
        return (scope.until - scope.since).total_seconds()

    async def scenario() -> None:
        assert await rest_of("k1") == pytest.approx(40)
        world.lm.reload_config(new_config(world, "k1", "k2", cooldown_seconds=7))
        assert await rest_of("k2") == pytest.approx(7)

    keys = ["k1", "k2"]
    with fake_time(provider=provider, keys=keys, defaults={"cooldown_seconds": 40}) as world:
        for key in keys:
            world.sim.key(key).then(429)
        world.run(scenario)


CHANGES: dict[str, Callable[[Any], None]] = {
    "secret_ref": lambda key: setattr(key, "secret_ref", "literal://sk-sim-renewed"),
    "base_url": lambda key: setattr(key, "base_url", key.base_url or f"{HOST}/elsewhere/v1"),
    "auth": lambda key: key.auth_config.update({"default_headers": {"x-team": "blue"}}),
}
OTHERS: dict[str, Callable[[Any], None]] = {
    "priority": lambda key: setattr(key, "priority", 9),
    "weight": lambda key: setattr(key, "weight", 9.0),
    "metadata": lambda key: key.metadata.update({"owner": "me"}),
}


@each_address
@pytest.mark.parametrize("change", [*CHANGES, *OTHERS, None])
def test_F03_a_disabled_key_is_back_if_what_makes_it_was_changed(provider, change):
    """Other changes leave its state as it is."""

    async def scenario() -> None:
        await world.lm.keys.disable("k1", "revoked")
        config = new_config(world, "k1", "k2")
        edit = {**CHANGES, **OTHERS}.get(change or "")
        if edit is not None:
            edit(config.keys[0])
        world.lm.reload_config(config)
        assert await state(world, "k1") == ("active" if change in CHANGES else "disabled")
        assert await state(world, "k2") == "active"
        if change == "secret_ref":
            await world.chat(key_id="k1")
            assert asked(world) == ["renewed"]

    with fake_time(provider=provider, keys=["k1", "k2"]) as world:
        world.run(scenario)


@each_service
def test_F03_a_key_that_was_switched_off_and_on(provider):
    async def scenario() -> None:
        await world.lm.keys.disable("k1", "revoked")
        config = new_config(world, "k1", "k2")
        config.keys[0].enabled = False
        world.lm.reload_config(config)
        assert {(await world.chat()).key_id for _ in range(4)} == {"k2"}
        world.lm.reload_config(new_config(world, "k1", "k2"))
        assert await state(world, "k1") == "active"
        assert {(await world.chat()).key_id for _ in range(4)} == {"k1", "k2"}

    with fake_time(provider=provider, keys=["k1", "k2"]) as world:
        world.run(scenario)


@each_service
def test_F03_a_resting_key_is_not_brought_back_by_a_changed_entry(provider):
    """Time brings it back; only DISABLED needs a hand."""

    async def scenario() -> None:
        await world.lm.keys.rest("k1", 60)
        config = new_config(world, "k1")
        config.keys[0].base_url = f"{HOST}/elsewhere/v1"
        world.lm.reload_config(config)
        assert await state(world, "k1") == "cooldown"
        await world.lm.keys.reset("k1")

    with fake_time(provider=provider, keys=["k1"]) as world:
        world.run(scenario)


def test_F03_a_wrong_configuration_leaves_the_old_one():
    async def scenario() -> None:
        wrong = new_config(world, "k9")
        wrong.state_store.backend = "redis"
        with pytest.raises(ConfigurationError):
            world.lm.reload_config(wrong)
        assert (await world.chat()).key_id == "k1"
        assert world.lm.config is world.config

    with fake_time(keys=["k1"]) as world:
        world.run(scenario)


@each_service
def test_F03_counts_go_on_over_a_reload(provider):
    async def scenario() -> None:
        await world.chat()
        world.lm.reload_config(new_config(world, "k1", "k2"))
        await world.chat()
        assert (await world.lm.usage_summary())["total"]["successes"] == 2

    with fake_time(provider=provider, keys=["k1"]) as world:
        world.run(scenario)


@each_service
def test_F03_from_a_file_in_the_middle_of_work(provider, tmp_path):
    """As an operator does it: the file is edited, the program reads it again."""
    with sockets(provider=provider, keys=["k1"]) as world:
        path = tmp_path / "pool.json"
        registry = {
            "providers": {provider: {"base_url": world.sim.url(provider)}},
            "keys": [{"key_id": "k2", "provider": provider, "secret_ref": "env://F03_SECRET"}],
        }
        path.write_text(json.dumps(registry))

        async def scenario() -> None:
            calls = [asyncio.ensure_future(world.chat()) for _ in range(10)]
            await asyncio.to_thread(world.sim.wait_for, lambda: world.sim.in_flight == 10)
            world.lm.reload_config(configure_from_file(path))
            assert (await world.chat()).key_id == "k2"
            assert {answer.key_id for answer in await asyncio.gather(*calls)} == {"k1"}

        world.sim.key("k1").slow(0.2)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("F03_SECRET", world.sim.secret("k2"))
            world.run(scenario)
