"""When every key rests: saying so, waiting, and one trial at a time when they come back."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from llm_rotate import DeadlineError, NoAvailableKeyError
from llm_rotate.testing import Scripted
from llm_rotate.testing.clock import EPOCH

from .dialects import all_answered, each_dialect, health_of, moments
from .world import World

START = datetime.fromtimestamp(EPOCH, UTC)


async def refused_all(world: World) -> None:
    with pytest.raises(NoAvailableKeyError):
        await world.chat(max_wait_seconds=0)


# -- R12


@each_dialect
def test_R12_with_every_key_resting_the_error_says_when_and_why_and_nothing_is_sent(
    provider: str,
) -> None:
    world = World(provider=provider, defaults={"quarantine_seconds": 300})
    world.sim.key("k1").rate_limit(retry_after=40)
    world.sim.key("k2").rate_limit(retry_after=25)
    world.sim.key("k3").quota_exhausted()

    async def scenario() -> None:
        await refused_all(world)
        assert world.sim.requests() == 3
        await asyncio.sleep(5)
        with pytest.raises(NoAvailableKeyError) as caught:
            await world.chat()
        error = caught.value
        assert world.sim.requests() == 3
        assert error.earliest_retry_at == START + timedelta(seconds=25)
        assert set(error.reasons) == {"k1", "k2", "k3"}
        assert "35 s" in error.reasons["k1"]
        assert "20 s" in error.reasons["k2"]
        assert "295 s" in error.reasons["k3"]
        assert "429" in error.reasons["k1"]
        assert error.attempts == ()
        for key in error.reasons:
            assert key in str(error)
        assert world.clock.now() == 1005.0  # it did not wait for what is out of reach

    world.run(scenario)


@each_dialect
def test_R12_with_a_wait_long_enough_the_same_call_succeeds(provider: str) -> None:
    world = World(provider=provider)
    for key, seconds in {"k1": 40, "k2": 25, "k3": 90}.items():
        world.sim.key(key).rate_limit(retry_after=seconds)

    async def scenario() -> None:
        await refused_all(world)
        await asyncio.sleep(5)
        answer = await world.chat(max_wait_seconds=20)
        assert answer.key_id == "k2"
        assert world.clock.now() == 1025.0
        assert answer.latency_ms == pytest.approx(20_000)
        assert world.sim.requests() == 4

    world.run(scenario)


@each_dialect
def test_R12_the_default_wait_is_ten_seconds(provider: str) -> None:
    for seconds, is_long_enough in ((10, True), (10.5, False)):
        world = World(["a"], provider=provider)
        world.sim.key("a").rate_limit(retry_after=seconds)
        results: list[Any] = world.run(lambda world=world: world.gather(1))
        assert all_answered(results) is is_long_enough


@each_dialect
def test_R12_all_waits_of_a_call_together_count(provider: str) -> None:
    world = World(["a"], provider=provider)
    refusals = world.sim.key("a")
    refusals.then(429, headers={"retry-after": "4"}, times=9)

    async def scenario() -> None:
        with pytest.raises(NoAvailableKeyError):
            await world.chat(max_wait_seconds=10, max_retries=9)

    world.run(scenario)
    assert moments(world, "a") == [0.0, 4.0, 8.0]


@each_dialect
def test_R12_a_deadline_nearer_than_the_key_is_not_waited_for(provider: str) -> None:
    world = World(["a"], provider=provider)
    world.sim.key("a").rate_limit(retry_after=8)

    async def scenario() -> None:
        with pytest.raises((NoAvailableKeyError, DeadlineError)):
            await world.chat(timeout=5)
        assert world.clock.now() <= 1005.0

    world.run(scenario)


@each_dialect
def test_R12_a_disabled_key_has_no_time_to_come_back(provider: str) -> None:
    world = World(["a"], provider=provider)

    async def scenario() -> None:
        await world.lm.keys.disable("a", "out of use")
        with pytest.raises(NoAvailableKeyError) as caught:
            await world.chat(max_wait_seconds=1000)
        assert caught.value.earliest_retry_at is None
        assert "out of use" in caught.value.reasons["a"]
        assert world.clock.now() == 1000.0

    world.run(scenario)
    assert world.sim.requests() == 0


@each_dialect
def test_R12_two_hundred_waiting_calls_all_succeed(provider: str) -> None:
    world = World(provider=provider)
    for key in world.served():
        world.sim.key(key).rate_limit(retry_after=6)

    async def scenario() -> None:
        assert all_answered(await world.gather(200))

    world.run(scenario)


# -- R15


class Overlap:
    """A line of a script: every answer takes ``seconds``; how many were under way at once."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.begun: list[float] = []

    def edit(self, plan: Any, visit: Any) -> None:
        plan.first_byte = self.seconds
        self.begun.append(visit.now)

    def most_before(self, until: float) -> int:
        times = [at for at in self.begun if at < until]
        return max(sum(at <= other < at + self.seconds for other in times) for at in times)


@each_dialect
@pytest.mark.parametrize("callers", [2, 40])
def test_R15_one_trial_at_a_time_however_many_wait(provider: str, callers: int) -> None:
    world = World(["a"], provider=provider)
    world.sim.key("a").rate_limit(retry_after=5)
    overlap = Overlap(2.0)

    async def scenario() -> None:
        await refused_all(world)
        world.sim.provider(provider)._change(overlap)
        assert all_answered(await world.gather(callers, max_wait_seconds=60))
        assert (await health_of(world, "a")).scopes == {}

    world.run(scenario)
    seen = moments(world, "a")
    assert seen[1] == 5.0
    assert seen[2:] == [7.0] * (callers - 1)  # all the others, once the trial is won


