"""From stage to stage: chains, their order and names, and a broker's routes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llm_rotate import ConfigurationError, NoAvailableKeyError, OverloadedError, ServerError
from llm_rotate.core.events import Event, EventKind

from .dialects import OTHER, asked, each_address, each_service, health_of, moments
from .world import MODELS, World

THIRD = "groq"


def chained(provider: str, chains: Any, **more: Any) -> World:
    """One key of ``provider`` ("own"), one of the other dialect ("two"), one of a third."""
    keys = {"own": provider, "two": OTHER[provider], "three": THIRD}
    return World(keys, provider=provider, fallback_chains=chains, **more)


def sent(world: World) -> list[tuple[str, str]]:
    return [(seen.provider, seen.model) for seen in world.sim.log]


# -- R13


@each_address
def test_R13_own_provider_first_then_the_entries_in_order_each_with_its_name(provider: str) -> None:
    other, model = OTHER[provider], MODELS[provider]
    chain = [
        {"provider": THIRD, "models": {model: "llama-3", "else": "never"}},
        {"provider": other, "model": "mapped-by-model"},
    ]
    world = chained(provider, {"*": chain})
    world.sim.key("own").rate_limit(retry_after=60)
    world.sim.key("three").quota_exhausted()

    async def scenario() -> None:
        answer = await world.chat()
        assert answer.key_id == "two"
        assert sent(world) == [(provider, model), (THIRD, "llama-3"), (other, "mapped-by-model")]
        assert [attempt.provider for attempt in answer.attempts] == [provider, THIRD, other]
        assert (answer.provider, answer.model) == (other, "mapped-by-model")

    world.run(scenario)


@each_service
def test_R13_an_entry_without_a_name_sends_the_name_that_was_asked_for(provider: str) -> None:
    world = chained(provider, {"*": [{"provider": THIRD}]})
    world.sim.key("own").rate_limit(retry_after=60)
    world.run(world.chat)
    assert sent(world) == [(provider, world.model), (THIRD, world.model)]


@each_service
def test_R13_back_on_the_own_provider_when_it_may_go_again(provider: str) -> None:
    world = chained(provider, {"*": [{"provider": THIRD}]})
    world.sim.key("own").rate_limit(retry_after=5)

    async def scenario() -> None:
        assert [(await world.chat()).key_id for _ in range(3)] == ["three"] * 3
        await asyncio.sleep(5)
        assert [(await world.chat()).key_id for _ in range(3)] == ["own"] * 3

    world.run(scenario)


@each_service
@pytest.mark.parametrize("named", ["model", "provider", "*"])
def test_R13_a_chain_is_found_by_model_then_by_provider_then_by_star(
    provider: str, named: str
) -> None:
    names = {"model": MODELS[provider], "provider": provider, "*": "*"}
    order = list(names)
    kept = order[order.index(named) :]
    chains = {names[kind]: [{"provider": THIRD, "model": f"by-{kind}"}] for kind in reversed(kept)}
    world = chained(provider, chains)
    world.sim.key("own").rate_limit(retry_after=60)
    world.run(world.chat)
    assert sent(world)[1:] == [(THIRD, f"by-{named}")]


@each_service
def test_R13_provider_switches_the_chain_off(provider: str) -> None:
    world = chained(provider, {"*": [{"provider": THIRD}]})
    world.sim.key("own").rate_limit(retry_after=60)

    async def scenario() -> None:
        with pytest.raises(NoAvailableKeyError):
            await world.chat(provider=provider)

    world.run(scenario)
    assert sent(world) == [(provider, world.model)]


@each_service
def test_R13_a_model_that_nobody_serves_is_refused_with_a_list_of_what_is_served(
    provider: str,
) -> None:
    def listing(config: Any) -> Any:
        for key in config.keys:
            key.models = [MODELS[provider]]
        return config

    world = World(["a"], provider=provider, edit=listing)

    async def scenario() -> None:
        with pytest.raises(ConfigurationError, match="made-up-model") as caught:
            await world.chat(model="made-up-model")
        assert MODELS[provider] in str(caught.value)
        assert provider in str(caught.value)

    world.run(scenario)
    assert world.sim.requests() == 0


@each_service
def test_R13_a_model_that_only_a_chain_names_goes_through_the_chain(provider: str) -> None:
    def listing(config: Any) -> Any:
        config.keys[0].models = [MODELS[provider]]
        return config

    chain = {"alias": [{"provider": provider, "model": MODELS[provider]}]}
    world = World(["a"], provider=provider, fallback_chains=chain, edit=listing)
    world.run(lambda: world.chat(model="alias"))
    assert sent(world) == [(provider, MODELS[provider])]


@each_service
def test_R13_a_stage_with_a_next_one_is_left_at_its_second_fault(provider: str) -> None:
    world = chained(provider, {"*": [{"provider": THIRD}]})
    world.sim.provider(provider).outage(500)
    world.run(world.chat)
    assert asked(world) == ["own", "own", "three"]


@each_service
def test_R13_each_stage_gets_an_attempt_though_no_retry_is_left(provider: str) -> None:
    chain = [{"provider": THIRD}, {"provider": OTHER[provider], "model": "m"}]
    world = chained(provider, {"*": chain})
    for name in (provider, THIRD):
        world.sim.provider(name).outage(500)

    async def scenario() -> None:
        assert (await world.chat(max_retries=0)).key_id == "two"

    world.run(scenario)
    assert asked(world) == ["own", "three", "two"]


@each_service
def test_R13_a_retry_in_a_stage_goes_to_a_key_not_yet_tried(provider: str) -> None:
    world = World(["a", "b"], provider=provider)
    world.sim.provider(provider).outage(500)

    async def scenario() -> None:
        with pytest.raises(ServerError) as caught:
            await world.chat(max_retries=3)
        assert [attempt.key_id for attempt in caught.value.attempts] == ["a", "b", "a", "b"]

    world.run(scenario)


@each_service
def test_R13_the_retries_of_a_call_are_counted_over_all_its_stages(provider: str) -> None:
    world = chained(provider, {"*": [{"provider": THIRD}]})
    for name in (provider, THIRD):
        world.sim.provider(name).outage(500)

    async def scenario() -> None:
        with pytest.raises(ServerError):
            await world.chat(max_retries=3)

    world.run(scenario)
    # Entering a stage is free, once each; three are retries.
    assert len(world.sim.log) == 2 + 3
    assert asked(world)[:4] == ["own", "own", "three", "three"]


@each_service
@pytest.mark.parametrize(("stated", "is_heeded"), [(20, True), (30, True), (31, False)])
def test_R13_a_stated_time_replaces_the_backoff_and_a_long_one_ends_the_stage(
    provider: str, stated: int, is_heeded: bool
) -> None:
    world = chained(provider, {"*": [{"provider": THIRD}]})
    world.sim.key("own").then(503, headers={"retry-after": str(stated)}, times=1)
    world.run(world.chat)
    if is_heeded:
        assert moments(world, "own") == [0.0, float(stated)]
        assert asked(world) == ["own", "own"]
    else:
        assert asked(world) == ["own", "three"]
        assert moments(world, "three") == [0.0]


@each_service
def test_R13_without_a_chain_a_long_stated_time_ends_the_call(provider: str) -> None:
    world = World(["own"], provider=provider)
    world.sim.key("own").then(529, headers={"retry-after": "31"}, times=9)

    async def scenario() -> None:
        with pytest.raises(OverloadedError) as caught:
            await world.chat()
        assert caught.value.retry_after_seconds == 31.0

    world.run(scenario)
    assert world.sim.requests() == 1
    assert world.clock.now() == 1000.0


@each_service
def test_R13_the_chain_waits_for_the_earliest_key_of_any_stage(provider: str) -> None:
    world = chained(provider, {"*": [{"provider": THIRD}]})
    world.sim.key("own").rate_limit(retry_after=9)
    world.sim.key("three").rate_limit(retry_after=4)

    async def scenario() -> None:
        assert (await world.chat()).key_id == "three"

    world.run(scenario)
    assert moments(world, "three") == [0.0, 4.0]
    assert moments(world, "own") == [0.0]


# -- R14

ROUTED = {
    "asked-for": [
        {"provider": "openrouter", "upstream": "anthropic", "model": "anthropic/claude"},
        {"provider": "openrouter", "upstream": "google_vertex", "model": "anthropic/claude"},
    ]
}


def routed(keys: tuple[str, ...] = ("o1",)) -> World:
    def listing(config: Any) -> Any:
        for key in config.keys:
            key.models = ["anthropic/claude"]
        return config

    return World(
        keys,
        provider="openrouter",
        fallback_chains=ROUTED,
        edit=listing,
        defaults={"cooldown_seconds": 30},
    )


def route(answer: Any) -> str | None:
    """The upstream that was asked for it; ``answer.upstream`` is the broker's own word."""
    upstream: str | None = answer.attempts[-1].upstream
    return upstream


