"""What every strategy promises: a place for each key, and shares that follow from it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_rotate import ConfigurationError
from llm_rotate.config import LMRotateConfig
from llm_rotate.core.keyspec import KeySpec
from llm_rotate.core.pool import Norm, Place, Record
from llm_rotate.core.turns import Turns
from llm_rotate.strategies import STRATEGIES, Strategy
from llm_rotate.strategies.health_aware import health_aware
from llm_rotate.strategies.least_busy import least_busy
from llm_rotate.strategies.least_tokens import least_tokens
from llm_rotate.strategies.lowest_latency import lowest_latency
from tests.behaviours.dialects import weighted_keys
from tests.behaviours.world import World


def by_second(key: KeySpec, record: Record, norm: Norm) -> Place:
    """A strategy of somebody's own: the second key gets three times as much."""
    del record, norm
    return Place(0, 1.0 if key.key_id == "k2" else 3.0)


# name -> the strategy, and the shares of keys with weights 6, 3, 1 and priorities 1, 1, 0
SHARES: dict[str, tuple[Strategy, tuple[float, float, float]]] = {
    "round_robin": (STRATEGIES["round_robin"], (1 / 3, 1 / 3, 1 / 3)),
    "weighted": (STRATEGIES["weighted"], (0.6, 0.3, 0.1)),
    "priority": (STRATEGIES["priority"], (2 / 3, 1 / 3, 0.0)),
    "health_aware": (STRATEGIES["health_aware"], (2 / 3, 1 / 3, 0.0)),
    "least_busy": (STRATEGIES["least_busy"], (2 / 3, 1 / 3, 0.0)),
    "lowest_latency": (STRATEGIES["lowest_latency"], (2 / 3, 1 / 3, 0.0)),
    "least_tokens": (STRATEGIES["least_tokens"], (2 / 3, 1 / 3, 0.0)),
    "by_second": (by_second, (0.2, 0.6, 0.2)),
}
KEYS = tuple(
    KeySpec(f"k{n}", "p", priority=priority, weight=weight)
    for n, (priority, weight) in enumerate([(1, 6.0), (1, 3.0), (0, 1.0)], 1)
)

each_strategy = pytest.mark.parametrize("name", SHARES)


def turns_of(strategy: Strategy, keys: tuple[KeySpec, ...] = KEYS) -> Turns:
    return Turns(len(keys), lambda index, record, norm: strategy(keys[index], record, norm))


def serve(
    turns: Turns,
    calls: int,
    seconds: Callable[[int], float] = lambda _: 1.0,
    is_fault: Callable[[int, int], bool] = lambda *_: False,
) -> Counter[int]:
    counts: Counter[int] = Counter()
    for number in range(calls):
        (index,) = turns.window(0.0, 1)
        turns.charge(index)
        turns.note(index, is_fault(index, number), seconds(index))
        counts[index] += 1
    return counts


def test_every_strategy_is_among_those_with_shares() -> None:
    assert set(STRATEGIES) <= set(SHARES)


@each_strategy
def test_shares_are_kept_within_two_in_a_hundred(name: str) -> None:
    strategy, shares = SHARES[name]
    turns = turns_of(strategy)
    for _ in range(5):
        counts = serve(turns, 1000)
        for index, share in enumerate(shares):
            assert counts[index] == pytest.approx(1000 * share, abs=20)


@each_strategy
@given(
    st.integers(-5, 5),
    st.floats(0.01, 1000),
    st.floats(0, 1),
    st.floats(0, 1e4),
    st.floats(0, 1e4),
    st.integers(0, 1000),
)
def test_any_key_with_any_past_has_a_place(
    name: str,
    priority: int,
    weight: float,
    fault_share: float,
    own: float,
    mean: float,
    samples: int,
) -> None:
    strategy, _ = SHARES[name]
    key = KeySpec("k", "p", priority=priority, weight=weight)
    record, norm = Record(own, fault_share, samples), Norm(mean, samples)
    first = strategy(key, record, norm)
    assert isinstance(first.tier, int)
    assert 0.0 < first.stride < float("inf")
    assert strategy(key, record, norm) == first
    assert (record.seconds, record.fault_share, record.samples) == (own, fault_share, samples)


@pytest.mark.parametrize("name", ["round_robin", "weighted", "priority"])
def test_those_that_do_not_look_at_health_ignore_it(name: str) -> None:
    strategy, shares = SHARES[name]
    counts = serve(
        turns_of(strategy), 1000, lambda index: 1.0 + 9.0 * index, lambda index, n: n % 2 == index
    )
    for index, share in enumerate(shares):
        assert counts[index] == pytest.approx(1000 * share, abs=20)


# -- health_aware

EQUAL = tuple(KeySpec(f"k{n}", "p") for n in range(3))


