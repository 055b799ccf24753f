"""The responses API: what is sent for messages and keywords, what is read from answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llm_rotate.core.outcome import Outcome
from llm_rotate.core.wire import ChatRequest, Endpoint, Headers, Verdict
from llm_rotate.errors import CapabilityError
from llm_rotate.providers import DIALECTS, at_endpoint

RESPONSES = DIALECTS["openai_responses"]
PLAIN = Endpoint("openai", "https://x.test/v1")
HELLO = [{"role": "user", "content": "hi"}]


def sent(messages: Any = HELLO, endpoint: Endpoint = PLAIN, **more: Any) -> dict[str, Any]:
    request = ChatRequest("m", messages, **more)
    found: dict[str, Any] = json.loads(RESPONSES.encode(request, endpoint))
    return found


def parse(answer: Any, status: int = 200) -> Verdict[Any]:
    raw = json.dumps(answer).encode()
    return RESPONSES.parse(ChatRequest("m", HELLO), status, Headers(()), raw, 0.0)


# -- messages


@pytest.mark.parametrize(
    ("message", "items"),
    [
        ({"role": "system", "content": "be"}, [{"role": "system", "content": "be"}]),
        ({"role": "developer", "content": "be"}, [{"role": "developer", "content": "be"}]),
        ({"role": "assistant", "content": "yes"}, [{"role": "assistant", "content": "yes"}]),
        ({"role": "assistant", "content": ""}, []),
        (
            {"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "no"}]},
            [{"role": "assistant", "content": [{"type": "output_text", "text": "a"}, {"type": "refusal", "refusal": "no"}]}],
        ),
        (
            {"role": "assistant", "content": "look", "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                {"id": "c2", "type": "custom", "custom": {"name": "g", "input": "x"}},
            ]},
            [
                {"role": "assistant", "content": "look"},
                {"type": "function_call", "arguments": "{}", "call_id": "c1", "name": "f"},
                {"type": "custom_tool_call", "input": "x", "call_id": "c2", "name": "g"},
            ],
        ),
        (
            {"role": "tool", "tool_call_id": "c1", "content": "4"},
            [{"type": "function_call_output", "call_id": "c1", "output": "4"}],
        ),
        (
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "4"}]},
            [{"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "4"}]}],
        ),
        ({"type": "item_reference", "id": "rs_1"}, [{"type": "item_reference", "id": "rs_1"}]),
    ],
)  # fmt: skip
def test_a_message_becomes_items(message: Any, items: Any) -> None:
    assert sent([*HELLO, message])["input"] == [*HELLO, *items]


@pytest.mark.parametrize(
    ("part", "item"),
    [
        ({"type": "text", "text": "a"}, {"type": "input_text", "text": "a"}),
        (
            {"type": "image_url", "image_url": {"url": "https://i.test/a.png", "detail": "low"}},
            {"type": "input_image", "image_url": "https://i.test/a.png", "detail": "low"},
        ),
        (
            {"type": "image_bytes", "data": b"x", "mime_type": "image/png"},
            {"type": "input_image", "image_url": "data:image/png;base64,eA=="},
        ),
        (
            {"type": "pdf_bytes", "data": b"x"},
            {"type": "input_file", "filename": "document.pdf", "file_data": "data:application/pdf;base64,eA=="},
        ),
        ({"type": "file", "file": {"file_id": "f1"}}, {"type": "input_file", "file_id": "f1"}),
        (
            {"type": "file", "file_uri": "https://i.test/a.pdf", "mime_type": "application/pdf"},
            {"type": "input_file", "file_url": "https://i.test/a.pdf"},
        ),
        ({"type": "input_file", "file_id": "f1"}, {"type": "input_file", "file_id": "f1"}),
    ],
)  # fmt: skip
def test_a_part_becomes_one_of_this_api(part: Any, item: Any) -> None:
    assert sent([{"role": "user", "content": [part]}])["input"][0]["content"] == [item]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            {"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]},
            "'input_audio'",
        ),
        ({"role": "user", "content": [{"type": "audio_bytes", "data": b"x"}]}, "'audio_bytes'"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {}}]},
            "image_url without",
        ),
        ({"role": "user", "content": [{"type": "file", "file": {}}]}, "a file part without"),
        ({"role": "user", "content": [{"type": "file", "file_uri": "gs://b/a"}]}, "no web address"),
        ({"role": "assistant", "content": [{"type": "image_url"}]}, "an assistant's part"),
        ({"role": "assistant", "tool_calls": [{"id": "1"}]}, "without a function's name"),
        ({"role": "tool", "content": "4"}, "without tool_call_id"),
        ({"role": "function", "content": "4"}, "role 'function'"),
    ],
)
def test_C02_what_it_cannot_carry_is_refused_by_name(message: Any, words: str) -> None:
    with pytest.raises(CapabilityError, match=f"openai_responses cannot carry .*{words}"):
        sent([message])


# -- keywords


FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object"}}


@pytest.mark.parametrize(
    ("options", "body"),
    [
        (
            {"tools": [{"type": "function", "function": FUNCTION}]},
            {"tools": [{"type": "function", "strict": False, **FUNCTION}]},
        ),
        (
            {"tools": [{"type": "function", "function": {**FUNCTION, "strict": True}}]},
            {"tools": [{"type": "function", **FUNCTION, "strict": True}]},
        ),
        (
            {"tools": [{"type": "custom", "custom": {"name": "g"}}]},
            {"tools": [{"type": "custom", "name": "g"}]},
        ),
        ({"tools": [{"type": "web_search"}]}, {"tools": [{"type": "web_search"}]}),
        (
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
            {"tool_choice": {"type": "function", "name": "f"}},
        ),
        (
            {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [
                {"type": "function", "function": {"name": "f"}}]}}},
            {"tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]}},
        ),
        ({"tool_choice": "required"}, {"tool_choice": "required"}),
        ({"response_format": {"type": "json_object"}}, {"text": {"format": {"type": "json_object"}}}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}, "verbosity": "low"},
            {"text": {"format": {"type": "json_schema", "name": "n", "schema": {}}, "verbosity": "low"}},
        ),
        (
            {"response_format": {"type": "text"}, "text": {"verbosity": "high"}},
            {"text": {"format": {"type": "text"}, "verbosity": "high"}},
        ),
        (
            {"reasoning_effort": "low", "reasoning": {"summary": "auto"}},
            {"reasoning": {"effort": "low", "summary": "auto"}},
        ),
        (
            {"logprobs": True, "top_logprobs": 3, "include": ["reasoning.encrypted_content"]},
            {"top_logprobs": 3, "include": ["message.output_text.logprobs", "reasoning.encrypted_content"]},
        ),
        ({"logprobs": False, "user": None, "top_p": 0.5}, {"top_p": 0.5}),
        ({"max_completion_tokens": 7}, {"max_output_tokens": 7}),
        (
            {"background": True, "service_tier": "flex", "previous_response_id": "r", "store": True},
            {"background": True, "service_tier": "flex", "previous_response_id": "r", "store": True},
        ),
    ],
)  # fmt: skip
def test_keywords_are_said_in_its_words(options: Any, body: Any) -> None:
    found = sent(options=options)
    assert found == {"model": "m", "input": HELLO, **body}


def test_the_calls_own_arguments_and_a_brokers_upstream() -> None:
    broker = Endpoint("b", "https://x.test", flags={"upstream_names": {"google": "google-x"}})
    found = sent(endpoint=broker, max_tokens=9, temperature=0.0, stream=True, upstream="google")
    assert found == {
        "model": "m",
        "input": HELLO,
        "max_output_tokens": 9,
        "temperature": 0.0,
        "stream": True,
        "provider": {"order": ["google-x"], "allow_fallbacks": False},
    }


def test_tools_that_are_no_list_and_a_format_that_is_none_are_refused() -> None:
    for options in ({"tools": "f"}, {"response_format": "json"}):
        with pytest.raises(CapabilityError):
            sent(options=options)


# -- answers


def test_everything_an_answer_tells_is_read() -> None:
    logprobs = [{"token": "yes", "logprob": -0.1, "top_logprobs": []}]
    answer = {
        "id": "resp_1",
        "model": "m-1",
        "status": "completed",
        "output": [
            {"type": "reasoning", "summary": [{"text": "one"}, {"text": "two"}]},
            {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "three"}]},
            {"type": "message", "content": [{"type": "output_text", "text": "yes", "logprobs": logprobs}]},
            {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "x"},
        ],
        "usage": {
            "input_tokens": 10,
            "input_tokens_details": {"cached_tokens": 4},
            "output_tokens": 6,
            "output_tokens_details": {"reasoning_tokens": 5},
            "total_tokens": 16,
        },
    }  # fmt: skip
    verdict = parse(answer)
    response = verdict.value
    assert (response.id, response.model, verdict.kept) == ("resp_1", "m-1", "resp_1")
    assert (response.content, response.reasoning) == ("yes", "one\n\ntwo\n\nthree")
    assert response.tool_calls == [
        {"id": "c2", "type": "custom", "custom": {"name": "g", "input": "x"}}
    ]
    assert response.logprobs == logprobs
    usage = response.usage
    assert (usage.prompt_tokens, usage.cached_tokens) == (10, 4)
    assert (usage.completion_tokens, usage.reasoning_tokens, usage.total_tokens) == (6, 5, 16)
    assert parse(answer | {"store": False}).kept is None


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        ({"code": "server_error", "message": "x"}, Outcome.SERVER_ERROR),
        ({"code": "rate_limit_exceeded", "message": "x"}, Outcome.RATE_LIMITED),
        ({"code": "invalid_prompt", "message": "x"}, Outcome.BAD_REQUEST),
        ({"code": "invalid_image_url", "message": "x"}, Outcome.BAD_REQUEST),
        ({"code": "failed_to_download_image", "message": "x"}, Outcome.BAD_REQUEST),
        ({"code": "image_content_policy_violation", "message": "x"}, Outcome.CONTENT_FILTERED),
        ({"code": "bio_policy", "message": "x"}, Outcome.CONTENT_FILTERED),
        ({"code": "vector_store_timeout", "message": "x"}, Outcome.TIMED_OUT),
    ],
)
def test_an_answer_that_failed_is_judged_by_its_code(error: Any, outcome: Outcome) -> None:
    answer = {"id": "r", "status": "failed", "output": [], "error": error}
    assert parse(answer).outcome is outcome
    reader = RESPONSES.events(ChatRequest("m", HELLO, stream=True))
    event = {"type": "response.failed", "response": answer}
    [verdict] = reader.feed(b"data: " + json.dumps(event).encode() + b"\n\n")
    assert isinstance(verdict, Verdict)
    assert verdict.outcome is outcome


def test_an_answer_that_was_cancelled_is_none() -> None:
    assert parse({"id": "r", "status": "cancelled", "output": []}).outcome is Outcome.SERVER_ERROR


def test_an_answer_under_way_says_how_to_ask_again() -> None:
    azure = Endpoint("a", "https://x.test", flags={"azure": True, "api_version": "2025-04-01"})
    for endpoint, url in (
        (PLAIN, "https://x.test/v1/responses/r%2F1"),
        (azure, "https://x.test/openai/responses/r%2F1?api-version=2025-04-01"),
    ):
        verdict = parse({"id": "r/1", "status": "queued", "output": []})
        assert verdict.outcome is Outcome.OK
        assert verdict.poll is not None
        asked = verdict.poll(RESPONSES.prepare("s", endpoint))
        assert (asked.method, asked.url, asked.body) == ("GET", url, b"")


def test_endpoints_by_name() -> None:
    assert at_endpoint("openai", "responses") == "openai_responses"
    assert at_endpoint("openai_responses", "chat_completion") == "openai"
    assert at_endpoint("anthropic", "chat_completion") == "anthropic"
    with pytest.raises(CapabilityError, match="anthropic has no endpoint 'responses'"):
        at_endpoint("anthropic", "responses")
