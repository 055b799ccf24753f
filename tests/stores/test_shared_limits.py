"""Limits at a real server, over a real link: what is left behind, and what a lost memory costs."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from llm_rotate.core.bucket import BucketSpec, Tokens
from llm_rotate.core.keystate import Change, KeyState, Kind
from llm_rotate.core.learned import Reading
from llm_rotate.core.outcome import Scope
from llm_rotate.core.pool import Candidate, Lease, Refused
from tests.redis_server import RedisServer

from .direct import Clock, direct_store, done, opened

NOW = time.monotonic
COST = Tokens(10, 10)


@pytest.fixture(autouse=True)
def _empty(server: RedisServer) -> None:
    server.do("FLUSHALL")


def key(**limits: Any) -> Candidate:
    return Candidate(0, "a", ("key:a",), {Scope.KEY: "key:a"}, (BucketSpec("key:a", **limits),))


async def taken(store: Any, asked: Candidate, limit: str) -> float:
    (rooms,) = (await store.rooms([asked], NOW())).values()
    return float(rooms[limit].taken)


def test_a_hundred_admissions_cancelled_in_flight_leave_no_slot(server: RedisServer) -> None:
    async def scenario() -> None:
        store, asked = opened(server.url), key(max_concurrency=200, rpm=1000)
        await store.admit([asked], NOW(), COST)
        for turn in range(100):
            call = asyncio.ensure_future(store.admit([asked], NOW(), COST))
            for _ in range(turn % 7):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])
            if not call.cancelled():
                store.settle(call.result(), (), NOW())
        await store.flush()
        assert await taken(store, asked, "max_concurrency") == 1
        assert await taken(store, asked, "rpm") == 1
        await store.aclose()

    asyncio.run(scenario())


def test_a_server_that_forgot_all_lends_what_may_go_at_once_and_no_more(
    server: RedisServer,
) -> None:
    async def scenario() -> None:
        store, asked = opened(server.url), key(rpm=600)
        for _ in range(2):
            assert await spent(store, asked) == 50  # five seconds' worth
            server.do("FLUSHALL")
        await store.aclose()

    asyncio.run(scenario())


async def spent(store: Any, asked: Candidate) -> int:
    """How many go at once: in one turn of the loop, and so at one time of the server's."""
    asks = [store.admit([asked], NOW(), COST) for _ in range(80)]
    return sum(isinstance(answer, Lease) for answer in await asyncio.gather(*asks))


def test_a_day_is_one_for_workers_whose_clocks_see_different_midnights(
    server: RedisServer,
) -> None:
    """One is late by half a minute, as the day ends."""

    async def scenario() -> None:
        midnight = NOW() + 0.4
        asked = key(rpd=10, rpm=1000, request_burst=1000)
        punctual = replace(asked, resets=lambda now: days(midnight, now))
        late = replace(asked, resets=lambda now: days(midnight + 30, now))
        one, other = opened(server.url), opened(server.url)
        assert await spent(one, punctual) == 10
        assert await spent(other, late) == 0
        await asyncio.sleep(max(0.0, midnight - NOW()) + 0.05)
        assert await spent(other, late) + await spent(one, punctual) == 10
        assert await spent(other, late) + await spent(one, punctual) == 0
        await one.aclose()
        await other.aclose()

    asyncio.run(scenario())


def test_L04_a_large_request_of_one_worker_is_not_starved_by_small_ones_of_another(
    server: RedisServer,
) -> None:
    with server.client() as client:
        clock = Clock(client)
        large, small = (direct_store(client, clock) for _ in range(2))
        asked, began, served = key(tpm=6000), clock.now, 0
        asks_at = {large: began + 60, small: began}
        while clock.now < began + 180:
            store = min(asks_at, key=lambda each: asks_at[each])
            clock.set(asks_at[store] + 0.001)
            cost = Tokens(1000, 500) if store is large else Tokens(50, 50)
            answer = done(store.admit([asked], clock.now, cost, 60.0 if store is large else 0.0))
            if store is large and isinstance(answer, Lease):
                break
            if isinstance(answer, Lease):
                served += 1
                store.settle(answer, (), clock.now, cost)
                done(store.flush())
            else:
                asks_at[store] = min(answer.blocked[0].until, clock.now + 0.7)
        assert clock.now < began + 60 + 20
        assert served > 55
        client.flushdb()


