"""One state for many workers: a real Redis, and what can happen to it."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from llm_rotate import LMRotate, NoAvailableKeyError, RequestTooLargeError, StoreError
from llm_rotate.config.entries import LimitsConfig
from llm_rotate.engine.pool import Seams
from llm_rotate.testing import Simulator
from tests.redis_server import RedisServer, free_port

from .doors import NoJitter
from .fleet import (
    HELLO,
    MODEL,
    QUICK,
    processes,
    registry,
    served,
    shipped,
    until,
    warnings_of,
    worker,
)

TIMEOUT = QUICK["store_timeout_ms"] / 1000
SLACK = 0.2  # a busy machine's


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def lasting() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture
def calm(lasting: RedisServer) -> RedisServer:
    """For tests that do nothing to the server itself."""
    lasting.do("FLUSHALL")
    return lasting


@pytest.fixture
def sim() -> Iterator[Simulator]:
    sim = Simulator()
    with sim.serve():
        yield sim


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scenario())


async def state_of(lm: LMRotate, key_id: str) -> str:
    return (await lm.health()).providers["openai"].keys[key_id].state


# -- D02 - D04, R04, R17, R21: several processes


def test_D02_a_key_rested_by_one_process_is_not_used_by_another(sim, calm) -> None:
    sim.key("a").rate_limit(retry_after=30)
    with processes(2, shipped(sim, calm.url)) as (here, there):
        assert "a" not in here.do("chat", 3)
        assert sim.requests("a") == 1
        assert set(there.do("chat", 6)) == {"b", "c"}
        assert sim.requests("a") == 1


def test_D03_a_herd_of_refusals_across_processes_is_one_failure(sim, calm) -> None:
    sim.key("a").slow(0.3).rate_limit(retry_after=20)
    with processes(4, shipped(sim, calm.url)) as workers:
        for each in workers:
            each.tell("herd", 24)
        for each in workers:
            assert "a" not in each.hear()
        assert sim.requests("a") > 8
        for each in workers:
            assert each.do("health")["a"] == ("active", 1, {MODEL: "cooldown"})


def test_D04_a_killed_workers_trial_does_not_keep_the_key_for_ever(sim, calm) -> None:
    sim.key("a").slow(30)
    with processes(2, shipped(sim, calm.url, ["a"])) as (here, there):
        here.do("keys", "disable", "a")
        here.do("keys", "enable", "a")
        here.tell("chat", 1)
        while not sim.requests("a"):
            time.sleep(0.01)
        here.process.kill()
        sim.key("a").heal()
        with pytest.raises(RuntimeError, match="NoAvailableKey"):
            there.do("patient", 0.1)
        trial = calm.do("GET", "{llmrotate}s:key:a").split(b"|")
        seconds, millis = calm.do("TIME")
        left = int(trial[5]) - (int(seconds) * 1000 + int(millis) // 1000)
        assert 50_000 < left <= 60_000


def test_R17_of_two_rests_the_later_deadline_stands_in_every_process(sim, calm) -> None:
    sim.key("a").slow(0.3).rate_limit(retry_after=600)
    with processes(2, shipped(sim, calm.url)) as (here, there):
        here.tell("herd", 3)
        there.tell("herd", 3)
        here.hear(), there.hear()
        until_ms = calm.do("GET", "{llmrotate}s:key:a|model:gpt-4o-mini").split(b"|")[2]
        assert 590 < int(until_ms) / 1000 - time.time() <= 600.5


def test_R21_an_operators_word_holds_in_every_process_from_the_next_call_on(sim, calm) -> None:
    with processes(2, shipped(sim, calm.url)) as (here, there):
        assert set(there.do("chat", 3)) == {"a", "b", "c"}
        here.do("keys", "disable", "a")
        assert set(there.do("chat", 6)) == {"b", "c"}
        there.do("keys", "rest", "b", 600)
        assert set(here.do("chat", 3)) == {"c"}
        here.do("keys", "disable", "c")
        with pytest.raises(RuntimeError, match="NoAvailableKey"):
            there.do("patient", 0)
        here.do("keys", "enable", "a")
        assert set(there.do("chat", 3)) == {"a"}
        here.do("keys", "reset", "b")
        assert set(there.do("chat", 6)) == {"a", "b"}


def test_a_waiting_call_wakes_when_another_process_brings_a_key_back(sim, calm) -> None:
    with processes(2, shipped(sim, calm.url, ["a"])) as (here, there):
        here.do("keys", "rest", "a", 600)
        there.tell("patient", 700)
        time.sleep(0.3)
        here.do("keys", "reset", "a")
        began = time.monotonic()
        assert there.hear()[0] == "a"
        assert time.monotonic() - began < 1.2


def test_sync_calls_and_calls_in_a_loop_share_too(sim, calm) -> None:
    here, there = worker(sim, calm.url), worker(sim, calm.url)
    here.keys.rest_sync("a", 600)
    assert {there.chat_sync(MODEL, HELLO).key_id for _ in range(6)} == {"b", "c"}

    async def scenario() -> None:
        async with there:
            assert set(await served(there)) == {"b", "c"}
            await there.keys.disable("b")
            assert set(await served(there, 2)) == {"c"}

    run(scenario)
    assert {here.chat_sync(MODEL, HELLO).key_id for _ in range(3)} == {"c"}
    here.close_sync()
    there.close_sync()


# -- D05: what can happen to the server

Fault = Callable[[RedisServer], None]


def flush_everything(redis: RedisServer) -> None:
    redis.do("FLUSHALL")


def flush_scripts(redis: RedisServer) -> None:
    redis.do("SCRIPT", "FLUSH")


def kill_clients(redis: RedisServer) -> None:
    redis.do("CLIENT", "KILL", "TYPE", "normal")


def restart(redis: RedisServer) -> None:
    redis.kill()
    redis.start()


@pytest.mark.parametrize("fault", [flush_everything, flush_scripts, kill_clients, restart])
def test_D05_a_moments_fault_is_not_noticed(sim, redis, caplog, fault: Fault) -> None:
    async def scenario() -> None:
        async with worker(sim, redis.url) as here, worker(sim, redis.url) as there:
            await here.keys.rest("a", 600)
            assert set(await served(there)) == {"b", "c"}
            fault(redis)
            assert set(await served(here)) == {"b", "c"}
            assert set(await served(there)) == {"b", "c"}
            async with worker(sim, redis.url) as third:
                assert set(await served(third)) == {"b", "c"}
            await there.keys.reset("a")
            assert set(await served(here)) == {"a", "b", "c"}

    run(scenario)
    assert warnings_of(caplog) == []


def test_D05_disabled_is_told_again_to_a_server_that_forgot_it(sim, redis) -> None:
    async def scenario() -> None:
        async with worker(sim, redis.url) as here:
            await here.keys.disable("a", reason="leaked")
            restart(redis)
            await served(here, 1)
            async with worker(sim, redis.url) as there:
                assert set(await served(there)) == {"b", "c"}
                key = (await there.health()).providers["openai"].keys["a"]
                assert (key.state, key.reason) == ("disabled", "leaked")

    run(scenario)


class Gone:
    """The server is killed; the port refuses."""

    begin = staticmethod(RedisServer.kill)
    end = staticmethod(RedisServer.start)


class Frozen:
    """The server hangs."""

    begin = staticmethod(RedisServer.freeze)
    end = staticmethod(RedisServer.thaw)


class Paused:
    """The server holds every command back."""

    @staticmethod
    def begin(redis: RedisServer) -> None:
        redis.do("CLIENT", "PAUSE", 1_200)

    @staticmethod
    def end(redis: RedisServer) -> None:
        """By itself: who would unpause it is paused too."""


class ReadOnly:
    """A failover made it a replica."""

    @staticmethod
    def begin(redis: RedisServer) -> None:
        redis.do("REPLICAOF", "127.0.0.1", 1)

    @staticmethod
    def end(redis: RedisServer) -> None:
        redis.do("REPLICAOF", "NO", "ONE")


class Full:
    """No memory is left, and nothing is evicted."""

    @staticmethod
    def begin(redis: RedisServer) -> None:
        redis.do("CONFIG", "SET", "maxmemory", 1)

    @staticmethod
    def end(redis: RedisServer) -> None:
        redis.do("CONFIG", "SET", "maxmemory", 0)


FAULTS = [Gone, Frozen, Paused, ReadOnly, Full]


@pytest.mark.parametrize("fault", FAULTS)
def test_D05_calls_go_on_while_the_server_is_away_and_share_again_after(
    sim, redis, caplog, fault: Any
) -> None:
    async def scenario() -> None:
        async with (
            worker(sim, redis.url, **QUICK) as here,
            worker(sim, redis.url, **QUICK) as there,
        ):
            await here.keys.rest("a", 600)
            assert set(await served(here)) == set(await served(there)) == {"b", "c"}
            fault.begin(redis)
            try:
                sim.key("b").rate_limit(retry_after=600)
                began = time.monotonic()
                assert set(await served(here, 2)) == {"c"}
                assert time.monotonic() - began < TIMEOUT + SLACK
                began = time.monotonic()
                assert set(await served(here, 6)) == {"c"}
                assert time.monotonic() - began < SLACK
                await here.keys.disable("a")  # an operator's word waits for the server
                assert set(await served(here, 2)) == {"c"}
            finally:
                fault.end(redis)

            async def is_shared() -> bool:
                await served(here, 1)
                return set(await served(there, 3)) == {"c"} and (
                    await state_of(there, "a") == "disabled"
                )

            await until(is_shared)
            assert sim.requests("b") < 20

    run(scenario)
    heard = warnings_of(caplog)
    assert heard.count("away") == heard.count("back") <= 2
    assert heard.count("away") >= 1


@pytest.mark.parametrize("fault", [Gone, Frozen])
def test_D05_once_it_is_known_that_the_server_is_away_nobody_waits_for_it(
    sim, redis, fault: Any
) -> None:
    async def scenario() -> None:
        async with worker(sim, redis.url, **QUICK) as lm:
            await served(lm, 1)
            fault.begin(redis)
            await served(lm, 1)
            store, took = lm._pool.store, []
            (candidate,) = lm._pool.stages(MODEL, None, None)[0].window(0.0, 1, (), None)
            for _ in range(50):
                began = time.perf_counter()
                await store.admit([candidate], time.monotonic())
                took.append(time.perf_counter() - began)
                await asyncio.sleep(0.002)  # probes go between
            assert statistics.median(took) < 0.005
            fault.end(redis)

    run(scenario)


def test_D05_absent_at_start_and_there_later(sim, caplog) -> None:
    port = free_port()

    async def scenario() -> None:
        async with worker(sim, f"redis://127.0.0.1:{port}") as here:
            began = time.monotonic()
            assert set(await served(here)) == {"a", "b", "c"}
            assert time.monotonic() - began < TIMEOUT + SLACK
            await here.keys.rest("a", 600)
            redis = RedisServer(port=port)
            try:
                async with worker(sim, redis.url) as there:

                    async def is_shared() -> bool:
                        return "a" not in await served(there, 3)

                    await until(is_shared)
            finally:
                redis.close()

    run(scenario)
    assert warnings_of(caplog)[:2] == ["away", "back"]


def test_D05_many_calls_at_once_wait_together(sim, redis, caplog) -> None:
    async def scenario() -> None:
        async with worker(sim, redis.url, **QUICK) as here:
            await served(here)
            redis.freeze()
            began = time.monotonic()
            await asyncio.gather(*(served(here, 2) for _ in range(30)))
            assert time.monotonic() - began < TIMEOUT + 2 * SLACK
            redis.thaw()

    run(scenario)
    assert warnings_of(caplog) == ["away"]


@pytest.mark.parametrize("url", ["redis://:wrong@127.0.0.1:{}", "redis://127.0.0.1:{}"])
def test_D05_a_wrong_password_is_said_once_and_never_shown(sim, caplog, url: str) -> None:
    redis = RedisServer("--requirepass", "sesame-open")

    async def scenario() -> None:
        async with worker(sim, url.format(redis.port)) as here:
            assert set(await served(here)) == {"a", "b", "c"}
        async with worker(sim, f"redis://:sesame-open@127.0.0.1:{redis.port}") as here:
            await here.keys.rest("a", 600)
            assert set(await served(here)) == {"b", "c"}

    try:
        run(scenario)
    finally:
        redis.close()
    assert warnings_of(caplog) == ["away"]
    assert "wrong@" not in caplog.text
    assert "sesame" not in caplog.text


def test_D05_a_user_who_may_not_all_that_is_needed_is_told_so_once(
    sim, redis, caplog, monkeypatch
) -> None:
    """What fails is tried again before the server counts as back."""
    monkeypatch.setattr("llm_rotate.stores.counters.SAY_SECONDS", 0.05)
    monkeypatch.setattr("llm_rotate.engine.link.PROBE_SECONDS", (0.02, 0.04))
    redis.do("ACL", "SETUSER", "worker", "on", ">pass", "~*", "+@all", "-hincrby")

    async def scenario() -> None:
        async with worker(sim, f"redis://worker:pass@127.0.0.1:{redis.port}") as lm:
            for _ in range(40):
                await served(lm, 1)
                await asyncio.sleep(0.01)
            assert "can't run this command" in lm._pool.store._link.failure
            redis.do("ACL", "SETUSER", "worker", "+hincrby")
            await until(lambda: shared_again(lm))
            total = (await lm.usage_summary())["total"]
            assert total["successes"] == sim.requests()

    run(scenario)
    assert warnings_of(caplog) == ["away", "back"]


async def shared_again(lm: LMRotate) -> bool:
    await served(lm, 1)
    return not lm._pool.store._link.is_cut


def test_on_store_failure_raise_stops_calls_until_the_server_is_back(sim, redis, caplog) -> None:
    async def scenario() -> None:
        async with worker(sim, redis.url, on_store_failure="raise") as here:
            await served(here)
            redis.kill()
            for _ in range(3):
                with pytest.raises(StoreError, match="cannot be reached"):
                    await served(here, 1)
            with pytest.raises(StoreError):
                await here.keys.rest("a", 1)
            with pytest.raises(StoreError):
                await here.health()
            redis.start()

            async def is_back() -> bool:
                try:
                    return bool(await served(here, 1))
                except StoreError:
                    return False

            await until(is_back)

    run(scenario)
    assert warnings_of(caplog) == ["away", "back"]
    assert "calls end with StoreError meanwhile" in caplog.text
    assert "goes on alone" not in caplog.text


def test_L02_a_request_too_large_for_every_key_ends_at_once_whatever_others_tell(
    sim, redis, caplog
) -> None:
    """Neither news of another process nor a state that hangs can change its end."""

    async def scenario() -> None:
        async with (
            worker(sim, redis.url, **QUICK) as there,
            limited(sim, redis.url, **QUICK) as here,
        ):
            assert await served(here, 2, max_tokens=10)
            for seconds in (5, 4):
                for key_id in ("a", "b"):
                    await there.keys.rest(key_id, seconds)
                await too_large(here)
            redis.freeze()
            try:
                await too_large(here)
                assert warnings_of(caplog) == []
            finally:
                redis.thaw()

    run(scenario)
    assert sim.requests() == 2


async def too_large(lm: LMRotate) -> None:
    began = time.monotonic()
    with pytest.raises(RequestTooLargeError):
        await served(lm, 1, max_tokens=900, max_wait_seconds=8)
    assert time.monotonic() - began < TIMEOUT


def limited(sim: Simulator, url: str, **store: Any) -> LMRotate:
    """A worker whose keys hold 500 tokens a minute each."""
    config = registry(sim, url, **store)
    for key in config.keys:
        key.limits = LimitsConfig(tpm=500)
    return LMRotate(config, seams=Seams(rng=NoJitter()))


@pytest.mark.parametrize("model", ["gpt-\ud800", "gpt|model:x y", "gpt 漢字"])
def test_no_name_of_a_model_cuts_a_worker_off(sim, calm, model: str) -> None:
    async def scenario() -> None:
        sim.key("a").headers({"x-ratelimit-remaining-requests": "50"})
        async with limited(sim, calm.url) as here, limited(sim, calm.url) as there:
            for lm in (here, there, here):
                await lm.chat(model, HELLO, provider="openai", max_tokens=9)
            sim.key("b").unknown_model(model)
            for _ in range(3):
                await here.chat(model, HELLO, provider="openai", max_tokens=9)
            total = (await there.usage_summary())["by_model"]
            assert model in total
            assert any(model in scope for scope in await scopes(there, "b"))
            assert not here._pool.store._link.failure
            assert not there._pool.store._link.failure

    run(scenario)


async def scopes(lm: LMRotate, key: str) -> Any:
    return (await lm.health()).providers["openai"].keys[key].scopes


# -- D06, and what stays behind


def test_D06_two_namespaces_never_meet(sim, calm) -> None:
    async def scenario() -> None:
        async with (
            worker(sim, calm.url, redis_namespace="one") as one,
            worker(sim, calm.url, redis_namespace="two") as two,
        ):
            await one.keys.disable("a")
            assert set(await served(two)) == {"a", "b", "c"}
            with pytest.raises(NoAvailableKeyError):
                await one.chat(MODEL, HELLO, key_id="a", max_wait_seconds=0)

    run(scenario)
    names = [name.decode() for name in calm.do("KEYS", "*")]
    assert all(name.startswith(("{one}", "{two}")) for name in names)


def test_no_secret_reaches_the_server_and_everything_there_ends(sim, calm) -> None:
    sim.key("a").echo_secret()

    async def scenario() -> None:
        async with worker(sim, calm.url) as here:
            await served(here)

    run(scenario)
    with calm.client() as client:
        names = client.keys("*")
        assert names
        assert all(client.pttl(name) > 0 for name in names)
        dump = b"".join(client.dump(name) for name in names)
    assert all(sim.secret(key).encode() not in dump for key in "abc")


def test_a_call_in_good_health_costs_one_round_trip(sim, calm) -> None:
    async def scenario() -> None:
        async with worker(sim, calm.url) as here:
            await served(here, 3)
            before = calls_at(calm)
            await served(here, 20)
            assert 20 <= calls_at(calm) - before <= 22  # counts are told once a second

    run(scenario)


def calls_at(redis: RedisServer) -> int:
    with redis.client() as client:
        return int(client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"])


def test_three_hundred_calls_at_once_need_one_connection(sim, calm) -> None:
    async def scenario() -> None:
        async with worker(sim, calm.url) as here:
            before = calls_at(calm)
            await asyncio.gather(*(served(here, 1) for _ in range(300)))
            assert calls_at(calm) - before < 100
            assert len(calm.do("CLIENT", "LIST").splitlines()) <= 2

    run(scenario)
