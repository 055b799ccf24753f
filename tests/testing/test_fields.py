"""Fields that a real service refuses are refused here, with 400 in its own shape."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llm_rotate import BadRequestError
from llm_rotate.testing import SimRequest, Simulator

USER = [{"role": "user", "content": "hi"}]
OPENAI = ("/openai/v1/chat/completions", {"model": "m", "messages": USER})
AZURE = ("/azure_openai/openai/v1/chat/completions", OPENAI[1])
VLLM = ("/vllm/v1/chat/completions", OPENAI[1])
RESPONSES = ("/openai/v1/responses", {"model": "m", "input": "hi"})
ANTHROPIC = ("/anthropic/v1/messages", {"model": "m", "messages": USER, "max_tokens": 9})
GEMINI = (
    "/google_ai_studio/v1beta/models/m:generateContent",
    {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
)


def generation(**fields: Any) -> dict[str, Any]:
    return {"generationConfig": fields}


WRONG = [
    (OPENAI, {"max_tokens": "20"}),
    (OPENAI, {"max_tokens": -5}),
    (OPENAI, {"max_completion_tokens": True}),
    (OPENAI, {"temperature": 9}),
    (OPENAI, {"response_format": "json"}),
    (OPENAI, {"response_format": {"type": "jsn"}}),
    (OPENAI, {"tools": "x"}),
    (OPENAI, {"tools": ["x"]}),
    (OPENAI, {"reasoning_effort": "hihg"}),
    (OPENAI, {"stream_options": "yes"}),
    (OPENAI, {"stop": 5}),
    (OPENAI, {"tool_choice": "any"}),
    (AZURE, {"tool_choice": "any"}),
    (AZURE, {"temperature": 3}),
    (VLLM, {"temperature": "3"}),
    (VLLM, {"max_tokens": 1.5}),
    (VLLM, {"tools": "x"}),
    (RESPONSES, {"max_output_tokens": "20"}),
    (RESPONSES, {"reasoning": {"effort": "hihg"}}),
    (RESPONSES, {"reasoning": "high"}),
    (RESPONSES, {"text": "json"}),
    (ANTHROPIC, {"max_tokens": 0}),
    (ANTHROPIC, {"max_tokens": "20"}),
    (ANTHROPIC, {"temperature": 1.5}),
    (ANTHROPIC, {"thinking": "on"}),
    (ANTHROPIC, {"tool_choice": "auto"}),
    (GEMINI, generation(maxOutputTokens=-5)),
    (GEMINI, generation(temperature=9)),
    (GEMINI, generation(stopSequences="x")),
    (GEMINI, {"generationConfig": "x"}),
    (GEMINI, {"tools": "x"}),
]
RIGHT = [
    (OPENAI, {"max_tokens": None, "temperature": 2, "stop": ["a"], "tools": []}),
    (OPENAI, {"tool_choice": "auto", "reasoning_effort": "high", "stream": False}),
    (VLLM, {"temperature": 3, "max_tokens": -1, "tool_choice": "any"}),
    (VLLM, {"response_format": {"type": "grammar", "grammar": "root ::= 'a'"}}),
    (VLLM, {"response_format": {"type": ["x"]}}),
    (VLLM, {"response_format": "json"}),
    (RESPONSES, {"max_output_tokens": 20, "reasoning": {"effort": "low"}}),
    (ANTHROPIC, {"temperature": 1, "thinking": {"type": "adaptive"}, "top_k": 4}),
    (GEMINI, generation(max_output_tokens=20, temperature=0.5, topK=40)),
]


def answer(asked: tuple[str, dict[str, Any]], more: dict[str, Any]) -> tuple[int, Any]:
    path, body = asked
    headers = {"authorization": "Bearer sk-sim-k1", "anthropic-version": "2023-06-01"}
    request = SimRequest("POST", path, headers, json.dumps({**body, **more}).encode())
    found = Simulator().answer(request, 0.0, 0.0)
    return found.status, json.loads(found.chunks[0].data)


@pytest.mark.parametrize(("asked", "more"), WRONG)
def test_a_field_that_is_wrong_is_a_400_that_names_it(asked, more):
    status, said = answer(asked, more)
    assert status == 400
    config = more.get("generationConfig")
    name = next(iter(config if isinstance(config, dict) else more))
    if isinstance(more.get(name), dict) and "effort" in more[name]:
        name = "effort"
    assert f"'{name}' must be" in said["error"]["message"]


@pytest.mark.parametrize(("asked", "more"), RIGHT)
def test_fields_that_are_right_are_answered(asked, more):
    assert answer(asked, more)[0] == 200


def test_the_pool_gives_up_on_a_wrong_field_with_the_first_key(llm_simulator):
    lm = llm_simulator.pool(["k1", "k2"])
    with pytest.raises(BadRequestError, match="'temperature' must be a number from 0 to 2"):
        lm.chat_sync("m", USER, temperature=9)
    assert llm_simulator.requests() == 1