def test_L04_a_call_of_one_worker_is_not_starved_of_a_slot_by_another_that_has_always_one(
    server: RedisServer,
) -> None:
    """Who gives a slot back asks for it again in the same moment, the other hears of it later."""
    with server.client() as client:
        clock = Clock(client)
        busy, other = (direct_store(client, clock) for _ in range(2))
        asked = key(max_concurrency=1)
        held, waits_since, waited = done(busy.admit([asked], clock.now, COST)), clock.now, []
        served = 0
        for tick in range(1, 400):
            clock.set(clock.now + 0.1)
            if isinstance(held, Lease) and tick % 3 == 0:
                busy.settle(held, (), clock.now, COST)
                done(busy.flush())
                served += 1
                held = None
            again = done(busy.admit([asked], clock.now, COST, 9.0))  # more calls wait there
            held = again if isinstance(again, Lease) else held
            if tick % 7 == 0:
                answer = done(other.admit([asked], clock.now, COST, 9.0))
                if isinstance(answer, Lease):
                    other.settle(answer, (), clock.now, COST)
                    done(other.flush())
                    waited.append(clock.now - waits_since)
                    waits_since = clock.now
        assert max(waited) < 4.0
        assert served > 60  # of 132, had it been alone
        client.flushdb()


@pytest.mark.parametrize("limits", [{"max_concurrency": 1}, {"tpm": 600, "token_burst": 30}])
def test_who_is_gone_while_it_waited_keeps_others_out_for_seconds(
    server: RedisServer, limits: dict[str, int]
) -> None:
    """Cancelled, killed, or served by another key."""
    with server.client() as client:
        clock = Clock(client)
        busy, gone = (direct_store(client, clock) for _ in range(2))
        asked = key(**limits)
        held = done(busy.admit([asked], clock.now, Tokens(10, 15)))
        for _ in range(3):  # it looks, and looks, and then no more
            assert isinstance(done(gone.admit([asked], clock.now, Tokens(190, 10), 60.0)), Refused)
            clock.set(clock.now + 0.9)
        busy.settle(held, (), clock.now, Tokens(10, 15))
        assert isinstance(done(busy.admit([asked], clock.now, Tokens(1, 1))), Refused)
        clock.set(clock.now + 5.2)
        assert isinstance(done(busy.admit([asked], clock.now, Tokens(1, 1))), Lease)
        client.flushdb()


@pytest.mark.parametrize(
    ("patience_s", "limits"),
    [(0.0, {}), (5.0, {}), (60.0, {"tpd": 300})],
    ids=["looks only", "waits less", "waits for a day"],
)
def test_a_large_request_that_does_not_wait_keeps_nobody_out(
    server: RedisServer, patience_s: float, limits: dict[str, int]
) -> None:
    with server.client() as client:
        clock = Clock(client)
        large, small = (direct_store(client, clock) for _ in range(2))
        asked = key(tpm=600, token_burst=200, **limits)
        asked = replace(asked, resets=lambda now: (now + 9e3, now + 95e3))
        assert isinstance(done(small.admit([asked], clock.now, Tokens(90, 100))), Lease)
        answer = done(large.admit([asked], clock.now, Tokens(90, 60), patience_s))
        assert isinstance(answer, Refused)
        assert answer.blocked[0].until > clock.now + 5.0
        for _ in range(5):
            clock.set(clock.now + 1.0)
            assert isinstance(done(small.admit([asked], clock.now, Tokens(1, 1))), Lease)
        client.flushdb()


def days(first: float, now: float) -> tuple[float, float]:
    day = 86_400.0
    coming = first if now < first else first + day
    return coming, coming + day


def test_a_bucket_is_small_and_everything_ends_by_itself(server: RedisServer) -> None:
    async def scenario() -> None:
        store = opened(server.url)
        asked = key(rpm=1000, tpm=10**6, input_tpm=10**6, output_tpm=10**6, max_concurrency=50)
        leases = [await store.admit([asked], NOW(), COST) for _ in range(50)]
        for lease in leases[:40]:
            store.settle(lease, (), NOW(), COST)
            store.learn(lease, asked.buckets[0], [Reading(0, 5, 600, 30.0)], NOW())
        await store.flush()
        await store.aclose()

    asyncio.run(scenario())
    assert server.do("MEMORY", "USAGE", "{llmrotate}b:key:a") <= 4096
    assert all(server.do("PTTL", name) > 0 for name in server.do("KEYS", "*"))


def test_a_server_that_comes_back_with_its_memory_goes_on_where_it_was() -> None:
    """Restarted from its append-only file."""
    redis = RedisServer("--appendonly", "yes", "--appendfsync", "always")
    try:

        async def scenario() -> None:
            store, asked = opened(redis.url), key(rpm=6, request_burst=6, max_concurrency=3)
            lease = await store.admit([asked], NOW(), COST)
            state = KeyState(Kind.DISABLED, float("inf"), reason="said")
            store.transition([Change("key:b", None, state)], NOW())
            await store.flush()
            redis.kill()
            redis.start()
            other = opened(redis.url)
            await other.catch_up()
            assert other.state("key:b").kind is Kind.DISABLED
            assert await taken(other, asked, "rpm") == 1
            assert await taken(other, asked, "max_concurrency") == 1
            store.settle(lease, (), NOW(), COST)
            await store.flush()
            async with asyncio.timeout(5):
                while await taken(other, asked, "max_concurrency"):
                    await asyncio.sleep(0.05)
                    await store.flush()
            await store.aclose()
            await other.aclose()

        asyncio.run(scenario())
    finally:
        redis.close()


