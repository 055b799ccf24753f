"""The benchmarks reach inside: what they reach for is there."""

from __future__ import annotations

import asyncio

from llm_rotate.stores.memory import MemoryStore
from tests.redis_server import RedisServer

from . import pools, shared


def test_what_is_measured_runs() -> None:
    async def scenario() -> None:
        lm = pools.pool("http://127.0.0.1:9")
        assert await pools.turns_of_the_loop(lm, 2) == 2
        assert await pools.selections(lm, 2) == 2
        assert await shared.memory_admissions(shared.candidates(3), MemoryStore(), 4) == 4
        await lm.close()

    asyncio.run(scenario())


def test_what_is_measured_of_redis_runs() -> None:
    server = RedisServer()
    try:
        assert asyncio.run(shared.first_look(server)) > 0
    finally:
        server.close()
