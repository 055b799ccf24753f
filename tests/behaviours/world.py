"""A pool in a fake time, over the simulator's door without sockets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from llm_rotate import ChatResponse, LMRotate
from llm_rotate.engine.pool import Seams
from llm_rotate.testing import FakeTime, Simulator, run_fake
from llm_rotate.testing.memory import MemoryTransport
from llm_rotate.testing.pool import pool_config, providers_of
from llm_rotate.testing.routes import base_path

HOST = "http://simulator.invalid"  # never looked up
HELLO = [{"role": "user", "content": "hello"}]
MODELS = {
    "openai": "gpt-4o-mini",
    "anthropic": "claude-haiku-4-5",
    "google_ai_studio": "gemini-2.5-flash",
    "google_vertex": "gemini-2.5-flash",
    "openai_responses": "gpt-5-mini",
    "azure_openai": "gpt-4o-mini",
    "openrouter": "vendor/model",
    "aws_bedrock": "us.anthropic.claude-haiku-4-5-20251001-v1:0",
}


class World:
    """One simulator, one clock, one transport, one pool."""

    def __init__(
        self,
        keys: Sequence[str] | Mapping[str, str] = ("k1", "k2", "k3"),
        *,
        provider: str = "openai",
        strategy: Any = "round_robin",
        priorities: Mapping[str, int] | None = None,
        fallback_chains: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
        defaults: Mapping[str, Any] | None = None,
        seed: int = 1,
        connect_s: float = 0.0,
        edit: Callable[[Any], Any] = lambda config: config,
    ) -> None:
        self.sim = Simulator()
        self.clock = FakeTime()
        self.provider = provider
        self.model = MODELS.get(provider, "m")
        self.transport: MemoryTransport = self.sim.memory_transport(connect_s=connect_s)
        self.config = edit(
            pool_config(
                providers_of(keys, provider),
                lambda name: HOST + base_path(name),
                self.sim.secret,
                priorities or {},
                fallback_chains=fallback_chains or {},
                defaults={"selection_strategy": strategy, **(defaults or {})},
            )
        )
        seams = Seams(self.clock, random.Random(seed), open_transport=lambda: self.transport)
        self.lm = LMRotate(self.config, seams=seams)

    def run(self, scenario: Callable[[], Awaitable[Any]]) -> Any:
        """Runs ``scenario`` in the fake time and checks that nothing is left behind."""

        async def whole() -> Any:
            result = await scenario()
            await asyncio.sleep(0)
            return result

        result = run_fake(whole(), self.clock)
        self.check_idle()
        return result

    def check_idle(self) -> None:
        """No lease, no waiter, no open answer."""
        judge = self.lm._pool.judge
        assert not judge.live
        assert not judge.bell._waiting
        assert self.transport.open == 0

    async def chat(self, **arguments: Any) -> ChatResponse:
        return await self.lm.chat(arguments.pop("model", self.model), HELLO, **arguments)

    async def gather(self, count: int, **arguments: Any) -> list[Any]:
        calls = [self.chat(**arguments) for _ in range(count)]
        return await asyncio.gather(*calls, return_exceptions=True)

    def served(self) -> dict[str, int]:
        """Requests that the server saw, by key."""
        return {key: self.sim.requests(key) for key in self.lm._pool.assembly.keys}
