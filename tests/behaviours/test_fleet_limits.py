"""One set of limits and one count for many workers."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import pytest

from llm_rotate import LMRotate, NoAvailableKeyError
from llm_rotate.config.entries import LimitsConfig
from llm_rotate.engine.pool import Seams
from llm_rotate.testing import Simulator
from tests.redis_server import RedisServer

from .doors import NoJitter
from .fleet import HELLO, MODEL, QUICK, processes, registry, served, shipped, until


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture
def sim() -> Iterator[Simulator]:
    sim = Simulator()
    with sim.serve():
        yield sim


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scenario())


def limited(
    sim: Simulator, url: str, *, store: Mapping[str, Any] = MappingProxyType({}), **limits: Any
) -> LMRotate:
    config = registry(sim, url, ["a"], **store)
    for key in config.keys:
        key.limits = LimitsConfig(**limits)
    return LMRotate(config, seams=Seams(rng=NoJitter()))


async def tried(lm: LMRotate, calls: int, **more: Any) -> int:
    """How many of so many calls at once are answered."""
    asked = [lm.chat(MODEL, HELLO, **{"max_wait_seconds": 0, **more}) for _ in range(calls)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    failed = [each for each in answers if isinstance(each, BaseException)]
    assert all(isinstance(each, NoAvailableKeyError) for each in failed), failed
    return len(answers) - len(failed)


def rooms(report: Any) -> Any:
    return report.providers["openai"].keys["a"].limits["key"]


def test_D01_workers_take_from_one_limit(sim, redis) -> None:
    async def scenario() -> None:
        async with (
            limited(sim, redis.url, rpm=6, request_burst=6) as here,
            limited(sim, redis.url, rpm=6, request_burst=6) as there,
        ):
            assert sum(await asyncio.gather(tried(here, 5), tried(there, 5))) == 6
            assert await tried(here, 1) == await tried(there, 1) == 0
            for each in (here, there):
                assert rooms(await each.health())["rpm"].taken == 6

    run(scenario)
    assert sim.requests() == 6


def test_D01_what_one_worker_did_not_use_another_may_take(sim, redis) -> None:
    async def scenario() -> None:
        async with (
            limited(sim, redis.url, tpm=1000, token_burst=1000) as here,
            limited(sim, redis.url, tpm=1000, token_burst=1000) as there,
        ):
            for _ in range(3):  # each reserves most of it and uses little
                assert await tried(here, 1, max_tokens=900) == 1
                assert await tried(there, 1, max_tokens=900) == 1
            taken = rooms(await here.health())["tpm"].taken

            async def are_told() -> bool:  # of another worker within a second
                return taken == (await here.usage_summary())["total"]["tokens"]

            await until(are_told)
            assert 0 < taken < 600

    run(scenario)


def test_who_hears_of_a_slot_that_is_taken_again_waits_on(sim, redis) -> None:
    """News of room, and that there is none, come in one answer."""

    async def scenario() -> None:
        sim.key("a").slow(0.5)
        async with (
            limited(sim, redis.url, max_concurrency=1) as here,
            limited(sim, redis.url, max_concurrency=1) as there,
        ):
            both = asyncio.create_task(tried(here, 2, max_wait_seconds=10))
            await until(lambda: asyncio.sleep(0, sim.requests() == 2))
            assert await tried(there, 1, max_wait_seconds=10) == 1
            assert await both == 2

    run(scenario)


def test_who_goes_elsewhere_keeps_no_other_worker_from_a_key(sim, redis) -> None:
    """A request of a large part of a key's limit finds no room there, and is served by another."""

    async def scenario() -> None:
        async with two_keys(sim, redis.url) as here, two_keys(sim, redis.url) as there:
            sim.key("a").slow(0.5)
            large = asyncio.create_task(tried(here, 1, max_tokens=300))
            await until(lambda: asyncio.sleep(0, sim.requests()))
            assert await served(here, 2, max_tokens=300) == ["b", "b"]
            sim.key("a").heal()
            assert set(await served(there, 2, max_tokens=5, max_wait_seconds=0)) == {"a", "b"}
            assert await large == 1

    run(scenario)