@each_dialect
def test_R15_lost_trials_come_one_at_a_time_and_each_at_its_time(provider: str) -> None:
    world = World(["a"], provider=provider)
    overlap = Overlap(2.0)
    script = world.sim.key("a").then(429, headers={"retry-after": "5"}, times=1)

    async def scenario() -> None:
        await refused_all(world)
        world.sim.provider(provider)._change(overlap)
        script.then(429, headers={"retry-after": "3"}, times=3)
        calls = await world.gather(20, max_wait_seconds=100)
        assert all_answered(calls)

    world.run(scenario)
    assert moments(world, "a")[:5] == [0.0, 5.0, 10.0, 15.0, 20.0]
    assert overlap.most_before(1022.0) == 1
    assert moments(world, "a")[5:] == [22.0] * 19


@each_dialect
def test_R15_who_waits_hears_of_another_calls_lost_trial(provider: str) -> None:
    """The trial's own call does not come again: who waits goes when the new rest is over."""
    world = World(["a"], provider=provider)
    world.sim.key("a").slow(2).answers(
        [Scripted(429, headers={"retry-after": str(seconds)}) for seconds in (5, 4)]
    )

    async def scenario() -> None:
        await refused_all(world)
        await asyncio.sleep(5)
        trial = asyncio.create_task(refused_all(world))
        await asyncio.sleep(1)
        waiting = asyncio.create_task(world.chat(max_wait_seconds=50))
        await trial
        assert (await waiting).key_id == "a"

    world.run(scenario)
    assert moments(world, "a") == [0.0, 7.0, 13.0]


@each_dialect
def test_R15_a_providers_fault_in_a_trial_lets_the_next_caller_try_at_once(provider: str) -> None:
    world = World(["a"], provider=provider)
    overlap = Overlap(2.0)
    world.sim.key("a").answers([429, 500, 200])

    async def scenario() -> None:
        await refused_all(world)
        await asyncio.sleep(await rest_left(world))
        world.sim.provider(provider)._change(overlap)
        results = await world.gather(10, max_wait_seconds=60, max_retries=3)
        assert all_answered(results)

    world.run(scenario)
    first, second, third = moments(world, "a")[1:4]
    assert second == first + 2.0
    assert third == second + 2.0
    assert overlap.most_before(1000.0 + third) == 1


async def rest_left(world: World) -> float:
    until = (await health_of(world, "a")).scopes[world.model].until
    assert until is not None
    return until.timestamp() - world.clock.wall()


@each_dialect
def test_R15_other_keys_go_on_during_a_trial(provider: str) -> None:
    world = World(["a", "b"], provider=provider)
    world.sim.key("a").rate_limit(retry_after=5)

    async def scenario() -> None:
        await world.chat()
        await asyncio.sleep(5)
        world.sim.key("a").slow(3)
        began = world.clock.now()
        results = await world.gather(20)
        assert all_answered(results)
        assert sorted(each.key_id for each in results) == ["a"] + ["b"] * 19
        assert world.clock.now() == began + 3

    world.run(scenario)


@each_dialect
def test_R15_a_streams_trial_is_won_by_its_first_event(provider: str) -> None:
    world = World(["a"], provider=provider)
    world.sim.key("a").rate_limit(retry_after=5)

    async def scenario() -> None:
        await refused_all(world)
        await asyncio.sleep(5)
        world.sim.key("a").heal().slow(1, between=30)
        began = world.clock.now()
        stream = world.lm.chat_stream(world.model, [{"role": "user", "content": "hi"}])
        async with stream:
            await anext(stream)
            first = world.clock.now()
            world.sim.key("a").heal()
            await world.chat()  # the stream is still open
            assert world.clock.now() == first
            assert first > began

    world.run(scenario)


@each_dialect
def test_R15_each_key_has_a_trial_of_its_own(provider: str) -> None:
    world = World(["a", "b"], provider=provider)
    for key in ("a", "b"):
        world.sim.key(key).rate_limit(retry_after=5)
    overlap = Overlap(2.0)

    async def scenario() -> None:
        await refused_all(world)
        world.sim.provider(provider)._change(overlap)
        assert all_answered(await world.gather(50, max_wait_seconds=60))

    world.run(scenario)
    assert overlap.most_before(1007.0) == 2
    assert moments(world, "a")[1] == moments(world, "b")[1] == 5.0


# -- a standstill is told of


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]


def test_a_batch_whose_keys_all_rest_says_so_once_with_the_reasons(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(["k1", "k2"])
    world.sim.key("k1").quota_exhausted()
    world.sim.key("k2").quota_exhausted()

    async def scenario() -> None:
        batch = await world.lm.chat_batch(world.model, ["a", "b", "c"])
        assert batch.failed == 3

    world.run(scenario)
    told, *more = warned(caplog)
    assert len(more) < 2  # at most one more when the keys were tried again, and refused
    assert told.startswith("'gpt-4o-mini' waits 300 s for a key: k1 ")
    assert "300 s more: " in told
    assert "insufficient_quota" in told
    assert "; k2 " in told
