"""Simulated answers have no field that real recorded ones lack."""

import json
from pathlib import Path

import pytest

from llm_rotate.testing import SimRequest, Simulator

RECORDED = Path(__file__).parents[3] / "shared" / "recorded"
USER = [{"role": "user", "content": "hi"}]
OPENAI, ANTHROPIC = "/openai/v1/chat/completions", "/anthropic/v1/messages"
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {}}}
TOOL = {"name": "f", "input_schema": {"type": "object"}}
THINK = {"type": "enabled", "budget_tokens": 1024}

# recording -> path, what the request has beside its messages, the key's script, and fields
# that other recordings of that provider show
CASES = {
    "openai/chat_tool_calls": (
        OPENAI,
        {"tools": [FUNCTION], "tool_choice": "required"},
        None,
        {"choices.logprobs"},
    ),
    "openai/err_401": (OPENAI, {}, "bad_key", set()),
    "openai/err_429_insufficient_quota": (OPENAI, {}, "quota_exhausted", set()),
    "openai/err_429_rpm": (OPENAI, {}, "rate_limit", set()),
    "openrouter/chat_text": (
        "/openrouter/api/v1/chat/completions",
        {},
        None,
        {"usage.prompt_tokens_details", "usage.prompt_tokens_details.cached_tokens"},
    ),
    "deepseek/chat_reasoning_content": (
        "/deepseek/chat/completions",
        {"reasoning_effort": "low"},
        None,
        {"choices.message.refusal"},
    ),
    "anthropic/msg_thinking_first": (ANTHROPIC, {"thinking": THINK}, None, set()),
    "anthropic/msg_tool_use": (
        ANTHROPIC,
        {"tools": [TOOL], "tool_choice": {"type": "any"}},
        None,
        set(),
    ),
    "anthropic/err_401": (ANTHROPIC, {}, "bad_key", set()),
    "anthropic/err_529_overloaded": (ANTHROPIC, {}, None, set()),
}


def fields_of(value, at=""):
    """Dotted names of all fields, through lists."""
    if isinstance(value, list):
        return {name for item in value for name in fields_of(item, at)}
    if not isinstance(value, dict):
        return set()
    own = {f"{at}.{name}".lstrip("."): inner for name, inner in value.items()}
    return own.keys() | {name for key, inner in own.items() for name in fields_of(inner, key)}


@pytest.mark.skipif(not RECORDED.is_dir(), reason="no recordings lie beside the project")
@pytest.mark.parametrize("name", CASES)
def test_an_answer_has_only_fields_that_real_ones_have(name):
    path, options, script, elsewhere = CASES[name]
    recorded = json.loads((RECORDED / f"{name}.json").read_text())
    sim = Simulator()
    if script:
        getattr(sim.key("k1"), script)()
    elif recorded["status"] != 200:
        sim.key("k1").then(recorded["status"])
    headers = {"authorization": f"Bearer {sim.secret('k1')}", "anthropic-version": "2023-06-01"}
    body = {"model": "vendor/m", "messages": USER, "max_tokens": 2000, **options}
    answer = sim.answer(SimRequest("POST", path, headers, json.dumps(body).encode()), 0.0, 0.0)
    real, ours = json.loads(recorded["body"]), json.loads(answer.chunks[0].data)
    assert answer.status == recorded["status"]
    assert fields_of(ours) <= fields_of(real) | elsewhere
    if "error" in real:
        kinds = ("type", "code")
        assert [ours["error"].get(k) for k in kinds] == [real["error"].get(k) for k in kinds]