def two_keys(sim: Simulator, url: str) -> LMRotate:
    config = registry(sim, url, ["a", "b"])
    for key in config.keys:
        key.limits = LimitsConfig(tpm=1000, token_burst=500)
    return LMRotate(config, seams=Seams(rng=NoJitter()))


def test_a_worker_that_waits_for_a_slot_hears_that_another_gave_one_back(sim, redis) -> None:
    async def scenario() -> None:
        sim.key("a").slow(0.5)
        async with (
            limited(sim, redis.url, max_concurrency=1) as here,
            limited(sim, redis.url, max_concurrency=1) as there,
        ):
            first = asyncio.create_task(tried(here, 1))
            await until(lambda: asyncio.sleep(0, sim.requests()))
            began = time.monotonic()
            assert await tried(there, 1, max_wait_seconds=10) == 1
            assert time.monotonic() - began < 3
            assert await first == 1

    run(scenario)


def test_what_one_answer_says_of_limits_every_worker_heeds(sim, redis) -> None:
    async def scenario() -> None:
        async with (
            limited(sim, redis.url, rpm=60) as here,
            limited(sim, redis.url, rpm=60) as there,
        ):
            sim.key("a").headers({"x-ratelimit-remaining-requests": "0"})
            assert await tried(here, 1) == 1
            await here._pool.store.flush()
            await there.health()  # or any call before
            assert await tried(there, 1) == 0

    run(scenario)


def test_counts_are_the_whole_fleets(sim, redis) -> None:
    sim.key("b").then(429)
    with processes(2, shipped(sim, redis.url, ["a", "b"])) as (one, other):
        one.do("chat", 5)
        other.do("chat", 6)
        other.do("usage")  # says what it counted, else it does within a second
        total = one.do("usage")["total"]
        assert total["successes"] == 11
        assert total["successes"] + total["failures"] == sim.requests() == 12

    async def of_a_third() -> None:
        async with LMRotate(registry(sim, redis.url, ["a", "b"])) as lm:
            report = await lm.health()
            keys = report.providers["openai"].keys.values()
            assert sum(key.successes for key in keys) == 11

    run(of_a_third)


def test_counts_of_a_closed_pool_are_not_lost(sim, redis) -> None:
    async def scenario() -> None:
        async with LMRotate(registry(sim, redis.url)) as lm:
            await served(lm, 4)
        async with LMRotate(registry(sim, redis.url)) as lm:
            assert (await lm.usage_summary())["total"]["successes"] == 4

    run(scenario)


def test_a_fleet_that_is_cut_off_together_keeps_the_limit(sim, redis) -> None:
    """Each goes on with its part of what was there for all."""

    async def scenario() -> None:
        async with (
            limited(sim, redis.url, rpm=40, request_burst=40) as here,
            limited(sim, redis.url, rpm=40, request_burst=40) as there,
        ):
            assert await tried(here, 1) == await tried(there, 1) == 1
            await here.health()
            for each in (here, there):  # the number of workers comes with the next sign of life
                each._pool.store.stale()
                await served(each, 1)
            redis.kill()
            assert await tried(here, 40) == 20 - 2
            assert await tried(there, 40) == 20 - 2
            redis.start()
            await until(lambda: shares(here))

    run(scenario)
    assert sim.requests() <= 40 + 1


def test_a_worker_that_is_cut_off_remembers_what_it_took_of_a_day(sim, redis) -> None:
    async def scenario() -> None:
        async with limited(sim, redis.url, rpd=10) as lm:
            assert await tried(lm, 6) == 6
            redis.kill()
            assert await tried(lm, 10) == 4
            redis.start()

    run(scenario)