@pytest.mark.parametrize("spread", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("seed", range(10))
def test_R01_noise_in_the_times_moves_no_share(spread: float, seed: int) -> None:
    die = random.Random(seed)
    counts = serve(
        turns_of(health_aware, EQUAL), 300, lambda _: 0.5 * die.lognormvariate(0.0, spread)
    )
    assert all(90 <= counts[index] <= 110 for index in range(3)), counts


def test_a_key_that_drags_gets_less() -> None:
    """Ten times as slow as the others."""
    counts = serve(turns_of(health_aware, EQUAL), 600, lambda index: 10.0 if index == 1 else 1.0)
    assert 30 <= counts[1] <= 120
    assert counts[0] == pytest.approx(counts[2], abs=5)


def test_a_key_whose_calls_fail_gets_less_and_is_not_starved() -> None:
    counts = serve(
        turns_of(health_aware, EQUAL), 600, is_fault=lambda index, n: index == 1 and n % 2 == 0
    )
    assert 20 <= counts[1] <= 140


def test_when_all_fail_alike_all_are_served_alike() -> None:
    counts = serve(turns_of(health_aware, EQUAL), 300, is_fault=lambda _index, _n: True)
    assert all(90 <= counts[index] <= 110 for index in range(3)), counts


@pytest.mark.parametrize("name", ["priority", "health_aware"])
def test_a_bigger_priority_is_a_bigger_tier(name: str) -> None:
    places = [STRATEGIES[name](KeySpec("k", "p", priority=n), Record(), Norm()) for n in (-3, 0, 7)]
    assert [place.tier for place in places] == [-3, 0, 7]


# -- from a configuration


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_configuration_names_it(name: str) -> None:
    def edit(config: LMRotateConfig) -> LMRotateConfig:
        weighted_keys(6.0, 3.0, 1.0)(config)
        for key, priority in zip(config.keys, (1, 1, 0), strict=True):
            key.priority = priority
        return config

    world = World(strategy=name, edit=edit)

    async def scenario() -> None:
        for _ in range(300):
            await world.chat()

    world.run(scenario)
    _, shares = SHARES[name]
    for share, count in zip(shares, world.served().values(), strict=True):
        assert count == pytest.approx(300 * share, abs=6)


def test_a_strategy_of_ones_own_goes_into_a_configuration() -> None:
    world = World(strategy=by_second)

    async def scenario() -> None:
        await asyncio.gather(*(world.chat() for _ in range(100)))

    world.run(scenario)
    assert world.served() == {"k1": 20, "k2": 60, "k3": 20}


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="round_robin"):
        World(strategy="round_robbin")


# -- by load, by speed, by use


def test_the_least_busy_goes_next_and_a_slow_one_fills_up_no_further() -> None:
    """Eight at a time of which the first key never answers: it holds no more than the others."""
    turns = Turns(
        3,
        lambda index, record, norm: least_busy(EQUAL[index], record, norm),
        counts_in_flight=True,
    )
    held: list[int] = []
    for _ in range(6):
        (index,) = turns.window(0.0, 1)
        turns.charge(index)
        held.append(index)
    assert Counter(held) == {0: 2, 1: 2, 2: 2}
    for _ in range(100):
        turns.ended(1)
        turns.note(1, False, 1.0)
        assert turns.window(0.0, 1) == [1]
        turns.charge(1)


def test_a_pool_keeps_count_of_what_is_under_way_and_forgets_nothing() -> None:
    world = World(("k1", "k2"), strategy="least_busy")
    world.sim.key("k1").slow(50.0)
    world.sim.key("k2").slow(1.0)

    async def scenario() -> None:
        slow = asyncio.create_task(world.chat())
        await asyncio.sleep(0.1)
        for _ in range(20):
            await world.chat()
        await slow

    world.run(scenario)
    assert world.served() == {"k1": 1, "k2": 20}
    (stage,) = world.lm._pool.stages(world.model, None, None)
    assert [record.in_flight for record in stage.turns._records] == [0, 0]


def test_heaps_of_tiers_that_keys_pass_through_do_not_grow() -> None:
    turns = Turns(
        2,
        lambda index, record, norm: least_busy(EQUAL[index], record, norm),
        counts_in_flight=True,
    )
    for _ in range(1000):
        for _ in range(5):
            turns.charge(0)
        for _ in range(5):
            turns.ended(0)
    assert max(map(len, turns._tiers.values())) <= 9


def test_the_quicker_gets_more_and_the_slower_is_still_asked() -> None:
    counts = serve(turns_of(lowest_latency, EQUAL), 900, lambda index: 2.0 if index == 1 else 1.0)
    assert counts[0] == pytest.approx(counts[2], abs=5)
    assert 30 <= counts[1] <= 90


def test_tokens_are_shared_evenly_though_one_key_has_the_long_answers() -> None:
    turns = turns_of(least_tokens, EQUAL)
    used = [0, 0, 0]
    for _ in range(1000):
        (index,) = turns.window(0.0, 1)
        turns.charge(index)
        tokens = 400 if index == 0 else 100
        used[index] += tokens
        turns.note(index, False, 1.0, tokens)
    assert max(used) - min(used) <= 0.05 * sum(used) / 3
