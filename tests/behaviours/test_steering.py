"""What operators say holds at once; and a key whose secret was mended needs no operator."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from llm_rotate import NoAvailableKeyError

from .dialects import each_dialect, health_of, moments, provider_health
from .world import World


async def refused(world: World, **arguments: Any) -> NoAvailableKeyError:
    with pytest.raises(NoAvailableKeyError) as caught:
        await world.chat(max_wait_seconds=0, **arguments)
    return caught.value


async def rests_for_long(world: World, how: str) -> None:
    """``k1`` goes to rest, and the stage has heard of it."""
    if how == "disabled":
        await world.lm.keys.disable("k1")
    elif how == "rested":
        await world.lm.keys.rest("k1", 9000)
    await refused(world)


LONG = ["disabled", "rested", "refused"]


@each_dialect
@pytest.mark.parametrize("how", LONG)
def test_R21_a_shorter_rest_ends_when_the_operator_said(provider, how):
    world = World(["k1"], provider=provider)
    if how == "refused":
        world.sim.key("k1").then(401)

    async def scenario() -> None:
        await rests_for_long(world, how)
        await world.lm.keys.rest("k1", 5)
        await refused(world)
        await asyncio.sleep(5)
        assert (await world.chat(max_wait_seconds=0)).key_id == "k1"

    world.run(scenario)


@each_dialect
@pytest.mark.parametrize("how", LONG[1:])
def test_R21_who_waits_for_a_long_rest_hears_of_the_shorter_one(provider, how):
    world = World(["k1"], provider=provider, defaults={"quarantine_seconds": 9000})
    if how == "refused":
        world.sim.key("k1").then(401)

    async def scenario() -> None:
        await rests_for_long(world, how)
        calls = [asyncio.ensure_future(world.chat(max_wait_seconds=10_000)) for _ in range(5)]
        await asyncio.sleep(1)
        await world.lm.keys.rest("k1", 4)
        await asyncio.gather(*calls)
        assert world.clock.now() == 1005.0

    world.run(scenario)


# -- a changed secret


def secret_in(place: Path | str) -> Any:
    """The first key's secret is in this file, or in this variable."""

    def edit(config: Any) -> Any:
        scheme = "file" if isinstance(place, Path) else "env"
        config.keys[0].secret_ref = f"{scheme}://{place}"
        return config

    return edit


@pytest.fixture(params=["env", "file"])
def mended(request, tmp_path, monkeypatch):
    """Where the secret is, and how to write it there."""
    if request.param == "env":
        return "SWAPPED_SECRET", lambda secret: monkeypatch.setenv("SWAPPED_SECRET", secret)
    path = tmp_path / "secret"
    return path, path.write_text


@each_dialect
def test_R05_a_disabled_key_is_tried_again_once_its_secret_was_changed(provider, mended):
    place, write = mended
    limits = {"max_consecutive_failures": 1, "quarantine_seconds": 300}
    world = World(["k1", "k2"], provider=provider, defaults=limits, edit=secret_in(place))
    world.sim.key("revoked").bad_key()
    write(world.sim.secret("revoked"))

    async def scenario() -> None:
        await world.gather(2)
        assert (await health_of(world, "k1")).state == "disabled"
        await asyncio.sleep(3000)
        await world.gather(4)
        assert (await health_of(world, "k1")).state == "disabled"
        assert world.sim.requests("revoked") == 1
        write(world.sim.secret("k1"))
        await asyncio.sleep(300)
        answers = [await world.chat() for _ in range(4)]
        assert {answer.key_id for answer in answers} == {"k1", "k2"}
        assert (await health_of(world, "k1")).state == "active"

    world.run(scenario)
    assert world.sim.requests("k1") == 2


def test_R05_a_changed_secret_is_read_by_streams_and_loans_too(monkeypatch):
    limits = {"max_consecutive_failures": 1, "quarantine_seconds": 300}
    for way in ("stream", "loan"):
        world = World(["k1"], defaults=limits, edit=secret_in("SWAPPED_SECRET"))
        world.sim.key("revoked").bad_key()
        monkeypatch.setenv("SWAPPED_SECRET", world.sim.secret("revoked"))

        async def scenario(world: World = world, way: str = way) -> None:
            await refused(world)
            monkeypatch.setenv("SWAPPED_SECRET", world.sim.secret("k1"))
            await asyncio.sleep(300)
            if way == "loan":
                async with world.lm.acquire("openai") as key:
                    assert key.key_value == world.sim.secret("k1")
            else:
                hello = [{"role": "user", "content": "hello"}]
                assert [chunk async for chunk in world.lm.chat_stream(world.model, hello)]

        world.run(scenario)


def test_R21_what_an_operator_disabled_stays_so_whatever_its_secret(monkeypatch):
    world = World(["k1"], edit=secret_in("SWAPPED_SECRET"))
    monkeypatch.setenv("SWAPPED_SECRET", "sk-sim-old")

    async def scenario() -> None:
        await world.chat()
        await world.lm.keys.disable("k1")
        monkeypatch.setenv("SWAPPED_SECRET", world.sim.secret("k1"))
        await asyncio.sleep(100_000)
        await refused(world)

    world.run(scenario)


# -- since when


def test_R21_health_says_since_when():
    """Of a state that an operator, a reload or an outage's end gave, too."""
    world = World()

    async def check(key_id: str, state: str) -> None:
        key = await health_of(world, key_id)
        now = datetime.fromtimestamp(world.clock.wall(), UTC)
        assert (key.state, key.since) == (state, now)

    async def scenario() -> None:
        await asyncio.sleep(500)
        await world.lm.keys.disable("k1")
        await check("k1", "disabled")
        await asyncio.sleep(500)
        changed = world.config.model_copy(deep=True)
        changed.keys[0].base_url = "http://elsewhere.invalid/v1"
        world.lm.reload_config(changed)
        await check("k1", "active")

    world.run(scenario)


def test_R19_a_rest_that_was_taken_back_says_since_when():
    world = World()
    world.sim.provider("openai").block(401)

    async def scenario() -> None:
        await asyncio.sleep(500)
        await refused(world)
        now = datetime.fromtimestamp(world.clock.wall(), UTC)
        for key in (await provider_health(world)).keys.values():
            assert (key.state, key.since) == ("active", now)

    world.run(scenario)
    assert len(moments(world, "k1")) == 1
