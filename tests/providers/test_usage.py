"""Tokens mean the same at every provider: the prompt includes what was cached, the completion
what was thought, the total is both; the provider's own figures stand beside."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llm_rotate.core.wire import ChatRequest, Headers
from llm_rotate.providers import DIALECTS, dialect
from llm_rotate.types import Usage

from .test_recorded import expected, read


def usage_of(name: str, figures: dict[str, Any]) -> Usage:
    """What a dialect makes of a provider's figures."""
    answers = {
        "openai": {"choices": [{"message": {"content": "x"}}], "usage": figures},
        "openai_responses": {"output": [], "status": "completed", "usage": figures},
        "anthropic": {"content": [], "usage": figures},
        "gemini": {
            "candidates": [{"content": {"parts": [{"text": "x"}]}}],
            "usageMetadata": figures,
        },
        "bedrock": {"output": {"message": {"content": []}}, "usage": figures},
    }
    raw = json.dumps(answers[name]).encode()
    verdict = dialect(name).parse(ChatRequest("m", []), 200, Headers(()), raw, 0.0)
    assert verdict.value is not None
    return verdict.value.usage


# Who says it -> (dialect, its figures, prompt, completion, total, cached, reasoning, audio)
SAID = {
    "OpenAI with all there is": (
        "openai",
        {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150,
         "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 20},
         "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 5}},
        (100, 50, 150, 64, 30, 25),
    ),
    "xAI, whose completion leaves reasoning out": (
        "openai",
        {"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 135,
         "completion_tokens_details": {"reasoning_tokens": 94}},
        (32, 103, 135, 0, 94, 0),
    ),
    "Gemini in OpenAI's words, whose thinking shows in the total alone": (
        "openai",
        {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 40},
        (10, 30, 40, 0, 0, 0),
    ),
    "DeepSeek's older figures": (
        "openai",
        {"prompt_tokens": 976, "completion_tokens": 61, "total_tokens": 1037,
         "prompt_cache_hit_tokens": 896, "prompt_cache_miss_tokens": 80},
        (976, 61, 1037, 896, 0, 0),
    ),
    "Moonshot": (
        "openai",
        {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25, "cached_tokens": 16},
        (20, 5, 25, 16, 0, 0),
    ),
    "no total": ("openai", {"prompt_tokens": 3, "completion_tokens": 2}, (3, 2, 5, 0, 0, 0)),
    "an embedding's": ("openai", {"prompt_tokens": 3, "total_tokens": 3}, (3, 0, 3, 0, 0, 0)),
    "OpenAI's responses": (
        "openai_responses",
        {"input_tokens": 100, "output_tokens": 50, "total_tokens": 150,
         "input_tokens_details": {"cached_tokens": 64},
         "output_tokens_details": {"reasoning_tokens": 30}},
        (100, 50, 150, 64, 30, 0),
    ),
    "Bedrock, whose input leaves the cache out": (
        "bedrock",
        {"inputTokens": 10, "outputTokens": 40, "totalTokens": 100, "cacheReadInputTokens": 30,
         "cacheWriteInputTokens": 20},
        (60, 40, 100, 30, 0, 0),
    ),
    "Gemini, whose candidates leave thoughts out": (
        "gemini",
        {"promptTokenCount": 100, "cachedContentTokenCount": 60, "candidatesTokenCount": 20,
         "thoughtsTokenCount": 30, "toolUsePromptTokenCount": 7, "totalTokenCount": 157,
         "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 40}]},
        (107, 50, 157, 60, 30, 40),
    ),
    "Anthropic, whose input leaves the cache out": (
        "anthropic",
        {"input_tokens": 10, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 30,
         "output_tokens": 40, "output_tokens_details": {"thinking_tokens": 15}},
        (60, 40, 100, 30, 15, 0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("who", SAID)
def test_tokens_mean_the_same_whoever_counts_them(who: str) -> None:
    name, figures, counts = SAID[who]
    usage = usage_of(name, figures)
    assert (
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.total_tokens,
        usage.cached_tokens,
        usage.reasoning_tokens,
        usage.audio_tokens,
    ) == counts
    assert usage.raw == figures


@pytest.mark.parametrize("name", [*expected()])
def test_a_real_answers_tokens_add_up(name: str) -> None:
    usage = read(name)[0].value.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert 0 <= usage.cached_tokens <= usage.prompt_tokens
    assert 0 <= usage.reasoning_tokens <= usage.completion_tokens
    assert usage.raw is not None or usage.total_tokens == 0


REAL = {
    "deepseek/chat_reasoning_content": (896, 25),
    "groq/sse_reasoning_tools": (0, 23),
}


@pytest.mark.parametrize("name", [name for name in REAL if name in expected()])
def test_a_real_answer_tells_what_was_cached_and_thought(name: str) -> None:
    usage = read(name)[0].value.usage
    assert (usage.cached_tokens, usage.reasoning_tokens) == REAL[name]


@pytest.mark.parametrize("said", [10**18, 10**30, -1, True, "5", None])
def test_what_can_be_no_number_of_tokens_counts_as_none(said: Any) -> None:
    """Sums of them are shared, and a server that adds them up takes 64 bits."""
    assert usage_of("openai", {"prompt_tokens": said, "completion_tokens": 4}).total_tokens == 4


def test_every_dialect_has_figures_here() -> None:
    assert {name for name, *_ in SAID.values()} == set(DIALECTS)
