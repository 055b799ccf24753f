"""What state in Redis costs, held against a bare GET of the same server in the same run."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import redis.asyncio

from llm_rotate.config.entries import StateStoreConfig
from llm_rotate.core.bucket import BucketSpec, Tokens
from llm_rotate.core.keystate import Change, KeyState, Kind
from llm_rotate.core.outcome import Scope
from llm_rotate.core.pool import Candidate, Lease, StateStore
from llm_rotate.engine.clock import RealClock
from llm_rotate.engine.state import open_store
from llm_rotate.stores import conversation
from llm_rotate.stores.errands import Ask
from llm_rotate.stores.memory import MemoryStore
from tests.redis_server import RedisServer

CLOCK = RealClock()
COST = Tokens(100, 200)
PLENTY = 10**9
TASKS = 64
ROUNDS = 7


def candidates(count: int) -> list[Candidate]:
    """Keys with limits on requests and tokens that hold all that is asked for here."""
    return [
        Candidate(
            i,
            f"k{i}",
            ("provider:openai", f"key:k{i}", f"key:k{i}|model:m"),
            {Scope.KEY: f"key:k{i}"},
            (BucketSpec(f"key:k{i}", rpm=PLENTY, tpm=PLENTY),),
        )
        for i in range(count)
    ]


async def memory_admissions(keys: Sequence[Candidate], store: MemoryStore, count: int) -> int:
    """One after another, each of another key."""
    now = CLOCK.now()
    for i in range(count):
        answer = await store.admit((keys[i % len(keys)],), now, COST)
        assert isinstance(answer, Lease)
    return count


@asynccontextmanager
async def shared_store(server: RedisServer) -> AsyncIterator[StateStore]:
    config = StateStoreConfig(backend="redis", redis_url=server.url, store_timeout_ms=5000)
    store = open_store(config, CLOCK)
    try:
        yield store
    finally:
        await store.aclose()


async def medians(works: dict[str, Callable[[], Awaitable[Any]]], rounds: int) -> dict[str, float]:
    """Milliseconds of each, taken in turn."""
    took: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            began = time.perf_counter()
            await work()
            took[name].append((time.perf_counter() - began) * 1e3)
    return {name: statistics.median(times[rounds // 10 :]) for name, times in took.items()}


async def latencies(server: RedisServer) -> dict[str, float]:
    """A bare GET, and one admission among three candidates with and without limits."""
    limited = candidates(3)
    plain = [
        Candidate(one.index + 10, f"p{one.index}", (f"key:p{one.index}",), one.scopes)
        for one in limited
    ]
    async with shared_store(server) as store, redis.asyncio.Redis(port=server.port) as bare:

        async def admit(keys: list[Candidate]) -> None:
            lease = await store.admit(keys, CLOCK.now(), COST)
            assert isinstance(lease, Lease)
            lent.append(lease)

        lent: list[Lease] = []
        found = await medians(
            {
                "GET": lambda: bare.get("nothing"),
                "plain": lambda: admit(plain),
                "limited": lambda: admit(limited),
            },
            3000,
        )
        settling = await medians({"settle": lambda: _settle(store, lent)}, 100)
        return {**found, **settling}


async def _settle(store: StateStore, lent: list[Lease]) -> None:
    """The caller's part of a settling."""
    store.settle(lent.pop(), (), CLOCK.now(), COST)


async def at_once(server: RedisServer) -> dict[str, float]:
    """Admissions of 64 tasks in a second: those of one turn in one call; with a call each; and
    as bare calls over a connection each, whose words were made before.
    """
    keys = candidates(3)
    async with shared_store(server) as store:
        lease = await store.admit(keys, CLOCK.now(), COST)
        assert isinstance(lease, Lease)
        command = store.outgoing([Ask("bench", keys, cost=COST)], CLOCK.now())[-1]  # type: ignore[attr-defined]
        pool = redis.asyncio.BlockingConnectionPool(max_connections=TASKS, port=server.port)
        async with redis.asyncio.Redis(connection_pool=pool) as bare:
            sha = await bare.script_load(command.script.text)
            numbers = iter(range(10**9))

            async def one() -> None:
                args = [*command.args[:-1], f"x{next(numbers)} {command.args[-1].split(' ', 1)[1]}"]
                await bare.evalsha(sha, len(command.keys), *command.keys, *args)

            async def ours() -> None:
                assert isinstance(await store.admit(keys, CLOCK.now(), COST), Lease)

            await _per_second(one, 5)
            rates: dict[str, list[float]] = {"bare": [], "each": [], "together": []}
            for _ in range(ROUNDS):
                rates["bare"].append(await _per_second(one, 10))
                with a_call_each():
                    rates["each"].append(await _per_second(ours, 10))
                rates["together"].append(await _per_second(ours, 50))
            return {name: statistics.median(found) for name, found in rates.items()}


@contextmanager
def a_call_each() -> Iterator[None]:
    most, conversation.MOST_OPS = conversation.MOST_OPS, 1
    try:
        yield
    finally:
        conversation.MOST_OPS = most


async def _per_second(one: Callable[[], Awaitable[None]], times: int) -> float:
    async def task() -> None:
        for _ in range(times):
            await one()

    began = time.perf_counter()
    await asyncio.gather(*(task() for _ in range(TASKS)))
    return TASKS * times / (time.perf_counter() - began)


async def among_blocked(server: RedisServer) -> dict[str, float]:
    """A thousand keys of which all but ten rest: what is asked of the server, cold and warm."""
    server.do("FLUSHALL")
    keys = candidates(1000)
    rests = [
        Change(f"key:k{i}", None, KeyState(Kind.COOLDOWN, CLOCK.now() + 600)) for i in range(990)
    ]
    async with shared_store(server) as store:
        store.transition(rests, CLOCK.now())
        await store.flush()
    cold = statistics.median([await first_look(server) for _ in range(ROUNDS)])
    async with shared_store(server) as store, redis.asyncio.Redis(port=server.port) as bare:
        await store.catch_up()
        ready = [each for each in keys if store.state(f"key:{each.key_id}").kind is Kind.ACTIVE]
        assert len(ready) == 10

        async def warm() -> None:
            assert isinstance(await store.admit(ready[:8], CLOCK.now(), COST), Lease)

        found = await medians({"GET": lambda: bare.get("nothing"), "warm": warm}, 1500)
        return {**found, "cold": cold}


async def first_look(server: RedisServer) -> float:
    """Milliseconds until a new process knows every state, connecting included."""
    async with shared_store(server) as store:
        began = time.perf_counter()
        await store.catch_up()
        return (time.perf_counter() - began) * 1e3