async def shares(lm: LMRotate) -> bool:
    await lm.health()
    return not lm._pool.store._link.is_cut


def test_settling_while_the_server_is_away_is_told_when_it_is_back(sim, redis) -> None:
    async def scenario() -> None:
        sim.key("a").slow(0.6)
        async with limited(sim, redis.url, store=QUICK, max_concurrency=1) as lm:
            call = asyncio.create_task(tried(lm, 1))
            await until(lambda: asyncio.sleep(0, sim.requests()))
            redis.freeze()
            assert await tried(lm, 1) == 0  # it is cut off, and knows of its own slot
            assert await call == 1
            redis.thaw()
            await until(lambda: shares(lm))
            sim.key("a").heal()

            async def is_free() -> bool:
                return rooms(await lm.health())["max_concurrency"].taken == 0

            await until(is_free)

    run(scenario)


def test_what_a_server_refused_to_hear_is_told_when_it_takes_it(sim, redis, monkeypatch) -> None:
    """A failover made it a replica: it can be reached, and looked for again and again."""
    monkeypatch.setattr("llm_rotate.engine.link.PROBE_SECONDS", (0.02, 0.04))

    async def scenario() -> None:
        sim.key("a").slow(0.3)
        async with limited(sim, redis.url, max_concurrency=1, rpm=60) as lm:
            call = asyncio.create_task(tried(lm, 1))
            await until(lambda: asyncio.sleep(0, sim.requests()))
            redis.do("REPLICAOF", "127.0.0.1", 1)
            assert await tried(lm, 1) == 0
            assert await call == 1
            await asyncio.sleep(0.3)  # some probes long
            assert not await shares(lm)
            redis.do("REPLICAOF", "NO", "ONE")
            await until(lambda: shares(lm))
            assert rooms(await lm.health())["max_concurrency"].taken == 0

    run(scenario)


def test_slots_of_a_key_are_one_number_for_all_processes(sim, redis) -> None:
    slots, seconds = 2, 0.1
    sim.key("a").slow(seconds)
    config = shipped(sim, redis.url, ["a"])
    config["keys"][0]["limits"] = {"max_concurrency": slots}
    with processes(2, config) as workers:
        for each in workers:
            each.tell("herd", 8)
        for each in workers:
            assert each.hear() == ["a"] * 8
    times = sorted(seen.at for seen in sim.log)
    assert len(times) == 16
    for at in times:  # a request is there for so long at least
        assert sum(at - seconds < other <= at for other in times) <= slots


def test_D04_a_killed_workers_slot_is_given_back_by_its_lease(sim, redis) -> None:
    """The lease's whole minute is waited for in the long runs."""
    sim.key("a").slow(30)
    config = shipped(sim, redis.url, ["a"])
    config["keys"][0]["limits"] = {"max_concurrency": 1}
    with processes(2, config) as (here, there):
        here.tell("chat", 1)
        while not sim.requests("a"):
            time.sleep(0.01)
        os.kill(here.process.pid or 0, signal.SIGKILL)
        sim.key("a").heal()
        with pytest.raises(RuntimeError, match="NoAvailableKey"):
            there.do("patient", 0.1)
        slots = there.do("rooms")["max_concurrency"]
        assert slots == (1, 1)


def test_who_waits_while_its_part_is_used_up_goes_on_when_the_server_is_back(sim, redis) -> None:
    async def scenario() -> None:
        async with limited(sim, redis.url, store=QUICK, rpm=4, request_burst=4) as lm:
            assert await tried(lm, 3) == 3
            lm._pool.store._workers = 4
            redis.freeze()
            waiting = asyncio.create_task(tried(lm, 1, max_wait_seconds=20))
            await asyncio.sleep(0.6)
            assert not waiting.done()
            redis.thaw()
            assert await asyncio.wait_for(waiting, 5) == 1

    run(scenario)
