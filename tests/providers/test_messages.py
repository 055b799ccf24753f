"""An answer, its message, the next request: nothing is lost on the way at any dialect."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_rotate.core.outcome import Outcome
from llm_rotate.core.wire import ChatRequest, Endpoint, Headers, Verdict
from llm_rotate.errors import CapabilityError
from llm_rotate.providers import dialect
from llm_rotate.types import ChatResponse

OPENAI = Endpoint("openai", "https://x.test/v1")
ANTHROPIC = Endpoint("anthropic", "https://x.test")
HELLO = {"role": "user", "content": "hello"}

text = st.text(max_size=12)
name = st.text("abc_", min_size=1, max_size=5)
arguments = st.dictionaries(
    name,
    st.none() | st.integers(-(2**63), 2**63 - 1) | text | st.lists(text, max_size=2),
    max_size=3,
)


def answered(endpoint: Endpoint, answer: Any) -> ChatResponse:
    raw = json.dumps(answer).encode()
    chosen, asked = dialect(endpoint.provider), ChatRequest("m", [HELLO])
    verdict = chosen.parse(asked, 200, Headers(()), raw, 0.0)
    return whole(endpoint, verdict)


def streamed(endpoint: Endpoint, *events: dict[str, Any]) -> ChatResponse:
    reader = dialect(endpoint.provider).events(ChatRequest("m", [HELLO], stream=True))
    raw = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    found = [*reader.feed(raw), *reader.feed(b"data: [DONE]\n\n")]
    assert isinstance(found[-1], Verdict)
    return whole(endpoint, found[-1])


def whole(endpoint: Endpoint, verdict: Verdict[ChatResponse]) -> ChatResponse:
    assert verdict.outcome is Outcome.OK
    assert verdict.value is not None
    verdict.value.provider = endpoint.provider
    return verdict.value


def next_body(endpoint: Endpoint, *messages: Any) -> Any:
    """The next request's body; the messages have been somebody's JSON in between."""
    kept = json.loads(json.dumps([HELLO, *messages, HELLO]))
    return json.loads(dialect(endpoint.provider).encode(ChatRequest("m", kept), endpoint))


# -- Anthropic: the blocks, in their order

block = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": text, "citations": st.none()}),
    st.fixed_dictionaries({"type": st.just("thinking"), "thinking": text, "signature": text}),
    st.fixed_dictionaries({"type": st.just("redacted_thinking"), "data": text}),
    st.fixed_dictionaries({"type": st.just("tool_use"), "id": name, "name": name, "input": arguments}),
    st.fixed_dictionaries({"type": st.just("server_tool_use"), "id": name, "input": arguments}),
)  # fmt: skip


@given(st.lists(block, max_size=6))
def test_every_block_goes_back_as_it_came(blocks: list[dict[str, Any]]) -> None:
    response = answered(ANTHROPIC, {"content": blocks, "stop_reason": "end_turn"})
    messages = next_body(ANTHROPIC, response.message)["messages"]
    sayable = [b for b in blocks if b["type"] != "text" or b["text"]]
    assert [b for m in messages if m["role"] == "assistant" for b in m["content"]] == sayable


def events_of(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A stream whose deltas bring the blocks in one piece each."""
    events: list[dict[str, Any]] = [{"type": "message_start", "message": {"id": "m"}}]
    for index, b in enumerate(blocks):
        deltas = {
            "text": [{"type": "text_delta", "text": b.get("text")}],
            "thinking": [
                {"type": "thinking_delta", "thinking": b.get("thinking")},
                {"type": "signature_delta", "signature": b.get("signature")},
            ],
            "tool_use": [{"type": "input_json_delta", "partial_json": json.dumps(b.get("input"))}],
        }.get(b["type"], [])
        empty = {"text": "", "thinking": "", "signature": ""} if deltas else {}
        start = {k: empty.get(k, v) for k, v in b.items()}
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        events += [
            {"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas
        ]
    return [
        *events,
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "message_stop"},
    ]


@given(st.lists(block, max_size=6))
def test_a_stream_and_an_answer_in_one_piece_give_the_same_message(
    blocks: list[dict[str, Any]],
) -> None:
    in_one = answered(ANTHROPIC, {"content": blocks, "stop_reason": "end_turn"})
    assert streamed(ANTHROPIC, *events_of(blocks)).message == in_one.message


