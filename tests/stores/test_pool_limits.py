"""The limits of all keys together hold for all the workers that share a state."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llm_rotate import ChatResponse, LMRotate, LMRotateConfig, NoAvailableKeyError
from llm_rotate.testing import Simulator
from tests.redis_server import RedisServer


def test_two_pools_of_two_keys_keep_one_limit(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.do("FLUSHALL")
    monkeypatch.setenv("SECRET", "sk-sim-a")

    def pool(sim: Simulator) -> LMRotate:
        key = {"provider": "openai", "secret_ref": "env://SECRET", "base_url": sim.url("openai")}
        store = {"backend": "redis", "redis_url": server.url, "store_timeout_ms": 5000}
        return LMRotate(
            LMRotateConfig.model_validate(
                {
                    "keys": [{"key_id": name, **key} for name in ("a", "b")],
                    "limits": {"rpd": 30},
                    "state_store": store,
                }
            )
        )

    async def scenario(sim: Simulator) -> list[Any]:
        pools = [pool(sim), pool(sim)]
        messages = [{"role": "user", "content": "x"}]
        calls = [pools[n % 2].chat("gpt-4o-mini", messages, max_wait_seconds=0) for n in range(50)]
        found = await asyncio.gather(*calls, return_exceptions=True)
        for each in pools:
            await each.close()
        return found

    with Simulator().serve() as sim:
        found = asyncio.run(scenario(sim))
        assert sim.requests() == 30
    assert sum(isinstance(each, ChatResponse) for each in found) == 30
    assert sum(isinstance(each, NoAvailableKeyError) for each in found) == 20
