"""One batch of short prompts, by name of the package: run by any interpreter that has it.

Prints a JSON object of microseconds a row: the process's CPU, and the wall's time.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import time
from typing import Any

IN_FLIGHT = 64
PLENTY = 10**9  # a minute, of requests and of tokens: counted by all three, in nobody's way


async def llm_rotate(url: str, prompts: list[str]) -> list[Any]:
    key = {"key_id": "k", "provider": "openai", "secret_ref": "literal://sk-bench"}
    keys = [{**key, "limits": {"rpm": PLENTY, "tpm": PLENTY}}]
    config = {"providers": {"openai": {"base_url": url}}, "keys": keys}
    valid = importlib.import_module("llm_rotate.config").LMRotateConfig.model_validate(config)
    async with importlib.import_module("llm_rotate").LMRotate(valid) as pool:
        done = await pool.chat_batch("gpt-4o-mini", prompts, max_parallel_requests=IN_FLIGHT)
    return [one.content for one in done.results]


async def lm_deluge(url: str, prompts: list[str]) -> list[Any]:
    os.environ["BENCH_KEY"] = "sk-bench"
    models = importlib.import_module("lm_deluge.models")
    if "bench" not in models.registry:
        models.register_model("bench", "gpt-4o-mini", url, "BENCH_KEY")
    client = importlib.import_module("lm_deluge").LLMClient(
        "bench",
        max_requests_per_minute=PLENTY,
        max_tokens_per_minute=PLENTY,
        max_concurrent_requests=IN_FLIGHT,
    )
    done = await client.process_prompts_async(prompts, show_progress=False)
    return [one.completion for one in done]


async def infermesh(url: str, prompts: list[str]) -> list[Any]:
    client = importlib.import_module("infermesh").LMClient(
        model="openai/gpt-4o-mini",
        api_base=url,
        api_key="sk-bench",
        max_parallel_requests=IN_FLIGHT,
        rpm=PLENTY,
        tpm=PLENTY,
    )
    done = await client.agenerate_batch(prompts)
    return [one.output_text for one in done.results]


async def main(package: str, url: str, rows: int) -> None:
    batch, prompts = globals()[package], [f"What is {n} and {n}?" for n in range(rows)]
    await batch(url, prompts[:IN_FLIGHT])  # imports and warms up
    cpu, wall = time.process_time(), time.perf_counter()
    answers = await batch(url, prompts)
    took = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    assert len(answers) == rows
    assert all(answers), "rows failed"
    print(json.dumps({name: seconds / rows * 1e6 for name, seconds in took.items()}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
