"""Gemini through a pool, held against the bare google-genai SDK."""

from __future__ import annotations

from typing import Any

from google import genai

from llm_rotate import LMRotate
from llm_rotate.config import LMRotateConfig

MODEL = "gemini-2.5-flash"
QUESTION = "What is the capital of France?"
MESSAGES = [{"role": "user", "content": QUESTION}]


def pool(url: str) -> LMRotate:
    keys = [
        {"key_id": f"g{i}", "provider": "google_ai_studio", "secret_ref": f"literal://sk-bench-{i}"}
        for i in range(3)
    ]
    providers = {"google_ai_studio": {"base_url": url}}
    return LMRotate(LMRotateConfig.model_validate({"providers": providers, "keys": keys}))


def bare(url: str) -> Any:
    """The SDK as its own pages make it."""
    options = genai.types.HttpOptions(base_url=url, api_version="v1beta")
    return genai.Client(vertexai=False, api_key="sk-bench-0", http_options=options)


async def chats(lm: LMRotate, count: int) -> int:
    for _ in range(count):
        await lm.chat(MODEL, MESSAGES)
    return count


async def contents(lm: LMRotate, count: int) -> int:
    for _ in range(count):
        await lm.generate_content(MODEL, QUESTION)
    return count


async def bare_contents(client: Any, count: int) -> int:
    for _ in range(count):
        answer = await client.aio.models.generate_content(model=MODEL, contents=QUESTION)
        assert answer.text
    return count


async def chunks(lm: LMRotate, streams: int) -> int:
    seen = 0
    for _ in range(streams):
        async for _chunk in lm.chat_stream(MODEL, MESSAGES):
            seen += 1
    return seen


async def bare_chunks(client: Any, streams: int) -> int:
    seen, ask = 0, client.aio.models.generate_content_stream
    for _ in range(streams):
        async for chunk in await ask(model=MODEL, contents=QUESTION):
            seen += bool(chunk.text)
    return seen