def test_thinking_and_its_signature_go_to_their_own_provider_alone() -> None:
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "s1gned"},
        {"type": "text", "text": "hi"},
    ]
    response = answered(ANTHROPIC, {"content": blocks, "stop_reason": "end_turn"})
    assert response.reasoning == "hm"
    assert "s1gned" in json.dumps(next_body(ANTHROPIC, response.message))
    for other in (OPENAI, Endpoint("another", "https://y.test")):
        chosen = dialect("openai" if other is OPENAI else "anthropic")
        sent = chosen.encode(ChatRequest("m", [HELLO, response.message, HELLO]), other)
        assert b"s1gned" not in sent
        assert b"native" not in sent
        assert b"hi" in sent


def test_a_message_that_was_changed_leaves_its_native_words_at_home() -> None:
    blocks = [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "hi"}]  # fmt: skip
    message = answered(ANTHROPIC, {"content": blocks, "stop_reason": "end_turn"}).message
    sent = next_body(ANTHROPIC, {**message, "content": "***"})["messages"][1]
    assert sent == {"role": "assistant", "content": [{"type": "text", "text": "***"}]}


def test_a_tool_call_that_the_cap_cut_short_is_refused_by_name() -> None:
    response = streamed(
        ANTHROPIC,
        {"type": "message_start", "message": {"id": "m"}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "c", "name": "f", "input": {}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"a": '}},
        {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}},
        {"type": "message_stop"},
    )  # fmt: skip
    with pytest.raises(CapabilityError, match="arguments are not a JSON object"):
        next_body(ANTHROPIC, response.message)


def test_an_answer_without_a_word_is_left_out_where_the_provider_would_refuse_it() -> None:
    message = answered(ANTHROPIC, {"content": [], "stop_reason": "end_turn"}).message
    assert message == {
        "role": "assistant",
        "content": "",
        "native": {"provider": "anthropic", "content": []},
    }
    assert [m["role"] for m in next_body(ANTHROPIC, message)["messages"]] == ["user"]


# -- OpenAI: the message, field by field

call = st.fixed_dictionaries(
    {
        "id": name,
        "type": st.just("function"),
        "function": st.fixed_dictionaries({"name": name, "arguments": text}),
    }
)
message = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.none() | text},
    optional={
        "tool_calls": st.lists(call, max_size=3),
        "reasoning_content": text,
        "reasoning": text,
        "reasoning_details": st.lists(st.fixed_dictionaries({"type": name, "data": text}), max_size=2),
        "refusal": st.none() | text,
        "annotations": st.lists(arguments, max_size=1),
    },
)  # fmt: skip


@given(message)
def test_every_field_goes_back_as_it_came(said: dict[str, Any]) -> None:
    response = answered(OPENAI, {"choices": [{"message": said, "finish_reason": "stop"}]})
    sent = next_body(OPENAI, response.message)["messages"][1]
    assert sent == {k: v for k, v in said.items() if v is not None or k == "content"}


def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"id": "1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_streamed_reasoning_goes_back_in_the_field_that_it_came_in(field: str) -> None:
    pieces = [chunk(**{field: "h"}), chunk(**{field: "m"}), chunk(content="hi"), chunk("stop")]
    response = streamed(OPENAI, *pieces)
    assert response.reasoning == "hm"
    sent = next_body(OPENAI, response.message)["messages"][1]
    assert sent == {"role": "assistant", "content": "hi", field: "hm"}


def test_streamed_reasoning_within_the_content_goes_back_within_it() -> None:
    def thought(words: str) -> dict[str, Any]:
        return {"type": "thinking", "thinking": [{"type": "text", "text": words}]}

    pieces = [chunk(content=[thought("h")]), chunk(content=[thought("m")]), chunk(content="hi")]
    response = streamed(OPENAI, *pieces, chunk("stop"))
    assert (response.content, response.reasoning) == ("hi", "hm")
    (sent,) = next_body(OPENAI, response.message)["messages"][1:-1]
    assert sent["content"] == [thought("hm"), {"type": "text", "text": "hi"}]


