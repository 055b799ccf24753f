"""Conversations of several turns: the answer goes into the next request as its message."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .dialects import OTHER, each_dialect
from .world import HELLO, MODELS, World


def said_by_us(world: World) -> Any:
    """What the last request has between the two things that the user said."""
    body = world.sim.log[-1].body
    turns = next(body[name] for name in ("messages", "input", "contents") if name in body)
    return turns[1:-1]


@each_dialect
@pytest.mark.parametrize("is_stream", [False, True])
def test_C01_an_answer_is_a_message_of_the_next_turn(provider: str, is_stream: bool) -> None:
    world = World(["k1"], provider=provider)
    world.sim.says("four")

    async def scenario() -> None:
        if is_stream:
            stream = world.lm.chat_stream(world.model, HELLO)
            assert [chunk async for chunk in stream]
            response = stream.response
        else:
            response = await world.chat()
        assert response is not None
        kept = json.loads(json.dumps(response.message))
        assert (kept["role"], kept["content"]) == ("assistant", "four")
        assert kept["native"]["provider"] == provider
        await world.lm.chat(world.model, [*HELLO, kept, *HELLO])
        assert "four" in json.dumps(said_by_us(world))
        assert "native" not in json.dumps(said_by_us(world))

    world.run(scenario)


@each_dialect
def test_C01_a_chains_other_provider_carries_the_conversation_on(provider: str) -> None:
    other = OTHER[provider]
    entry = {"provider": other, "model": MODELS[other]}
    world = World({"k1": provider, "k2": other}, provider=provider, fallback_chains={provider: [entry]})  # fmt: skip
    world.sim.says("four")

    async def scenario() -> None:
        first = await world.chat()
        assert first.provider == provider
        world.sim.key("k1").bad_key()
        second = await world.lm.chat(world.model, [*HELLO, first.message, *HELLO])
        assert second.provider == other
        assert "four" in json.dumps(said_by_us(world))

    world.run(scenario)
