"""Many keys, many models: fair from the first call, and nothing that is paid for each key."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from llm_rotate import NoAvailableKeyError
from llm_rotate.core.affinity import Homes
from llm_rotate.core.call import Call
from llm_rotate.engine import stages

from .dialects import each_dialect
from .world import World


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """How often each Python function is called in here."""
    calls: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            calls[f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}"] += 1

    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def name_of(function: Any) -> str:
    return f"{function.__module__}.{function.__qualname__}"


# -- shares


@each_dialect
@pytest.mark.parametrize("strategy", ["health_aware", "round_robin", "priority", "weighted"])
def test_R01_calls_for_ever_new_models_are_shared_evenly(provider, strategy):
    world = World(provider=provider, strategy=strategy)

    async def scenario() -> None:
        for n in range(300):
            await world.chat(model=f"model {n}")

    world.run(scenario)
    assert world.served() == {"k1": 100, "k2": 100, "k3": 100}


@each_dialect
def test_R01_a_key_that_is_back_takes_its_share_though_one_had_many_conversations(provider):
    world = World(provider=provider)

    async def scenario() -> None:
        homes = {(await world.chat(affinity=str(n))).key_id: str(n) for n in range(50)}
        for _ in range(500):
            await world.chat(affinity=homes["k1"])
        await world.lm.keys.rest("k2", 1)
        await world.chat()
        await asyncio.sleep(2)
        before = world.served()
        for _ in range(300):
            await world.chat()
        gained = {key: count - before[key] for key, count in world.served().items()}
        assert gained["k2"] == pytest.approx(gained["k3"], abs=50)

    world.run(scenario)


# -- nothing for each key


def test_a_call_makes_nothing_for_keys_that_it_does_not_ask():
    world = World([f"k{n}" for n in range(400)])

    async def scenario() -> None:
        with counted() as calls:
            await world.chat()
            await world.chat(affinity="a conversation")
            await world.chat(model="another")
        assert 0 < calls[name_of(stages.candidate)] <= 3

    world.run(scenario)


def test_the_homes_of_conversations_are_shared_by_all_models():
    world = World([f"k{n}" for n in range(400)])

    async def scenario() -> None:
        with counted() as calls:
            for n in range(5):
                await world.chat(model=f"model {n}", affinity="a conversation")
        assert calls[name_of(Homes.__init__)] <= 1

    world.run(scenario)


def test_a_call_costs_as_many_steps_with_400_keys_as_with_20():
    steps = []
    for size in (20, 400):
        world = World([f"k{n}" for n in range(size)])

        async def scenario(world: World = world) -> None:
            for affinity in (None, "a conversation"):
                await world.chat(affinity=affinity)  # makes the stage
            with counted() as calls:
                await world.chat()
            steps.append(calls.total())

        world.run(scenario)
    assert steps[1] == pytest.approx(steps[0], rel=0.1)


def test_a_refusal_is_noted_in_place_however_many_came_before():
    call = Call(stages=1, max_retries=2)
    visit = call.visits[0]
    call.refused(visit, 0, is_barred=True)
    refused, barred = visit.refused, visit.barred
    for index in range(1, 100):
        call.refused(visit, index, is_barred=True)
    assert visit.refused is refused
    assert visit.barred is barred
    assert len(refused) == len(barred) == 100


# -- nothing for each model


def test_what_is_known_of_models_that_callers_made_up_is_forgotten():
    """An hour after there was nothing more to say of them."""
    world = World(["k1"], defaults={"max_wait_seconds": 0})
    world.sim.key("k1").then(404, times=4000)

    async def made_up(batch: int, count: int) -> None:
        for n in range(count):
            with pytest.raises(NoAvailableKeyError):
                await world.chat(model=f"made up {batch} {n}")

    async def scenario() -> None:
        await made_up(0, 3000)
        known = await world.lm._pool.store.snapshot()
        assert len(known) == 3000
        await asyncio.sleep(3600 + 300)
        await made_up(1, 1000)
        known = await world.lm._pool.store.snapshot()
        assert sum("made up 0" in subject for subject in known) == 0
        assert sum("made up 1" in subject for subject in known) == 1000

    world.run(scenario)