def test_streamed_reasoning_details_are_put_together() -> None:
    def detail(index: int, **more: Any) -> dict[str, Any]:
        return chunk(reasoning="x", reasoning_details=[{"type": "reasoning.text", "index": index, "format": None} | more])  # fmt: skip

    sealed = {"type": "reasoning.encrypted", "index": 1, "data": "zz"}
    response = streamed(
        OPENAI,
        detail(0, text="h"),
        detail(0, text="m"),
        detail(0, text=None, signature="s1"),
        chunk(reasoning_details=[sealed]),
        chunk(reasoning_details=[sealed]),
        detail(2, text="so"),
        chunk("stop", content="hi"),
    )
    sent = next_body(OPENAI, response.message)["messages"][1]
    assert sent["reasoning_details"] == [
        {"type": "reasoning.text", "index": 0, "format": None, "text": "hm", "signature": "s1"},
        sealed,
        sealed,
        {"type": "reasoning.text", "index": 2, "format": None, "text": "so"},
    ]


def test_spoken_sound_goes_back_as_its_id() -> None:
    said = {"role": "assistant", "content": None, "audio": {"id": "a1", "data": "UklG", "transcript": "hi"}}  # fmt: skip
    response = answered(OPENAI, {"choices": [{"message": said}]})
    assert response.raw["choices"][0]["message"]["audio"]["data"] == "UklG"
    sent = next_body(OPENAI, response.message)["messages"][1]
    assert sent == {"role": "assistant", "content": None, "audio": {"id": "a1"}}


# -- between them


@given(message)
def test_text_and_calls_of_one_dialect_can_be_carried_by_the_other(said: dict[str, Any]) -> None:
    response = answered(OPENAI, {"choices": [{"message": said}]})
    try:
        sent = next_body(ANTHROPIC, response.message)["messages"]
    except CapabilityError as refused:
        assert "arguments are not a JSON object" in str(refused)  # noqa: PT017 - of some, not all
        return
    blocks = [b for m in sent if m["role"] == "assistant" for b in m["content"]]
    assert [b["text"] for b in blocks if b["type"] == "text"] == [response.content] * bool(
        response.content
    )
    assert [b["id"] for b in blocks if b["type"] == "tool_use"] == [
        c["id"] for c in response.tool_calls
    ]


@pytest.mark.parametrize("endpoint", [OPENAI, ANTHROPIC])
@pytest.mark.parametrize("native", [None, "x", [], {}, {"provider": "openai"}, {"provider": "anthropic", "content": [4]}])  # fmt: skip
def test_native_words_that_are_none_are_left_out(endpoint: Endpoint, native: Any) -> None:
    plain = {"role": "assistant", "content": "hi"}
    assert next_body(endpoint, {**plain, "native": native}) == next_body(endpoint, plain)


def test_an_answer_can_be_marked_for_the_prompt_cache() -> None:
    blocks = [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "hi"}]  # fmt: skip
    message = answered(ANTHROPIC, {"content": blocks, "stop_reason": "end_turn"}).message
    marked = {**message, "cache_control": {"type": "ephemeral"}}
    sent = next_body(ANTHROPIC, marked)["messages"][1]["content"]
    assert sent == [blocks[0], {**blocks[1], "cache_control": {"type": "ephemeral"}}]


def encoded(endpoint: Endpoint, messages: list[Any], **options: Any) -> bytes:
    return dialect(endpoint.provider).encode(ChatRequest("m", messages, options=options), endpoint)


CYCLE: dict[str, Any] = {}
CYCLE["self"] = CYCLE


@pytest.mark.parametrize("endpoint", [OPENAI, ANTHROPIC], ids=lambda each: each.provider)
@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": [1, {"b": {1}}]}, r"odd.a\[1\].b, which is of type set"),
        ({"a": b"x"}, r"odd.a \(bytes go into parts of type image_bytes, pdf"),
        ({"a": print}, "odd.a, which is of type builtin_function_or_method"),
        ({(1, 2): 3}, "a value in the request"),
        (CYCLE, "a value in the request"),
    ],
)
def test_what_json_has_no_word_for_is_named_by_its_place(
    endpoint: Endpoint, value: Any, words: str
) -> None:
    with pytest.raises(CapabilityError, match=f"{endpoint.provider} cannot carry {words}"):
        encoded(endpoint, [HELLO], odd=value)


def test_bytes_in_a_misspelt_part_are_found() -> None:
    part = {"type": "image_byte", "data": b"x", "mime_type": "image/png"}
    with pytest.raises(CapabilityError, match=r"messages\[0\].content\[0\].data \(bytes go"):
        encoded(OPENAI, [{"role": "user", "content": [part]}])
