"""``extra_headers``: headers of one call, at every dialect, in streams and in batches too."""

from __future__ import annotations

from typing import Any

import pytest

from llm_rotate import ConfigurationError

from .dialects import each_dialect
from .doors import fake_time
from .world import HELLO, World


@each_dialect
def test_they_go_with_this_call_alone_and_not_into_its_body(provider):
    with fake_time(provider=provider) as world:

        async def scenario() -> None:
            await world.chat(extra_headers={"X-Team": "blue", "User-Agent": "ours"})
            stream = world.lm.chat_stream(world.model, HELLO, extra_headers={"x-team": "red"})
            async for _ in stream:
                pass
            await world.lm.chat_batch(world.model, ["a"], extra_headers={"x-team": "green"})
            await world.chat()

        world.run(scenario)
        seen = world.sim.log
        assert [each.headers.get("x-team") for each in seen] == ["blue", "red", "green", None]
        assert seen[0].headers["user-agent"] == "ours"
        assert seen[-1].headers["user-agent"] != "ours"
        assert not any("extra_headers" in each.body for each in seen)


def test_a_chains_entry_has_its_own():
    world = World(
        {"k1": "openai", "k2": "anthropic"},
        fallback_chains={
            "openai": [
                {"provider": "anthropic", "model": "m", "extra_headers": {"x-team": "second"}}
            ]
        },
    )
    world.sim.key("k1").quota_exhausted()
    world.run(world.chat)
    assert [each.headers.get("x-team") for each in world.sim.log] == [None, "second"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"Authorization": "Bearer mine"}, "the pool itself writes authorization"),
        ({"x-team": "a\r\nx-other: b"}, "a header can carry"),
        ({"x team": "a"}, "no header can carry"),
        (["x-team"], "must be a mapping"),
    ],
)
def test_what_no_header_can_be_is_refused_before_anything_is_sent(wrong: Any, words: str):
    world = World()

    async def scenario() -> None:
        with pytest.raises(ConfigurationError, match=words):
            await world.chat(extra_headers=wrong)

    world.run(scenario)
    assert world.sim.requests() == 0
