"""Pools that share a real Redis and a simulated provider, over real sockets in real time."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from llm_rotate import LMRotate, LMRotateConfig
from llm_rotate.engine.pool import Seams
from llm_rotate.testing import Simulator
from llm_rotate.testing.pool import pool_config, providers_of

from .doors import NoJitter
from .world import HELLO

MODEL = "gpt-4o-mini"
PATIENT_MS = 5_000  # a busy machine is no server that is away
QUICK = {"store_timeout_ms": 250}  # as it is where nobody says
LINES = "llm_rotate"


def registry(sim: Simulator, url: str, keys: Any = ("a", "b", "c"), **store: Any) -> Any:
    """A configuration whose health lies at ``url``."""
    return pool_config(
        providers_of(keys, "openai"),
        sim.url,
        sim.secret,
        {},
        fallback_chains={},
        defaults={"selection_strategy": "round_robin"},
        state_store={
            "backend": "redis",
            "redis_url": url,
            "store_timeout_ms": PATIENT_MS,
            **store,
        },
    )


def worker(sim: Simulator, url: str, **more: Any) -> LMRotate:
    return LMRotate(registry(sim, url, **more), seams=Seams(rng=NoJitter()))


async def served(lm: LMRotate, calls: int = 6, **more: Any) -> list[str | None]:
    """The keys that served ``calls`` calls, one after another."""
    return [(await lm.chat(MODEL, HELLO, **more)).key_id for _ in range(calls)]


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged of the store, in short."""
    found = [each for each in caplog.records if each.name == LINES]
    assert all(each.levelno == logging.WARNING for each in found)
    return ["back" if "is back" in each.getMessage() else "away" for each in found]


async def until(true: Any, seconds: float = 3.0) -> None:
    """Waits for what must come to be."""
    async with asyncio.timeout(seconds):
        while not await true():  # noqa: ASYNC110 - it is asked of a server
            await asyncio.sleep(0.01)


# -- other processes


class Process:
    """A worker in a process of its own, told one thing at a time."""

    def __init__(self, config: Any) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, there = spawn.Pipe()
        self.process = spawn.Process(target=_work, args=(there, config), daemon=True)
        self.process.start()

    def tell(self, word: str, *args: Any) -> None:
        self._pipe.send((word, args))

    def hear(self, seconds: float = 15.0) -> Any:
        assert self._pipe.poll(seconds), "the worker says nothing"
        answer = self._pipe.recv()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def do(self, word: str, *args: Any) -> Any:
        self.tell(word, *args)
        return self.hear()


@contextmanager
def processes(count: int, config: dict[str, Any]) -> Iterator[list[Process]]:
    workers = [Process(config) for _ in range(count)]
    try:
        for each in workers:
            assert each.hear() == "ready"
        yield workers
    finally:
        for each in workers:
            each.process.kill()
            each.process.join()


def _work(pipe: Any, config: dict[str, Any]) -> None:
    lm = LMRotate(LMRotateConfig.model_validate(config))
    asyncio.run(_serve(pipe, lm))


async def _serve(pipe: Any, lm: LMRotate) -> None:
    loop = asyncio.get_running_loop()
    await lm.health()
    pipe.send("ready")
    while True:
        word, args = await loop.run_in_executor(None, pipe.recv)
        try:
            pipe.send(await _WORDS[word](lm, *args))
        except Exception as error:
            pipe.send(RuntimeError(repr(error)))


async def _chat(lm: LMRotate, calls: int) -> Any:
    return await served(lm, calls)


async def _herd(lm: LMRotate, calls: int) -> Any:
    answers = await asyncio.gather(*(lm.chat(MODEL, HELLO) for _ in range(calls)))
    return [answer.key_id for answer in answers]


async def _keys(lm: LMRotate, what: str, *args: Any) -> None:
    await getattr(lm.keys, what)(*args)


async def _health(lm: LMRotate) -> Any:
    report = await lm.health()
    return {
        key_id: (key.state, key.failures, {name: s.state for name, s in key.scopes.items()})
        for key_id, key in report.providers["openai"].keys.items()
    }


async def _patient(lm: LMRotate, seconds: float) -> Any:
    """One call that may wait; how long it took, and who served it."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    answer = await lm.chat(MODEL, HELLO, max_wait_seconds=seconds)
    return answer.key_id, loop.time() - began


async def _usage(lm: LMRotate) -> Any:
    return await lm.usage_summary()


async def _rooms(lm: LMRotate) -> Any:
    limits = (await lm.health()).providers["openai"].keys["a"].limits["key"]
    return {name: (room.taken, room.limit) for name, room in limits.items()}


_WORDS = {
    "chat": _chat,
    "herd": _herd,
    "keys": _keys,
    "health": _health,
    "patient": _patient,
    "usage": _usage,
    "rooms": _rooms,
}


def shipped(sim: Simulator, url: str, keys: Any = ("a", "b", "c"), **store: Any) -> dict[str, Any]:
    """A configuration fit to be sent to another process."""
    config = registry(sim, url, keys, **store)
    return {
        "providers": {"openai": {"base_url": sim.url("openai")}},
        "keys": [
            {"key_id": key, "provider": "openai", "secret_ref": f"literal://{sim.secret(key)}"}
            for key in keys
        ],
        "defaults": {"selection_strategy": "round_robin"},
        "state_store": {
            "backend": "redis",
            "redis_url": url,
            "redis_namespace": config.state_store.redis_namespace,
            "store_timeout_ms": config.state_store.store_timeout_ms,
        },
    }
