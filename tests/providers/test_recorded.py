"""Real answers of providers read as they should be. Skipped where the recordings are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llm_rotate.core.outcome import Outcome
from llm_rotate.core.wire import ChatRequest, Headers, Verdict
from llm_rotate.providers import dialect
from llm_rotate.types import StreamChunk

FOLDER = Path(__file__).parents[3] / "shared" / "recorded"
DIALECT = {
    "openai": "openai",
    "azure": "openai",
    "openrouter": "openai",
    "groq": "openai",
    "deepseek": "openai",
    "anthropic": "anthropic",
    "gemini": "gemini",
    "bedrock": "bedrock",
}
FAULTS = {
    "openai/err_429_rpm": (Outcome.RATE_LIMITED, 20.0, False),
    "openai/err_429_insufficient_quota": (Outcome.QUOTA_EXHAUSTED, None, False),
    "openai/err_404_model": (Outcome.MODEL_NOT_FOUND, None, False),
    "openai/err_401": (Outcome.AUTH_FAILED, None, True),
    "azure/err_401": (Outcome.AUTH_FAILED, None, False),
    "openrouter/err_429_upstream": (Outcome.RATE_LIMITED, None, False),
    "openrouter/sse_midstream_error": (Outcome.BAD_REQUEST, None, False),
    "anthropic/err_429_rate_limit": (Outcome.RATE_LIMITED, 30.0, False),
    "anthropic/err_529_overloaded": (Outcome.OVERLOADED, None, False),
    "anthropic/err_401": (Outcome.AUTH_FAILED, None, True),
    "gemini/err_400_api_key_invalid": (Outcome.AUTH_FAILED, None, True),
    "gemini/err_429_daily_quota": (Outcome.QUOTA_EXHAUSTED, None, False),
    "gemini/err_429_retry_5s": (Outcome.QUOTA_EXHAUSTED, None, False),  # a day's, whatever it says
    "bedrock/err_400_model": (Outcome.MODEL_NOT_FOUND, None, False),
}
FINISH = {"gemini/gen_prompt_blocked": "MODEL_ARMOR"}  # the SDK puts words of its own around it
WALL = 1_711_483_170.0  # half a minute before the reset in anthropic/err_429_rate_limit

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="no recordings here")


def expected() -> dict[str, Any]:
    path = FOLDER / "expect.json"
    found = json.loads(path.read_text()) if path.is_file() else {}
    return {k: v for k, v in found.items() if k.split("/")[0] in DIALECT and "text" in v}


def recorded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found


def headers_of(record: dict[str, Any]) -> Headers:
    return Headers([(k.encode(), v.encode()) for k, v in record["headers"].items()])


def read(name: str, step: int = 0) -> tuple[Verdict[Any], list[StreamChunk]]:
    """The verdict on a recording and its chunks, a stream fed ``step`` bytes at a time."""
    record, chosen = recorded(name), dialect(DIALECT[name.split("/", maxsplit=1)[0]])
    request = ChatRequest("asked-model", [], stream="sse" in name)
    body = record["body"].encode()
    if "sse" not in name:
        return chosen.parse(request, record["status"], headers_of(record), body, WALL), []
    reader, found = chosen.events(request), []
    for start in range(0, len(body), step or len(body)):
        found += reader.feed(body[start : start + (step or len(body))])
    if not found or not isinstance(found[-1], Verdict):
        found.append(reader.end())
    chunks = [item for item in found if isinstance(item, StreamChunk)]
    assert len(chunks) == len(found) - 1, "one verdict, and it is the last"
    return found[-1], chunks  # type: ignore[return-value]


@pytest.mark.parametrize("name", expected())
def test_a_real_answer_is_read_as_it_should_be(name: str) -> None:
    want, (verdict, chunks) = expected()[name], read(name)
    response = verdict.value
    assert verdict.outcome is Outcome.OK
    assert response.content == want["text"]
    assert response.finish_reason == FINISH.get(name, want["finish"])
    assert [call["function"]["name"] for call in response.tool_calls] == want["tools"]
    assert all(
        json.loads(call["function"]["arguments"]) is not None for call in response.tool_calls
    )
    usage = response.usage
    if name.startswith("anthropic"):
        assert [usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens] == want["usage"]
        assert response.model == want["model"]
        assert [block["type"] for block in response.raw["content"]] == want["blocks"]
    elif name.startswith("gemini"):
        said, spoken, total, thought = (count or 0 for count in want["usage"])
        counts = [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens]
        assert counts == [said, spoken + thought, total]
        assert usage.reasoning_tokens == thought
    else:
        counts = [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens]
        assert counts == (want["usage"] or [0, 0, 0])
    if chunks:
        text = "".join(chunk.delta for chunk in chunks)
        # Gemini's last event has words too, which the pool hands out with the end.
        assert want["text"].startswith(text) if name.startswith("gemini") else text == want["text"]
        assert "".join(chunk.reasoning for chunk in chunks) == response.reasoning


@pytest.mark.parametrize("name", FAULTS)
def test_a_real_refusal_is_judged_as_it_should_be(name: str) -> None:
    outcome, later, key_sign = FAULTS[name]
    verdict, _ = read(name)
    assert (verdict.outcome, verdict.later_s, verdict.key_sign) == (outcome, later, key_sign)
    assert verdict.message
    assert verdict.value is None


@pytest.mark.parametrize("name", [name for name in expected() if "sse" in name])
def test_a_real_stream_is_the_same_in_small_pieces(name: str) -> None:
    whole, pieces = read(name), read(name, step=7)
    assert whole == pieces


def test_C03_thinking_comes_apart_from_the_text() -> None:
    assert read("anthropic/msg_thinking_first")[0].value.reasoning.startswith("The user is asking")
    assert read("deepseek/chat_reasoning_content")[0].value.reasoning.startswith("The player's")
    assert read("groq/sse_reasoning_tools")[0].value.reasoning.startswith("We need to call")


def test_a_broker_names_who_served() -> None:
    assert read("openrouter/chat_text")[0].value.upstream == "OpenAI"


def test_every_recording_of_these_dialects_is_replayed() -> None:
    there = {
        f"{path.parent.name}/{path.stem}"
        for path in FOLDER.glob("*/*.json")
        if path.parent.name in DIALECT and "embeddings" not in path.stem
    }
    assert there == {*expected(), *FAULTS}
