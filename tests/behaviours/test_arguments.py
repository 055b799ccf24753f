"""What a call cannot mean is refused with words that say what to do, before anything happens."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

import llm_rotate
from llm_rotate import ConfigurationError, LMRotate, configure, configure_from_dict
from llm_rotate.testing import Simulator

from .dialects import each_dialect, health_of
from .world import HELLO, World

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "stream": ({"stream": True}, r"use chat_stream"),
    "a typing error": ({"max_token": 5}, r"max_token= is not known; did you mean max_tokens=\?"),
    "no number": ({"timeout": "5"}, "timeout must be a number, not str"),
    "less than nothing": ({"timeout": -1}, "timeout must be over 0"),
    "nothing": ({"timeout": 0}, "timeout must be over 0"),
    "NaN": ({"timeout": math.nan}, "timeout must be a number"),
    "a NaN wait": ({"max_wait_seconds": math.nan}, "max_wait_seconds must be a number"),
    "a wait in words": ({"max_wait_seconds": "5"}, "max_wait_seconds must be a number, not str"),
    "fewer retries than none": ({"max_retries": -1}, "max_retries must be at least 0"),
    "retries in words": ({"max_retries": "2"}, "max_retries must be a number, not str"),
    "no idle time": ({"timeouts": {"idle": None}}, r"timeouts\['idle'\] must be a number"),
    "a step in words": ({"timeouts": {"connect": "3"}}, r"timeouts\['connect'\] must be a number"),
    "a step back": ({"timeouts": {"connect": -1}}, r"timeouts\['connect'\] must be over 0"),
    "one time for all steps": ({"timeouts": 30}, "timeouts must be a mapping of steps"),
    "no such step": ({"timeouts": {"read": 3}}, "it has connect, first_byte, first_event, idle"),
    "one message": ({"messages": HELLO[0]}, r"a list of messages, like \[\{'role': 'user'"),
    "no messages": ({"messages": []}, "messages is empty"),
    "None for messages": ({"messages": None}, "must be a text, or a list of messages"),
    "None for a model": ({"model": None}, "model must be a name, like"),
    "no model": ({"model": ""}, "model must be a name, like"),
    "a list for a conversation": ({"affinity": [17]}, "affinity must be a text or a whole number"),
    "part of a number": ({"affinity": 1.5}, "names the conversation, not float"),
    "yes for a conversation": ({"affinity": True}, "names the conversation, not bool"),
    "many models": ({"model": ["a", "b"]}, "model must be a name, like"),
}
OF_ACQUIRE = [case for case, (given, _) in WRONG.items() if "max_wait_seconds" in given]


async def chat(world: World, given: dict[str, Any]) -> None:
    arguments = {"model": world.model, "messages": HELLO, **given}
    await world.lm.chat(**arguments)


async def stream(world: World, given: dict[str, Any]) -> None:
    arguments = {"model": world.model, "messages": HELLO, **given}
    async for _ in world.lm.chat_stream(**arguments):
        pass


async def acquire(world: World, given: dict[str, Any]) -> None:
    async with world.lm.acquire(world.provider, **given):
        pass


def check_refused(world: World, call: Any, case: str) -> None:
    given, words = WRONG[case]

    async def scenario() -> None:
        with pytest.raises(ConfigurationError, match=words):
            await call(world, given)
        assert world.clock.now() == 1000.0
        assert (await health_of(world, "k1")).state == "active"
        assert await world.lm._pool.store.snapshot() == {}

    world.run(scenario)
    assert world.sim.requests() == 0
    assert world.lm.usage_summary_sync()["total"]["failures"] == 0


@each_dialect
@pytest.mark.parametrize("call", [chat, stream])
@pytest.mark.parametrize("case", WRONG)
def test_C07_what_a_call_cannot_mean_is_refused_before_anything_is_sent(provider, call, case):
    check_refused(World(["k1"], provider=provider), call, case)


@pytest.mark.parametrize("case", OF_ACQUIRE)
def test_C07_what_a_loan_cannot_mean_is_refused(case):
    check_refused(World(["k1"]), acquire, case)


@each_dialect
def test_C01_what_only_looks_like_one_of_ours_goes_to_the_provider(provider):
    world = World(["k1"], provider=provider)
    own = {"top_p": 0.5, "user": "me", "metadata": {"x": "y"}}
    if provider == "google_ai_studio":
        del own["user"]  # it has no place there, and is refused by name

    async def scenario() -> None:
        assert (await world.chat(**own)).content == "You said: hello"

    world.run(scenario)


@each_dialect
def test_a_text_is_one_message_of_the_users(provider):
    world = World(["k1"], provider=provider)

    async def scenario() -> None:
        assert (await world.lm.chat(world.model, "hello")).content == "You said: hello"
        chunks = [chunk.delta async for chunk in world.lm.chat_stream(world.model, "hello")]
        assert "".join(chunks) == "You said: hello"

    world.run(scenario)


@each_dialect
def test_R20_a_conversation_may_be_a_number(provider):
    world = World([f"k{n}" for n in range(7)], provider=provider)

    async def scenario() -> None:
        for conversation in (17, 18, 19):
            answers = [await world.chat(affinity=n) for n in (conversation, str(conversation)) * 3]
            assert len({answer.key_id for answer in answers}) == 1

    world.run(scenario)


RESTS = [math.nan, -5, 0, "600", None]


@pytest.mark.parametrize("seconds", RESTS)
def test_R21_a_rest_that_is_no_length_changes_nothing(seconds):
    world = World(["k1"])

    async def scenario() -> None:
        with pytest.raises(ConfigurationError, match="seconds must be"):
            await world.lm.keys.rest("k1", seconds)
        assert (await health_of(world, "k1")).state == "active"
        await world.chat()

    world.run(scenario)


# -- the pool's own faces


@pytest.mark.parametrize("wrong", [{}, {"keys": []}, None, "pool.json"])
def test_F03_a_reload_takes_a_configuration_and_says_how_to_make_one(wrong):
    world = World(["k1"])

    async def scenario() -> None:
        with pytest.raises(ConfigurationError, match=r"configure_from_dict\(registry\) or"):
            world.lm.reload_config(wrong)
        assert world.lm.config is world.config
        await world.chat()

    world.run(scenario)


REGISTRY: dict[str, Any] = {
    "keys": [
        {"key_id": name, "provider": "openai", "secret_ref": "env://UNSET"} for name in ("k1", "k2")
    ]
}
FIRST_TRIES: dict[str, tuple[Callable[[], Any], str]] = {
    "a pool of a registry": (lambda: LMRotate(REGISTRY), r"not dict: configure_from_dict\(regis"),
    "a pool of a file": (lambda: LMRotate("pool.yaml"), r"not str: .*configure_from_file\(path\)"),
    "configure a file": (lambda: configure(config="pool.yaml"), r"configure_from_file\(path\)"),
    "configure a text": (lambda: configure("pool.yaml"), r"use_keys must be a list.*from_file\("),
    "one key": (lambda: configure("k1", registry=REGISTRY), "use_keys must be a list of key_ids"),
    "one key of a registry": (
        lambda: configure_from_dict(REGISTRY, "k1"),
        "use_keys: must be a list of key_ids",
    ),
    "a file for a registry": (
        lambda: configure(registry="pool.yaml"),
        r"must be a mapping.*configure_from_file\(path\)",
    ),
    "one simulated key": (lambda: Simulator().pool("k1"), r"keys must be a list.*\['k1'\]"),
    "a client that blocks": (
        lambda: LMRotate(configure_from_dict(REGISTRY), http_client=httpx.Client()),
        "must be an httpx.AsyncClient .*, not httpx.Client",
    ),
    "the client's class": (
        lambda: LMRotate(configure_from_dict(REGISTRY), http_client=httpx.Client),
        "not the class httpx.Client",
    ),
    "the right client's class": (
        lambda: LMRotate(configure_from_dict(REGISTRY), http_client=httpx.AsyncClient),
        "not the class httpx.AsyncClient",
    ),
    "no client at all": (
        lambda: LMRotate(configure_from_dict(REGISTRY), http_client=object()),
        "not builtins.object",
    ),
}


@pytest.mark.parametrize("case", FIRST_TRIES)
def test_F01_what_one_tries_first_is_refused_with_what_to_write(case, lm):
    wrong, words = FIRST_TRIES[case]
    with pytest.raises(ConfigurationError, match=words):
        wrong()


def test_F01_a_second_configure_says_what_a_notebook_is_to_do(lm):
    configure(registry=REGISTRY)
    with pytest.raises(ConfigurationError, match=r"notebook.*, call reset_singleton\(\) first"):
        configure(registry=REGISTRY)


@pytest.fixture
def lm() -> Iterator[Any]:
    yield llm_rotate.lm
    llm_rotate.reset_singleton()


def test_C04_the_singleton_may_be_used_in_async_with(lm):
    with Simulator().serve() as sim:
        provider = {"base_url": sim.url("openai")}
        key = {"key_id": "k1", "provider": "openai", "secret_ref": "env://ASYNC_WITH_SECRET"}

        async def scenario() -> None:
            with pytest.raises(ConfigurationError, match=r"before configure\(\)"):
                async with lm:
                    pass
            llm_rotate.configure(registry={"providers": {"openai": provider}, "keys": [key]})
            async with lm as entered:
                assert (await entered.chat("gpt-4o-mini", HELLO)).content == "You said: hello"
                assert (await lm.chat("gpt-4o-mini", HELLO)).content == "You said: hello"
                assert sim.open_connections == 1
            assert await asyncio.to_thread(sim.wait_for, lambda: sim.open_connections == 0)

        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ASYNC_WITH_SECRET", "sk-sim-k1")
            asyncio.run(scenario())


def test_C04_pools_may_be_used_in_a_plain_with(lm, monkeypatch):
    monkeypatch.setenv("WITH_SECRET", "sk-sim-k1")
    with Simulator().serve() as sim:
        key = {"key_id": "k1", "provider": "openai", "secret_ref": "env://WITH_SECRET"}
        registry = {"providers": {"openai": {"base_url": sim.url("openai")}}, "keys": [key]}
        with pytest.raises(ConfigurationError, match=r"before configure\(\)"), lm:
            pass
        llm_rotate.configure(registry=registry)
        for pool in (lm, LMRotate(configure_from_dict(registry, ["k1"]))):
            with pool as entered:
                assert entered.chat_sync("gpt-4o-mini", HELLO).content == "You said: hello"
                assert sim.open_connections == 1
            assert sim.wait_for(lambda: sim.open_connections == 0)
