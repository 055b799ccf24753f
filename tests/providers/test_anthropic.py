"""The Anthropic dialect: what goes out, what comes in."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import pytest
from pydantic import BaseModel, Field

from llm_rotate.core.outcome import Outcome
from llm_rotate.core.wire import ChatRequest, Endpoint, EventReader, Headers, Verdict
from llm_rotate.errors import CapabilityError
from llm_rotate.providers import dialect
from llm_rotate.types import ChatResponse, StreamChunk, Usage

ANTHROPIC = dialect("anthropic")
PLAIN = Endpoint("anthropic", "https://api.anthropic.com", auth="x-api-key")
HELLO = [{"role": "user", "content": "hello"}]
CACHED = {"type": "ephemeral"}
SENT_HELLO = {"role": "user", "content": [{"type": "text", "text": "hello"}]}


def body_of(endpoint: Endpoint = PLAIN, **request: Any) -> dict[str, Any]:
    asked = {"model": "m", "messages": HELLO} | request
    found: dict[str, Any] = json.loads(ANTHROPIC.encode(ChatRequest(**asked), endpoint))
    return found


def sent_messages(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = body_of(messages=messages)["messages"]
    return found


def sent_part(part: Any) -> dict[str, Any]:
    found: dict[str, Any] = sent_messages({"role": "user", "content": [part]})[0]["content"][0]
    return found


def parsed(answer: Any) -> Verdict[ChatResponse]:
    raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return ANTHROPIC.parse(ChatRequest("asked", HELLO), 200, Headers(()), raw, 0.0)


# requests


def test_a_plain_chat_has_a_cap_and_blocks() -> None:
    assert body_of() == {"model": "m", "max_tokens": 4096, "messages": [SENT_HELLO]}
    assert body_of(max_tokens=9)["max_tokens"] == 9
    flagged = Endpoint("a", "https://x", flags={"default_max_tokens": 7})
    assert body_of(flagged)["max_tokens"] == 7


@pytest.mark.parametrize("base", ["https://x", "https://x/", "https://x/v1", "https://x/v1/"])
def test_the_path_is_composed_whether_or_not_the_base_has_the_version(base: str) -> None:
    ready = ANTHROPIC.prepare("sesame", Endpoint("a", base, auth="x-api-key"))
    sent = ANTHROPIC.build(ChatRequest("m", HELLO, stream=True), b"{}", ready, 0.0)
    assert (sent.method, sent.url, sent.stream) == ("POST", "https://x/v1/messages", True)
    assert {(b"x-api-key", b"sesame"), (b"anthropic-version", b"2023-06-01")} <= set(sent.headers)


def test_an_endpoint_may_name_another_version() -> None:
    own = Endpoint("a", "https://x", auth="x-api-key", headers={"Anthropic-Version": "2030-01-01"})
    versions = [v for k, v in ANTHROPIC.prepare("s", own).headers if k == b"anthropic-version"]
    assert versions == [b"2030-01-01"]


def test_system_messages_are_gathered_at_the_top() -> None:
    one = body_of(messages=[{"role": "system", "content": "be kind"}, *HELLO])
    assert (one["system"], one["messages"]) == ("be kind", [SENT_HELLO])
    cached = {"type": "text", "text": "long", "cache_control": CACHED}
    several = [
        {"role": "system", "content": "a"},
        *HELLO,
        {"role": "developer", "content": [cached]},
    ]
    assert body_of(messages=several)["system"] == [{"type": "text", "text": "a"}, cached]


def test_neighbours_of_one_role_are_merged() -> None:
    sent = sent_messages(
        *HELLO, *HELLO, {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}
    )
    assert [message["role"] for message in sent] == ["user", "assistant"]
    assert [block["text"] for block in sent[1]["content"]] == ["a", "b"]


def test_merging_leaves_the_callers_messages_as_they_were() -> None:
    content = [{"type": "text", "text": "a"}]
    sent_messages({"role": "user", "content": content}, *HELLO)
    assert content == [{"type": "text", "text": "a"}]


def test_C01_tool_calls_and_results_become_blocks() -> None:
    def call(name: str, arguments: Any) -> dict[str, Any]:
        return {"id": name, "type": "function", "function": {"name": name, "arguments": arguments}}

    sent = sent_messages(
        *HELLO,
        {"role": "assistant", "content": "", "tool_calls": [call("f", '{"x":1}'), call("g", "")]},
        {"role": "tool", "tool_call_id": "f", "content": "4"},
        {"role": "tool", "tool_call_id": "g", "content": [{"type": "text", "text": "5"}]},
        *HELLO,
    )
    assert sent[1]["content"] == [
        {"type": "tool_use", "id": "f", "name": "f", "input": {"x": 1}},
        {"type": "tool_use", "id": "g", "name": "g", "input": {}},
    ]
    assert sent[2]["role"] == "user"
    assert sent[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "f", "content": "4"},
        {"type": "tool_result", "tool_use_id": "g", "content": [{"type": "text", "text": "5"}]},
        {"type": "text", "text": "hello"},
    ]


def test_C01_tools_are_converted_and_the_providers_own_pass() -> None:
    function = {"name": "f", "description": "D", "parameters": {"type": "object"}, "strict": True}
    own = {"type": "web_search_20250305", "name": "web_search"}
    tools = [{"type": "function", "function": function, "cache_control": CACHED},
             {"type": "function", "function": {"name": "g"}}, own]  # fmt: skip
    assert body_of(options={"tools": tools})["tools"] == [
        {"name": "f", "description": "D", "strict": True, "input_schema": {"type": "object"},
         "cache_control": CACHED},
        {"name": "g", "input_schema": {"type": "object", "properties": {}}},
        own,
    ]  # fmt: skip


TOOLS = [{"type": "function", "function": {"name": "f"}}]


@pytest.mark.parametrize(
    ("options", "choice"),
    [
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, {"type": "tool", "name": "f"}),
        ({"tool_choice": {"type": "any"}}, {"type": "any"}),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"parallel_tool_calls": False, "tool_choice": "required"},
         {"type": "any", "disable_parallel_tool_use": True}),
        ({"parallel_tool_calls": False, "tool_choice": "none"}, {"type": "none"}),
        ({"parallel_tool_calls": True}, None),
    ],
)  # fmt: skip
def test_C01_the_choice_of_tools_is_converted(options: dict[str, Any], choice: Any) -> None:
    assert body_of(options={"tools": TOOLS} | options).get("tool_choice") == choice


def test_parallel_calls_without_tools_mean_nothing() -> None:
    assert "tool_choice" not in body_of(options={"parallel_tool_calls": False})


B64 = base64.b64encode(b"bytes").decode()


@pytest.mark.parametrize(
    ("part", "block"),
    [
        ({"type": "image_bytes", "data": b"bytes", "mime_type": "image/png"},
         {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": B64}}),
        ({"type": "image_url", "image_url": {"url": f"data:image/webp;base64,{B64}"}},
         {"type": "image", "source": {"type": "base64", "media_type": "image/webp", "data": B64}}),
        ({"type": "image_url", "image_url": "https://x/y.png"},
         {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}),
        ({"type": "pdf_bytes", "data": b"bytes", "mime_type": "application/pdf"},
         {"type": "document",
          "source": {"type": "base64", "media_type": "application/pdf", "data": B64}}),
        ({"type": "file", "file": {"file_data": f"data:application/pdf;base64,{B64}"}},
         {"type": "document",
          "source": {"type": "base64", "media_type": "application/pdf", "data": B64}}),
        ({"type": "file", "file": {"file_data": f"data:text/plain;base64,{B64}", "filename": "a.txt"}},
         {"type": "document", "title": "a.txt",
          "source": {"type": "text", "media_type": "text/plain", "data": "bytes"}}),
        ({"type": "pdf_bytes", "data": b"bytes", "filename": "a.pdf"},
         {"type": "document", "title": "a.pdf",
          "source": {"type": "base64", "media_type": "application/pdf", "data": B64}}),
        ({"type": "file", "file": {"file_id": "f1"}},
         {"type": "document", "source": {"type": "file", "file_id": "f1"}}),
        ({"type": "file", "file_uri": "https://x/y.pdf", "mime_type": "application/pdf"},
         {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}}),
        ({"type": "file", "file_uri": "https://x/y.png", "mime_type": "image/png"},
         {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}),
        ({"type": "refusal", "refusal": "no"}, {"type": "text", "text": "no"}),
        ({"type": "thinking", "thinking": "hm", "signature": "s"},
         {"type": "thinking", "thinking": "hm", "signature": "s"}),
        ("words", {"type": "text", "text": "words"}),
    ],
)  # fmt: skip
def test_C02_parts_become_blocks_and_keep_cache_control(part: Any, block: dict[str, Any]) -> None:
    assert sent_part(part) == block
    if isinstance(part, dict):
        assert sent_part(part | {"cache_control": CACHED}) == block | {"cache_control": CACHED}


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ({"type": "file", "file_uri": "gs://x/y.pdf", "mime_type": "application/pdf"}, "gs://"),
        ({"type": "file", "file_uri": "https://x/y", "mime_type": "video/mp4"}, "video/mp4"),
        ({"type": "file", "file": {}}, "file"),
        ({"type": "input_audio", "input_audio": {}}, "input_audio"),
        ({"type": "audio_bytes", "data": b"x", "mime_type": "audio/wav"}, "audio_bytes"),
        ({"type": "file", "file": {"file_data": "data:text/plain;base64,/w=="}}, "not UTF-8"),
        ({"type": "image_url"}, "URL"),
        ({"type": "image_bytes", "data": b"x", "mime_type": "audio/wav"}, "audio/wav"),
        (5, "int"),
    ],
)
def test_C02_a_part_that_cannot_be_carried_is_named(part: Any, named: str) -> None:
    with pytest.raises(CapabilityError, match=named):
        sent_part(part)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"seed": 4}, "seed"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"response_format": {"type": "json_object"}}, "json_object"),
        ({"reasoning_effort": "extreme"}, "extreme"),
        ({"tools": 5}, "tools"),
        ({"tool_choice": "perhaps"}, "perhaps"),
    ],
)
def test_an_option_that_cannot_be_carried_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(CapabilityError, match=named):
        body_of(options=options)


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ({"role": "function", "content": "x"}, "function"),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]},
            "JSON",
        ),
        ({"role": "assistant", "tool_calls": [{"custom": {}}]}, "function"),
        ({"role": "assistant", "tool_calls": 5}, "tool_calls"),
        ({"role": "assistant", "content": None, "audio": {"id": "a1"}}, "audio"),
        ({"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}, "function_call"),
        ({"role": "user", "content": 5}, "int"),
    ],
)
def test_a_message_that_cannot_be_carried_is_named(message: dict[str, Any], named: str) -> None:
    with pytest.raises(CapabilityError, match=named):
        sent_messages(message)


def test_an_upstream_cannot_be_pinned_here() -> None:
    with pytest.raises(CapabilityError, match="upstream"):
        body_of(upstream="x")


def test_small_options_are_converted_and_the_rest_goes_as_it_is() -> None:
    body = body_of(
        temperature=0.5,
        options={"stop": "END", "user": "u1", "top_p": 0.9, "top_k": 4, "logprobs": False,
                 "seed": None, "metadata": {"more": 1}},
    )  # fmt: skip
    assert body["stop_sequences"] == ["END"]
    assert body["metadata"] == {"user_id": "u1", "more": 1}
    assert (body["top_p"], body["top_k"], body["temperature"]) == (0.9, 4, 0.5)
    assert not {"stop", "user", "logprobs", "seed"} & body.keys()
    assert body_of(options={"stop": ["a", "b"]})["stop_sequences"] == ["a", "b"]


@pytest.mark.parametrize(
    ("effort", "asked", "cap", "thinking"),
    [
        ("low", None, 4096 + 2048, {"type": "enabled", "budget_tokens": 2048}),
        ("high", None, 4096 + 16_384, {"type": "enabled", "budget_tokens": 16_384}),
        ("medium", 100_000, 100_000, {"type": "enabled", "budget_tokens": 8192}),
        ("medium", 6000, 6000, {"type": "enabled", "budget_tokens": 3000}),
        ("medium", 1500, 1500, {"type": "enabled", "budget_tokens": 1024}),
        ("none", None, 4096, {"type": "disabled"}),
    ],
)
def test_an_effort_is_a_budget_within_the_callers_cap(
    effort: str, asked: int | None, cap: int, thinking: dict[str, Any]
) -> None:
    body = body_of(max_tokens=asked, options={"reasoning_effort": effort})
    assert (body["max_tokens"], body["thinking"]) == (cap, thinking)


def test_C01_cache_control_is_kept_wherever_it_stands() -> None:
    call = {"id": "c", "function": {"name": "f", "arguments": "{}"}, "cache_control": CACHED}
    messages = [
        {"role": "system", "content": "be kind", "cache_control": CACHED},
        {"role": "user", "content": ["a", "b"], "cache_control": CACHED},
        {"role": "assistant", "content": "c", "tool_calls": [call], "cache_control": CACHED},
        {"role": "tool", "tool_call_id": "c", "content": "4", "cache_control": CACHED},
    ]
    before = copy.deepcopy(messages)
    body = body_of(messages=messages)
    marked = [
        ["cache_control" in block for block in content]
        for content in (body["system"], *(message["content"] for message in body["messages"]))
    ]
    assert marked == [[True], [False, True], [True, True], [True]]
    assert messages == before


@pytest.mark.parametrize(
    ("model", "is_effort"),
    [
        *((m, False) for m in ("claude-3-7-sonnet-latest", "claude-sonnet-4-20250514", "claude-opus-4-0",
                               "claude-opus-4-1-20250805", "claude-haiku-4-5", "claude-sonnet-4-5-20250929",
                               "claude-sonnet-4-5@20250929", "MiniMax-M2")),
        *((m, True) for m in ("claude-opus-4-6", "claude-sonnet-4-6-20260201", "claude-opus-4-7", "claude-opus-5",
                              "claude-haiku-5-5", "claude-opus-4-10")),
    ],
)  # fmt: skip
def test_an_effort_is_spelled_as_the_model_takes_it(model: str, is_effort: bool) -> None:
    body = body_of(model=model, options={"reasoning_effort": "low"})
    if is_effort:
        assert body["thinking"] == {"type": "adaptive", "display": "summarized"}
        assert body["output_config"] == {"effort": "low"}
    else:
        assert body["thinking"] == {"type": "enabled", "budget_tokens": 2048}
        assert "output_config" not in body
    assert body["max_tokens"] == 4096 + 2048


def test_an_effort_stands_beside_a_schema() -> None:
    body = body_of(model="claude-opus-5", max_tokens=500, options={"reasoning_effort": "max", "response_format": City})  # fmt: skip
    assert body["output_config"]["effort"] == "max"
    assert body["output_config"]["format"]["type"] == "json_schema"
    assert body["max_tokens"] == 500
    with pytest.raises(CapabilityError, match=r"'max' .known: none, minimal"):
        body_of(options={"reasoning_effort": "max"})


def test_an_effort_that_finds_no_room_is_refused() -> None:
    with pytest.raises(CapabilityError, match="1024"):
        body_of(max_tokens=1024, options={"reasoning_effort": "low"})


def test_thinking_of_the_callers_own_wins_over_the_effort() -> None:
    own = {"type": "adaptive"}
    body = body_of(options={"reasoning_effort": "high", "thinking": own})
    assert (body["thinking"], body["max_tokens"]) == (own, 4096)


class City(BaseModel):
    name: str = Field(min_length=1, description="its name")
    people: int = Field(0, ge=0)


def test_a_schema_is_asked_for_as_the_provider_spells_it() -> None:
    asked = body_of(options={"response_format": City, "output_config": {"effort": "low"}})
    sent = asked["output_config"]
    assert (sent["effort"], sent["format"]["type"]) == ("low", "json_schema")
    schema = sent["format"]["schema"]
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["name"]
    assert schema["properties"]["name"]["description"] == "its name (minLength: 1)"
    assert "minimum" not in schema["properties"]["people"]
    assert City.model_json_schema()["properties"]["people"]["minimum"] == 0, "untouched"
    given = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    as_dict = body_of(options={"response_format": given})["output_config"]["format"]["schema"]
    assert as_dict == {"type": "object", "properties": {}, "additionalProperties": False}
    assert "output_config" not in body_of(options={"response_format": {"type": "text"}})


# answers

TEXT = {"type": "text", "text": "Two"}
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m-1",
    "content": [TEXT],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 2},
}


def test_C03_text_is_all_text_blocks_and_thinking_stands_apart() -> None:
    content = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "x"},
        TEXT,
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "text", "text": " more"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"x": "é"}},
    ]
    given = MESSAGE | {"content": content}
    response = parsed(given).value
    assert response is not None
    assert (response.content, response.reasoning) == ("Two more", "hm")
    assert (response.finish_reason, response.model, response.raw) == ("end_turn", "m-1", given)
    (call,) = response.tool_calls
    assert (call["id"], call["type"], call["function"]["name"]) == ("t", "function", "f")
    assert json.loads(call["function"]["arguments"]) == {"x": "é"}


def test_the_prompt_counts_what_the_cache_took_and_gave() -> None:
    usage = {"input_tokens": 3, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 100,
             "output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4}}  # fmt: skip
    response = parsed(MESSAGE | {"usage": usage}).value
    assert response is not None
    assert response.usage == Usage(123, 9, 132, 100, 4)
    assert response.usage.raw == usage


def test_an_answer_without_text_tells_why_in_its_finish_reason() -> None:
    response = parsed(MESSAGE | {"content": [], "stop_reason": "refusal"}).value
    assert response is not None
    assert (response.content, response.finish_reason) == ("", "refusal")


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"{}", b'{"content": "x"}', b"\xff", b"<html>"])
def test_a_200_that_is_no_message_is_the_servers_fault(raw: bytes) -> None:
    assert parsed(raw).outcome is Outcome.SERVER_ERROR


def test_a_200_with_an_error_is_judged_as_the_error() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "M"}}
    assert parsed(error).outcome is Outcome.OVERLOADED


# streams


def event(kind: str, **more: Any) -> bytes:
    data = json.dumps({"type": kind, **more})
    return f"event: {kind}\ndata: {data}\n\n".encode()


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> bytes:
    return b"".join(
        [event("content_block_start", index=index, content_block=start)]
        + [event("content_block_delta", index=index, delta=delta) for delta in deltas]
        + [event("content_block_stop", index=index)]
    )


START = event(
    "message_start",
    message=MESSAGE
    | {"content": [], "stop_reason": None, "usage": {"input_tokens": 3, "output_tokens": 1}},
)
PING = event("ping")
THINKING = block(
    0,
    {"type": "thinking", "thinking": "", "signature": ""},
    {"type": "thinking_delta", "thinking": "h"},
    {"type": "thinking_delta", "thinking": "m"},
    {"type": "signature_delta", "signature": "sig"},
)
WORDS = block(
    1,
    {"type": "text", "text": ""},
    {"type": "text_delta", "text": "T"},
    {"type": "citations_delta", "citation": {"n": 1}},
    {"type": "text_delta", "text": "wo"},
)
CALL = block(
    2,
    {"type": "tool_use", "id": "t", "name": "f", "input": {}},
    {"type": "input_json_delta", "partial_json": ""},
    {"type": "input_json_delta", "partial_json": '{"x"'},
    {"type": "input_json_delta", "partial_json": ":1}"},
)
DELTA = event(
    "message_delta",
    delta={"stop_reason": "tool_use", "stop_sequence": None},
    usage={"output_tokens": 9},
)
STOP = event("message_stop")
OVERLOADED = event("error", error={"type": "overloaded_error", "message": "M"})


def reader() -> EventReader:
    return ANTHROPIC.events(ChatRequest("asked", HELLO, stream=True))


def test_S02_S04_a_stream_ends_with_the_message_as_it_would_have_come_whole() -> None:
    source = reader()
    found = source.feed(START + PING + THINKING + WORDS + PING + CALL + DELTA + STOP)
    chunks = [(c.reasoning, c.delta) for c in found if isinstance(c, StreamChunk)]
    assert chunks == [("h", ""), ("m", ""), ("", "T"), ("", "wo")]
    verdict = found[-1]
    assert isinstance(verdict, Verdict)
    response = verdict.value
    assert verdict.outcome is Outcome.OK
    assert response is not None
    assert response.raw == MESSAGE | {
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "sig"},
            {"type": "text", "text": "Two", "citations": [{"n": 1}]},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 3, "output_tokens": 9},
    }
    assert (response.content, response.reasoning, source.text) == ("Two", "hm", "Two")
    assert (response.finish_reason, response.usage, response.model) == (
        "tool_use",
        Usage(3, 9, 12),
        "m-1",
    )
    assert json.loads(response.tool_calls[0]["function"]["arguments"]) == {"x": 1}


def test_arguments_that_the_cap_cut_short_come_as_they_are() -> None:
    cut = block(0, {"type": "tool_use", "id": "t", "name": "f", "input": {}},
                {"type": "input_json_delta", "partial_json": '{"x":'})  # fmt: skip
    verdict = reader().feed(START + cut + DELTA + STOP)[-1]
    assert isinstance(verdict, Verdict)
    assert verdict.value is not None
    assert verdict.value.tool_calls[0]["function"]["arguments"] == '{"x":'


@pytest.mark.parametrize(
    ("raw", "outcome"),
    [
        (OVERLOADED, Outcome.OVERLOADED),
        (START + PING + OVERLOADED, Outcome.OVERLOADED),
        (START + WORDS + OVERLOADED, Outcome.OVERLOADED),
        (
            b'data: {"error": {"type": "rate_limit_error", "message": "M"}}\n\n',
            Outcome.RATE_LIMITED,
        ),
        (START + b"data: {\n\n", Outcome.SERVER_ERROR),
        (START + WORDS + b"data: {\n\n", Outcome.INTERRUPTED),
        (STOP, Outcome.SERVER_ERROR),
    ],
)
def test_S01_a_fault_in_a_stream_is_a_verdict(raw: bytes, outcome: Outcome) -> None:
    verdict = reader().feed(raw)[-1]
    assert isinstance(verdict, Verdict)
    assert verdict.outcome is outcome
    assert verdict.message


@pytest.mark.parametrize(
    ("raw", "outcome"),
    [
        (b"", Outcome.SERVER_ERROR),
        (START + PING, Outcome.SERVER_ERROR),
        (START + CALL, Outcome.SERVER_ERROR),
        (START + WORDS, Outcome.INTERRUPTED),
        (START + THINKING, Outcome.INTERRUPTED),
        (START + WORDS + DELTA, Outcome.OK),
        (START + WORDS + DELTA + STOP[:-2], Outcome.OK),
    ],
)
def test_S01_a_stream_that_just_closes_is_judged_by_what_came(raw: bytes, outcome: Outcome) -> None:
    source = reader()
    assert not any(isinstance(item, Verdict) for item in source.feed(raw))
    assert source.end().outcome is outcome


def test_kinds_that_are_not_known_yet_are_passed_over() -> None:
    new = event("content_block_delta", index=1, delta={"type": "new_delta", "x": 1}) + event("news")
    verdict = reader().feed(START + new + WORDS + DELTA + STOP)[-1]
    assert isinstance(verdict, Verdict)
    assert verdict.outcome is Outcome.OK