def cut(store: Any, *, is_cut: bool = True) -> None:
    """The server goes away, or is back and heard."""
    store._link.is_cut = is_cut
    if is_cut:
        store.cut_off()
    else:
        done(store.catch_up())


def test_what_is_lent_after_a_cut_is_not_counted_at_the_pace_of_a_part(server: RedisServer) -> None:
    with server.client() as client:
        clock = Clock(client)
        one, *others = (direct_store(client, clock) for _ in range(4))
        asked = key(rpm=600)

        def admitted() -> bool:
            return isinstance(done(one.admit([asked], clock.now, COST)), Lease)

        for each in (*others, one):
            done(each.catch_up())
        cut(one)
        assert admitted()  # of a quarter
        cut(one, is_cut=False)
        for _ in range(600):  # twice a quarter's pace, until the others are gone
            clock.set(clock.now + 0.2)
            assert admitted()
        cut(one)
        assert all(admitted() for _ in range(40))


def test_who_asks_a_server_that_forgot_all_first_is_not_alone(server: RedisServer) -> None:
    with server.client() as client:
        clock = Clock(client)
        one, *others = (direct_store(client, clock) for _ in range(4))
        asked = key(rpm=40, request_burst=40)
        for each in (*others, one):
            done(each.catch_up())
        client.flushall()
        clock.set(clock.now + 25)
        done(one.catch_up())
        cut(one)
        answers = [done(one.admit([asked], clock.now, COST)) for _ in range(40)]
        assert sum(isinstance(each, Lease) for each in answers) == 10


@pytest.mark.parametrize("kind", [Kind.DISABLED, Kind.COOLDOWN])
def test_what_has_no_end_is_kept_by_any_live_worker(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    monkeypatch.setattr("llm_rotate.stores.conversation.KEEP_SECONDS", 0.0)

    async def scenario() -> None:
        here, there = opened(server.url), opened(server.url)
        state = KeyState(kind, float("inf"), reason="said")
        here.transition([Change("key:a", None, state)], NOW())
        await here.flush()
        await here.aclose()
        await there.catch_up()
        lasting = [f"{{llmrotate}}{name}" for name in ("epoch", "count", "changed", "s:key:a")]
        for name in lasting:
            assert server.do("PEXPIRE", name, 60_000) == 1
        await there.catch_up()
        assert all(server.do("PTTL", name) > 29 * 86_400_000 for name in lasting)
        assert 0 < server.do("PTTL", "{llmrotate}workers") <= 60_000
        await there.aclose()

    asyncio.run(scenario())


def test_a_claim_keeps_one_slot_of_many(server: RedisServer) -> None:
    with server.client() as client:
        clock = Clock(client)
        busy, other = (direct_store(client, clock) for _ in range(2))
        asked = key(max_concurrency=3)
        held = [done(busy.admit([asked], clock.now, COST)) for _ in range(3)]
        for _ in range(4):
            assert isinstance(done(other.admit([asked], clock.now, COST, 60.0)), Refused)
            clock.set(clock.now + 1.0)
        for lease in held[:2]:
            busy.settle(lease, (), clock.now, COST)
        done(busy.flush())
        taken = [done(busy.admit([asked], clock.now, COST, 60.0)) for _ in range(2)]
        assert [type(each) for each in taken] == [Lease, Refused]
        assert isinstance(done(other.admit([asked], clock.now, COST, 60.0)), Lease)
        client.flushdb()


def test_a_claim_ends_with_the_patience_of_who_laid_it(server: RedisServer) -> None:
    with server.client() as client:
        clock = Clock(client)
        busy, other = (direct_store(client, clock) for _ in range(2))
        asked = key(max_concurrency=1)
        held = done(busy.admit([asked], clock.now, COST))
        assert isinstance(done(other.admit([asked], clock.now, COST, 0.7)), Refused)
        clock.set(clock.now + 2.5)  # it would hold from 2 s on
        busy.settle(held, (), clock.now, COST)
        done(busy.flush())
        assert isinstance(done(busy.admit([asked], clock.now, COST, 60.0)), Lease)
        client.flushdb()


def test_L04_small_requests_of_one_worker_are_not_starved_by_the_large_ones_of_another(
    server: RedisServer,
) -> None:
    with server.client() as client:
        clock = Clock(client)
        large, small = (direct_store(client, clock) for _ in range(2))
        asked, served = key(tpm=60_000), {large: 0, small: 0}
        costs = {large: Tokens(1_000, 2_000), small: Tokens(50, 50)}
        for _ in range(240):  # a minute
            clock.set(clock.now + 0.25)
            for store, cost in costs.items():
                answer = done(store.admit([asked], clock.now, cost, 9.0))
                if isinstance(answer, Lease):
                    served[store] += 1
                    store.settle(answer, (), clock.now, cost)
        assert served[large] >= 15  # of 20 that the limit holds, and the first burst
        assert served[small] >= 10
        client.flushdb()
