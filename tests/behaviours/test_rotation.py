"""Which key serves: shares, cycles, tiers, conversations, and walking past refused keys."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from llm_rotate import (
    BadRequestError,
    ForbiddenError,
    NoAvailableKeyError,
    OverloadedError,
    RateLimitedError,
    ServerError,
)
from llm_rotate.core.events import Event, EventKind
from llm_rotate.providers import DIALECTS
from llm_rotate.testing import Simulator

from .dialects import (
    OTHER,
    PROVIDERS,
    all_answered,
    asked,
    each_address,
    each_service,
    health_of,
    moments,
    provider_health,
    weighted_keys,
)
from .world import HELLO, MODELS, World

SEEDS = range(8)


def test_every_dialect_is_among_those_that_the_behaviours_are_proved_with() -> None:
    assert set(PROVIDERS) == set(DIALECTS)


class Noise:
    """A line of a script: answers come after times that differ from each other."""

    def __init__(self, seed: int, spread: float = 0.3) -> None:
        self._die = random.Random(seed)
        self._spread = spread

    def edit(self, plan: Any, visit: Any) -> None:
        plan.first_byte = 0.5 * self._die.lognormvariate(0.0, self._spread)


def noisy(world: World, seed: int) -> World:
    world.sim.provider(world.provider)._change(Noise(seed))
    return world


def is_even(world: World) -> bool:
    served = world.served()
    return sum(served.values()) == 300 and all(90 <= count <= 110 for count in served.values())


# -- R01


@each_service
@pytest.mark.parametrize("seed", SEEDS)
def test_R01_sequential_calls_are_spread_evenly_in_every_run(provider: str, seed: int) -> None:
    world = noisy(World(provider=provider, strategy="health_aware", seed=seed), seed)

    async def scenario() -> None:
        for _ in range(300):
            await world.chat()

    world.run(scenario)
    assert is_even(world), world.served()


@each_service
@pytest.mark.parametrize("seed", SEEDS)
def test_R01_fifty_concurrent_calls_are_spread_evenly_in_every_run(
    provider: str, seed: int
) -> None:
    world = noisy(World(provider=provider, strategy="health_aware", seed=seed), seed)
    left = iter(range(300))

    async def caller() -> None:
        for _ in left:
            await world.chat()

    async def scenario() -> None:
        await asyncio.gather(*(caller() for _ in range(50)))

    world.run(scenario)
    assert is_even(world), world.served()


@each_service
def test_R01_fifty_calls_at_the_same_instant_are_spread_evenly(provider: str) -> None:
    world = World(provider=provider, strategy="health_aware")

    async def scenario() -> None:
        for _ in range(6):
            assert all_answered(await world.gather(50))

    world.run(scenario)
    assert is_even(world), world.served()


@each_service
def test_R01_a_tie_goes_to_the_key_least_served_for_its_weight(provider: str) -> None:
    weights = {"k1": 2.0, "k2": 1.0, "k3": 1.0}
    world = World(provider=provider, strategy="health_aware", edit=weighted_keys(*weights.values()))

    async def scenario() -> None:
        for _ in range(200):
            before = {key: world.served()[key] / weight for key, weight in weights.items()}
            answer = await world.chat()
            assert before[answer.key_id] == min(before.values())

    world.run(scenario)
    assert world.served() == {"k1": 100, "k2": 50, "k3": 50}


# -- R02


@each_service
@pytest.mark.parametrize("at_once", [False, True])
def test_R02_round_robin_serves_in_exact_cycle(provider: str, at_once: bool) -> None:
    world = World(provider=provider, strategy="round_robin")

    async def scenario() -> None:
        if at_once:
            await world.gather(30)
        else:
            for _ in range(30):
                await world.chat()

    world.run(scenario)
    assert asked(world) == ["k1", "k2", "k3"] * 10


@each_service
def test_R02_weighted_keeps_six_three_one_over_any_thousand_selections(provider: str) -> None:
    world = World(provider=provider, strategy="weighted", edit=weighted_keys(6, 3, 1))

    async def scenario() -> None:
        for _ in range(1100):
            await world.chat()

    world.run(scenario)
    order = asked(world)
    window = Counter(order[:1000])
    for first in range(len(order) - 1000):
        for key, share in {"k1": 600, "k2": 300, "k3": 100}.items():
            assert abs(window[key] - share) <= 20
        window[order[first]] -= 1
        window[order[first + 1000]] += 1


@each_service
def test_R02_weighted_is_smooth(provider: str) -> None:
    """The heavy key does not have its six in a row: it waits for its turn like the others."""
    world = World(provider=provider, strategy="weighted", edit=weighted_keys(6, 3, 1))

    async def scenario() -> None:
        for _ in range(100):
            await world.chat()

    world.run(scenario)
    order = asked(world)
    for first in range(len(order) - 9):
        part = Counter(order[first : first + 10])
        assert 5 <= part["k1"] <= 7
        assert 2 <= part["k2"] <= 4
        assert part["k3"] <= 2


@each_service
def test_R02_priority_uses_the_highest_the_next_while_it_rests_and_returns(provider: str) -> None:
    priorities = {"k1": 1, "k2": 9, "k3": 5}
    world = World(provider=provider, strategy="priority", priorities=priorities)
    world.sim.key("k2").rate_limit(after=3, retry_after=7)

    async def scenario() -> None:
        for _ in range(20):
            await world.chat()
            await asyncio.sleep(1)

    world.run(scenario)
    expected = ["k2"] * 3 + ["k2"] + ["k3"] * 7 + ["k2"] * 10
    assert asked(world) == expected


# -- R03


@each_address
def test_R03_a_429_is_answered_by_another_key_and_the_key_rests_as_long_as_told(
    provider: str,
) -> None:
    world = World(["a", "b"], provider=provider)
    world.sim.key("a").rate_limit(retry_after=7)

    async def scenario() -> None:
        answer = await world.chat()
        assert answer.key_id == "b"
        assert [attempt.outcome for attempt in answer.attempts] == ["rate_limited", "ok"]
        assert asked(world) == ["a", "b"]
        for _ in range(13):
            await asyncio.sleep(0.5)
            await world.chat()
        assert moments(world, "a") == [0.0]
        await asyncio.sleep(0.5)
        assert (await world.chat()).key_id == "a"

    world.run(scenario)
    assert moments(world, "a") == [0.0, 7.0]


@each_address
@pytest.mark.parametrize(
    ("status", "error"),
    [(429, NoAvailableKeyError), (500, ServerError), (529, OverloadedError)],
)
def test_R03_nothing_underneath_sends_again(
    provider: str, status: int, error: type[Exception]
) -> None:
    with Simulator().serve() as sim:
        pool = sim.pool(["k1"], provider=provider, max_retries=0, max_wait_seconds=0)
        sim.key("k1").then(status, times=9, headers={"retry-after": "0.01"})
        with pytest.raises(error):
            pool.chat_sync(MODELS[provider], HELLO)
        assert sim.requests() == 1


@each_service
def test_R03_two_requests_over_real_sockets(provider: str) -> None:
    with Simulator().serve() as sim:
        pool = sim.pool(["a", "b"], provider=provider, strategy="round_robin")
        sim.key("a").rate_limit(retry_after=7)
        assert pool.chat_sync(MODELS[provider], HELLO).key_id == "b"
        assert [seen.key for seen in sim.log] == ["a", "b"]


# -- R04


@each_service
@pytest.mark.parametrize("seed", SEEDS)
def test_R04_a_herd_sends_nothing_on_a_key_after_its_first_429_was_read(
    provider: str, seed: int
) -> None:
    world = World(provider=provider, connect_s=0.05)
    world.sim.key("k1").slow(0.004).rate_limit(retry_after=30)
    die = random.Random(seed)
    events: list[Event] = []

    async def scenario() -> None:
        calls = []
        for _ in range(50):
            world.transport.connect_s = die.uniform(0.02, 0.1)
            calls.append(asyncio.ensure_future(world.chat()))
            await asyncio.sleep(0)  # its connection is on its way, with a time of its own
        assert all_answered(await asyncio.gather(*calls))
        health = await health_of(world, "k1")
        assert health.failures == 1

    with world.lm.listen(events.append):
        world.run(scenario)
    ended = [event for event in events if event.kind is EventKind.ATTEMPT_ENDED]
    first_read = next(event.at for event in ended if event.key_id == "k1") - 1000.0
    assert all(at <= first_read for at in moments(world, "k1"))
    leased = [e for e in events if e.kind is EventKind.ATTEMPT_STARTED and e.key_id == "k1"]
    assert len(leased) >= 16
    assert world.sim.requests("k1") < 6


@each_service
def test_R04_fifty_sent_in_the_same_instant_are_one_failure(provider: str) -> None:
    world = World(provider=provider)
    world.sim.key("k1").rate_limit(retry_after=30)

    async def scenario() -> None:
        assert all_answered(await world.gather(50))
        assert (await health_of(world, "k1")).failures == 1
        hit = world.sim.requests("k1")
        assert hit > 1
        assert all_answered(await world.gather(50))
        assert world.sim.requests("k1") == hit

    world.run(scenario)


# -- R06


@each_address
@pytest.mark.parametrize("status", [400, 413, 422])
def test_R06_a_wrong_request_is_sent_once_and_shows_what_the_provider_said(
    provider: str, status: int
) -> None:
    other = OTHER[provider]
    world = World(
        {"k1": provider, "k2": provider, "x1": other},
        provider=provider,
        fallback_chains={"*": [{"provider": other, "model": MODELS[other]}]},
    )
    body = {"error": {"type": "invalid_request_error", "message": "temperature is too hot"}}
    for key in ("k1", "k2", "x1"):
        world.sim.key(key).then(status, body=body)

    async def scenario() -> None:
        with pytest.raises(BadRequestError, match="temperature is too hot") as caught:
            await world.chat()
        assert caught.value.status == status
        assert caught.value.key_id == "k1"
        assert asked(world) == ["k1"]
        for name, keys in (await world.lm.health()).providers.items():
            assert keys.rest.state == "active", name
            for health in keys.keys.values():
                assert (health.state, health.failures, health.scopes) == ("active", 0, {})

    world.run(scenario)


# -- R18


@each_address
@pytest.mark.parametrize("trouble", ["quota_exhausted", "bad_key", "forbidden", "rate_limit"])
def test_R18_one_call_walks_past_fifteen_exhausted_keys_without_a_pause(
    provider: str, trouble: str
) -> None:
    keys = [f"k{n:02}" for n in range(20)]
    world = World(keys, provider=provider, strategy="health_aware")
    for key in keys[:15]:
        getattr(world.sim.key(key), trouble)()

    async def scenario() -> None:
        began = world.clock.now()
        answer = await world.chat()
        assert world.clock.now() == began
        assert answer.key_id == "k15"
        assert asked(world) == keys[:16]
        assert len(answer.attempts) == 16
        assert (await provider_health(world)).rest.state == "active"

    world.run(scenario)


@each_service
def test_R18_walking_costs_no_retry(provider: str) -> None:
    keys = [f"k{n:02}" for n in range(20)]
    world = World(keys, provider=provider, defaults={"max_retries": 0})
    for key in keys[:15]:
        world.sim.key(key).quota_exhausted()
    world.run(world.chat)
    assert asked(world) == keys[:16]


@each_service
def test_R18_a_hundred_calls_at_once_all_walk_to_good_keys(provider: str) -> None:
    keys = [f"k{n:02}" for n in range(20)]
    world = World(keys, provider=provider, strategy="health_aware")
    for key in keys[:15]:
        world.sim.key(key).quota_exhausted()

    async def scenario() -> None:
        assert all_answered(await world.gather(100))
        for key in keys[:15]:
            assert (await health_of(world, key)).failures == 1

    world.run(scenario)


# -- R20


def turn(world: World, number: int) -> Any:
    return world.chat(affinity=f"conversation-{number}")


@each_service
def test_R20_conversations_stay_on_their_keys_and_are_spread(provider: str) -> None:
    keys = [f"k{n}" for n in range(1, 6)]
    world = World(keys, provider=provider, strategy="health_aware")

    async def scenario() -> None:
        homes = [(await turn(world, number)).key_id for number in range(1000)]
        # Whose turn it is does not depend on the wire: all of them once, a share elsewhere.
        again = range(0, 1000, 1 if provider == "openai" else 20)
        for _ in range(9):
            for number in again:
                assert (await turn(world, number)).key_id == homes[number]
        spread = Counter(homes)
        assert sorted(spread) == keys
        assert all(150 <= count <= 250 for count in spread.values()), spread

    world.run(scenario)


@each_service
def test_R20_a_resting_keys_conversations_go_elsewhere_and_come_back(provider: str) -> None:
    keys = [f"k{n}" for n in range(1, 6)]
    world = World(keys, provider=provider, strategy="health_aware")

    async def turns() -> list[str]:
        return [(await turn(world, number)).key_id for number in range(200)]

    async def scenario() -> None:
        homes = await turns()
        away = homes[0]
        world.sim.key(away).rate_limit(retry_after=30)
        await turn(world, 0)
        during = await turns()
        assert away not in during
        moved = [after for before, after in zip(homes, during, strict=True) if before == away]
        assert len(set(moved)) == 4  # no single neighbour gets them all
        for before, after in zip(homes, during, strict=True):
            assert before in (away, after)  # only its own conversations moved
        assert await turns() == during
        await asyncio.sleep(31)
        assert await turns() == homes

    world.run(scenario)


@each_service
def test_R20_a_conversation_walks_past_fifteen_exhausted_keys(provider: str) -> None:
    keys = [f"k{n:02}" for n in range(20)]
    world = World(keys, provider=provider, strategy="health_aware")
    for key in keys[:15]:
        world.sim.key(key).quota_exhausted()

    async def scenario() -> None:
        for number in range(40):
            assert (await turn(world, number)).key_id in keys[15:]
        assert all(world.sim.requests(key) <= 1 for key in keys[:15])

    world.run(scenario)


@each_service
def test_R20_a_conversation_keeps_to_the_best_tier(provider: str) -> None:
    priorities = {"k1": 1, "k2": 1, "k3": 0}
    world = World(provider=provider, strategy="priority", priorities=priorities)

    async def scenario() -> None:
        homes = {(await turn(world, number)).key_id for number in range(50)}
        assert homes == {"k1", "k2"}

    world.run(scenario)


# -- what refused keys say when nobody is left


@each_service
def test_when_every_key_refuses_the_error_comes_from_the_last_refusal(provider: str) -> None:
    world = World(provider=provider)
    for key in world.served():
        world.sim.key(key).forbidden()

    async def scenario() -> None:
        with pytest.raises(NoAvailableKeyError) as caught:
            await world.chat(max_wait_seconds=0)
        assert isinstance(caught.value.__cause__, (ForbiddenError, RateLimitedError))
        assert len(caught.value.attempts) == 3

    world.run(scenario)