def pins(world: World) -> list[Any]:
    return [(seen.body or {}).get("provider") for seen in world.sim.log]


def test_R14_the_body_pins_the_upstream() -> None:
    world = routed()

    async def scenario() -> None:
        assert route(await world.chat(model="asked-for")) == "anthropic"

    world.run(scenario)
    assert pins(world) == [{"order": ["anthropic"], "allow_fallbacks": False}]


@pytest.mark.parametrize("status", [502, 503, 429])
def test_R14_a_route_that_fails_rests_and_the_keys_other_routes_go_on(status: int) -> None:
    world = routed()
    world.sim.upstream("anthropic").down(status, seconds=10)

    async def scenario() -> None:
        answers = [await world.chat(model="asked-for") for _ in range(3)]
        assert [route(answer) for answer in answers] == ["google_vertex"] * 3
        assert [attempt.outcome for attempt in answers[0].attempts] == ["upstream_failed", "ok"]
        orders = [pin["order"][0] for pin in pins(world)]
        assert orders == ["anthropic", *["google-vertex"] * 3]
        health = await health_of(world, "o1")
        assert health.state == "active"
        assert {name: scope.state for name, scope in health.scopes.items()} == {
            "upstream:anthropic": "cooldown"
        }
        await asyncio.sleep(29)
        assert route(await world.chat(model="asked-for")) == "google_vertex"
        await asyncio.sleep(1)
        assert route(await world.chat(model="asked-for")) == "anthropic"
        assert (await health_of(world, "o1")).scopes == {}

    world.run(scenario)


def test_R14_a_route_is_a_keys_own_so_the_next_key_is_asked_for_it_first() -> None:
    world = routed(("o1", "o2"))
    world.sim.key("o1").then(
        502, body={"error": {"code": 502, "message": "x", "metadata": {"provider_name": "A"}}}
    )

    async def scenario() -> None:
        answer = await world.chat(model="asked-for")
        assert (answer.key_id, route(answer)) == ("o2", "anthropic")
        assert (await health_of(world, "o1")).scopes["upstream:anthropic"].state == "cooldown"
        assert (await health_of(world, "o2")).scopes == {}

    world.run(scenario)


def test_R14_a_failed_route_costs_no_retry_and_no_pause() -> None:
    world = routed()
    world.sim.upstream("anthropic").down(502)
    events: list[Event] = []

    async def scenario() -> None:
        assert route(await world.chat(model="asked-for", max_retries=0)) == "google_vertex"

    with world.lm.listen(events.append):
        world.run(scenario)
    assert EventKind.WAITING not in {event.kind for event in events}
    assert world.clock.now() == 1000.0
