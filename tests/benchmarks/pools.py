"""The pools and the bare clients that are held against each other."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx

from llm_rotate import LMRotate
from llm_rotate.arguments import Steering
from llm_rotate.config import LMRotateConfig
from llm_rotate.core.outcome import Outcome
from llm_rotate.core.pool import Lease
from llm_rotate.core.wire import Verdict
from llm_rotate.engine.run import Grant
from llm_rotate.engine.stages import Stage
from llm_rotate.types import ChatResponse, Usage

MODEL = "gpt-4o-mini"
MESSAGES = [{"role": "user", "content": "What is the capital of France?"}]
BODY = {"model": MODEL, "messages": MESSAGES}
IN_FLIGHT = 64


def pool(url: str, keys: int = 3, **first: Any) -> LMRotate:
    """A pool of ``keys`` keys. ``first``: fields of the first key."""
    entries: list[dict[str, Any]] = [
        {"key_id": f"k{i}", "provider": "openai", "secret_ref": f"literal://sk-bench-{i}"}
        for i in range(keys)
    ]
    entries[0].update(first)
    return LMRotate(
        LMRotateConfig.model_validate({"providers": {"openai": {"base_url": url}}, "keys": entries})
    )


async def chats(lm: LMRotate, count: int) -> int:
    for _ in range(count):
        await lm.chat(MODEL, MESSAGES)
    return count


async def chats_at_once(lm: LMRotate, count: int) -> int:
    await asyncio.gather(*(chats(lm, count // IN_FLIGHT) for _ in range(IN_FLIGHT)))
    return count


async def rows(lm: LMRotate, count: int) -> int:
    """Of a batch, without end for all it knows."""
    asked = (MESSAGES for _ in range(count))
    async for _ in lm.as_completed(MODEL, asked, max_parallel_requests=IN_FLIGHT):
        pass
    return count


async def posts(client: httpx.AsyncClient, url: str, count: int) -> int:
    headers = {"authorization": "Bearer sk-bench-0"}
    for _ in range(count):
        response = await client.post(f"{url}/chat/completions", json=BODY, headers=headers)
        response.json()
    return count


async def pool_chunks(lm: LMRotate, streams: int) -> int:
    seen = 0
    for _ in range(streams):
        async for _chunk in lm.chat_stream(MODEL, MESSAGES):
            seen += 1
    return seen


async def bare_chunks(client: httpx.AsyncClient, url: str, streams: int) -> int:
    seen = 0
    for _ in range(streams):
        async with client.stream("POST", f"{url}/chat/completions", json=BODY) as response:
            async for line in response.aiter_lines():
                if line.startswith("data: {"):
                    json.loads(line[6:])
                    seen += 1
    return seen


async def pool_first(lm: LMRotate, streams: int) -> int:
    for _ in range(streams):
        async with lm.chat_stream(MODEL, MESSAGES) as stream:
            await anext(stream)
    return streams


async def bare_first(client: httpx.AsyncClient, url: str, streams: int) -> int:
    for _ in range(streams):
        async with client.stream("POST", f"{url}/chat/completions", json=BODY) as response:
            async for line in response.aiter_lines():
                if line.startswith("data: {"):
                    json.loads(line[6:])
                    break
    return streams


ANSWER, USAGE = ChatResponse(""), Usage(9, 72, 81)


class _Nothing:
    """An exchange without dialect and transport: what is left is engine, core and store."""

    def prepare(self, stage: Stage) -> None:
        """Nothing to prepare."""

    async def __call__(self, grant: Grant) -> Verdict[ChatResponse]:
        grant.go()
        return Verdict(Outcome.OK, ANSWER, USAGE)


async def turns_of_the_loop(lm: LMRotate, count: int) -> int:
    """The whole path of a call but dialect and transport."""
    whole = lm._pool
    for _ in range(count):
        plan = lm._plan(MODEL, Steering(), None)
        verdict, run = await whole.rotation.run(plan, _Nothing())
        whole.judge.answered(run, verdict)
    return count


async def selections(lm: LMRotate, count: int) -> int:
    """Whose turn it is, may it go, taking the turn, giving it back."""
    stage, store = lm._pool.stages(MODEL, None, None)[0], lm._pool.store
    now = time.monotonic()
    for _ in range(count):
        lease = await store.admit(stage.window(now, 1, (), None), now)
        assert isinstance(lease, Lease)
        stage.charge(lease.candidate.index)
        store.settle(lease, (), now)
    return count
