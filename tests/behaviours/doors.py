"""The same pool over real sockets; and streams whose every byte a test decides."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from llm_rotate import LMRotate, StreamChunk
from llm_rotate.engine.pool import Seams
from llm_rotate.testing import Simulator
from llm_rotate.testing.exchange import Chunk, End, SimAnswer
from llm_rotate.testing.pool import pool_config, providers_of

from .world import HELLO, MODELS, World

SSE = (("content-type", "text/event-stream"),)


class NoJitter(random.Random):
    """Dice that make every back-off last no time."""

    def uniform(self, a: float, b: float) -> float:
        return a


class Sockets:
    """A World's face over the loopback server, in real time. Retries do not sleep."""

    def __init__(
        self,
        sim: Simulator,
        keys: Any = ("k1", "k2", "k3"),
        *,
        provider: str = "openai",
        strategy: Any = "priority",
        priorities: Any = None,
        defaults: Any = None,
        edit: Callable[[Any], Any] = lambda config: config,
    ) -> None:
        self.sim = sim
        self.provider = provider
        self.model = MODELS.get(provider, "m")
        self.config = edit(
            pool_config(
                providers_of(keys, provider),
                sim.url,
                sim.secret,
                priorities or {},
                fallback_chains={},
                defaults={"selection_strategy": strategy, **(defaults or {})},
            )
        )
        self.lm = LMRotate(self.config, seams=Seams(rng=NoJitter()))

    def run(self, scenario: Callable[[], Awaitable[Any]]) -> Any:
        async def whole() -> Any:
            async with self.lm:
                result = await scenario()
                await asyncio.sleep(0)
            return result

        result = asyncio.run(whole())
        self.check_idle()
        return result

    def check_idle(self) -> None:
        """No lease, no waiter; at the server no exchange and no connection."""
        judge = self.lm._pool.judge
        assert not judge.live
        assert not judge.bell._waiting
        assert self.sim.wait_idle()
        assert wait_until(lambda: self.sim.open_connections == 0)

    async def chat(self, **arguments: Any) -> Any:
        return await self.lm.chat(arguments.pop("model", self.model), HELLO, **arguments)


@contextmanager
def sockets(**arguments: Any) -> Iterator[Sockets]:
    with Simulator().serve() as sim:
        yield Sockets(sim, **arguments)


@contextmanager
def fake_time(**arguments: Any) -> Iterator[World]:
    yield World(**{"strategy": "priority", **arguments})


DOORS: dict[str, Callable[..., Any]] = {"fake time": fake_time, "sockets": sockets}


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Polls what no event tells of; for real sockets and threads only."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.002)
    return True


def sends(
    sim: Simulator,
    *streams: Sequence[bytes | float],
    end: End = End.CLEAN,
    delay: float = 0.0,
) -> None:
    """The next requests get these streams under 200; a number is a pause in seconds, as is
    ``delay``, before the headers.
    """
    planned, answer = deque(streams), sim.answer

    def answer_or_planned(*request: Any) -> SimAnswer:
        given = answer(*request)
        if not planned:
            return given
        chunks = tuple(_chunks(planned.popleft()))
        return replace(
            given, status=200, headers=SSE, chunks=chunks, end=end, stream=True, delay=delay
        )

    sim.answer = answer_or_planned  # type: ignore[method-assign]


def _chunks(stream: Sequence[bytes | float]) -> Iterator[Chunk]:
    pause = 0.0
    for part in stream:
        if isinstance(part, bytes):
            yield Chunk(part, pause)
            pause = 0.0
        else:
            pause += part


async def read(stream: Any, into: list[StreamChunk]) -> list[StreamChunk]:
    """All chunks; those that came before an exception are in ``into``."""
    async for chunk in stream:
        into.append(chunk)
    return into


def text(chunks: Sequence[StreamChunk]) -> str:
    return "".join(chunk.delta for chunk in chunks)


def asked(world: Any) -> list[str]:
    """The keys that the server saw, in order."""
    return [seen.key for seen in world.sim.log]
