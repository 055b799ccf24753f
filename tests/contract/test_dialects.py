"""What every dialect promises. A new one joins by adding its case."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_rotate.core.outcome import Outcome
from llm_rotate.core.wire import Carrier, ChatRequest, Dialect, Endpoint, Headers, Verdict
from llm_rotate.errors import CapabilityError, ConfigurationError
from llm_rotate.providers import DIALECTS, dialect
from llm_rotate.testing.bedrock_wire import event_frame, frame
from llm_rotate.types import ChatResponse, StreamChunk
from tests.behaviours.dialects import ADDRESSES, OTHER, PROVIDERS
from tests.behaviours.wires import WIRES

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "be kind"},
    {"role": "user", "content": [{"type": "text", "text": "hello"}]},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "4"},
]
WALL = 1_790_000_000.0


@dataclass(frozen=True)
class Case:
    """One dialect's answers: text "hello", reasoning "hm", a call of f, 3 + 2 tokens."""

    name: str
    endpoint: Endpoint
    answer: Mapping[str, Any]
    events: Sequence[Any]
    error: Mapping[str, Any]  # its own way to say 429
    said: Callable[[Any], Any]  # the assistant's message in an answer
    sent: Callable[[Any], Any]  # the same, where a request has it as its last message but one
    framed: Callable[..., bytes]
    finish: str = "stop"

    @property
    def stream(self) -> bytes:
        return self.framed(*self.events)


DONE = "[DONE]"


def sse(*events: Any) -> bytes:
    words = [DONE if event == DONE else json.dumps(event) for event in events]
    return b"".join(b"data: " + each.encode() + b"\n\n" for each in words)


def frames(*events: Any) -> bytes:
    """AWS's event stream, of events {kind: payload}; what has no kind is an exception."""
    named = [event if isinstance(event, dict) else {"junk": event} for event in events]
    return b"".join(
        throttled(event) if "__type" in event else event_frame(str(kind), payload)
        for event in named
        for kind, payload in event.items()
    )


def throttled(event: Any) -> bytes:
    return frame({":message-type": "exception", ":exception-type": "throttlingException"}, event)


def openai_delta(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"id": "1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


OPENAI_USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
ANTHROPIC_USAGE = {"input_tokens": 3, "output_tokens": 2}
GEMINI_USAGE = {
    "promptTokenCount": 3,
    "candidatesTokenCount": 1,
    "thoughtsTokenCount": 1,
    "totalTokenCount": 5,
}
GEMINI_CALL = {"functionCall": {"id": "c1", "name": "f", "args": {}}}


def gemini_event(*parts: Any, **more: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, **more}]}


RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "output": [
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "hm"}],
            "encrypted_content": "sealed",
        },
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "hello", "annotations": []}],
        },
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}"},
    ],
    "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
}
BEDROCK_USAGE = {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}
CASES = [
    Case(
        "openai",
        Endpoint("openai", "https://x.test/v1"),
        {
            "choices": [
                {
                    "finish_reason": "stop",
                    "message": {"content": "hello", "reasoning_content": "hm", "tool_calls": [CALL]},
                }
            ],
            "usage": OPENAI_USAGE,
        },
        [
            openai_delta(role="assistant", content=""),
            openai_delta(reasoning="hm"),
            openai_delta(content="hel"),
            openai_delta(content="lo"),
            openai_delta(tool_calls=[{"index": 0, **CALL}]),
            openai_delta("stop"),
            {"choices": [], "usage": OPENAI_USAGE},
            DONE,
        ],
        {"error": {"message": "slow down", "code": "rate_limit_exceeded"}},
        lambda answer: {"role": "assistant"} | answer["choices"][0]["message"],
        lambda request: request["messages"][-2],
        sse,
    ),
    Case(
        "anthropic",
        Endpoint("anthropic", "https://x.test", auth="x-api-key"),
        {
            "content": [
                {"type": "thinking", "thinking": "hm"},
                {"type": "text", "text": "hello"},
                {"type": "tool_use", "id": "c1", "name": "f", "input": {}},
            ],
            "stop_reason": "stop",
            "usage": ANTHROPIC_USAGE,
        },
        [
            {"type": "message_start", "message": {"usage": {"input_tokens": 3}}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking"}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
            {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "hel"}},
            {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "lo"}},
            {"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "c1", "name": "f"}},
            {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
            {"type": "message_delta", "delta": {"stop_reason": "stop"}, "usage": {"output_tokens": 2}},
            {"type": "message_stop"},
        ],
        {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}},
        lambda answer: answer["content"],
        lambda request: request["messages"][-2]["content"],
        sse,
    ),
    Case(
        "bedrock",
        Endpoint("aws_bedrock", "https://x.test"),
        {
            "output": {
                "message": {
                    "role": "assistant",
                    "content": [
                        {"reasoningContent": {"reasoningText": {"text": "hm"}}},
                        {"text": "hello"},
                        {"toolUse": {"toolUseId": "c1", "name": "f", "input": {}}},
                    ],
                }
            },
            "stopReason": "stop",
            "usage": BEDROCK_USAGE,
        },
        [
            {"messageStart": {"role": "assistant"}},
            {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "hm"}}}},
            {"contentBlockDelta": {"contentBlockIndex": 1, "delta": {"text": "hel"}}},
            {"contentBlockDelta": {"contentBlockIndex": 1, "delta": {"text": "lo"}}},
            {"contentBlockStart": {"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "c1", "name": "f"}}}},
            {"contentBlockDelta": {"contentBlockIndex": 2, "delta": {"toolUse": {"input": "{}"}}}},
            {"contentBlockStop": {"contentBlockIndex": 2}},
            {"messageStop": {"stopReason": "stop"}},
            {"metadata": {"usage": BEDROCK_USAGE}},
        ],
        {"__type": "com.amazon#ThrottlingException", "message": "slow down"},
        lambda answer: answer["output"]["message"]["content"],
        lambda request: request["messages"][-2]["content"],
        frames,
    ),
    Case(
        "openai_responses",
        Endpoint("openai", "https://x.test/v1"),
        RESPONSE,
        [
            {"type": "response.created", "response": RESPONSE | {"status": "in_progress", "output": []}},
            {"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning"}},
            {"type": "response.reasoning_summary_part.added", "output_index": 0, "summary_index": 0},
            {"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": "hm"},
            {"type": "response.output_item.done", "output_index": 0, "item": RESPONSE["output"][0]},
            {"type": "response.output_text.delta", "output_index": 1, "delta": "hel"},
            {"type": "response.output_text.delta", "output_index": 1, "delta": "lo"},
            {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": "{}"},
            {"type": "response.completed", "response": RESPONSE},
        ],
        {"error": {"message": "slow down", "code": "rate_limit_exceeded"}},
        lambda answer: answer["output"],
        lambda request: request["input"][1:-1],
        sse,
        "completed",
    ),
    Case(
        "gemini",
        Endpoint("google_ai_studio", "https://x.test", auth="x-goog-api-key"),
        {
            **gemini_event({"text": "hm", "thought": True}, {"text": "hello"}, GEMINI_CALL, finishReason="stop"),
            "usageMetadata": GEMINI_USAGE,
        },
        [
            gemini_event({"text": "hm", "thought": True}),
            gemini_event({"text": "hel"}),
            gemini_event({"text": "lo"}),
            {**gemini_event(GEMINI_CALL, finishReason="stop"), "usageMetadata": GEMINI_USAGE},
        ],
        {"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}},
        lambda answer: answer["candidates"][0]["content"]["parts"],
        lambda request: request["contents"][-2]["parts"],
        sse,
    ),
]  # fmt: skip

each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
unhurried = settings(deadline=None)  # the machine may be busy with others


def request(*, stream: bool = False, **more: Any) -> ChatRequest:
    return ChatRequest("asked", MESSAGES, stream=stream, **more)


def parse(case: Case, raw: bytes, status: int = 200) -> Verdict[ChatResponse]:
    return dialect(case.name).parse(request(), status, Headers(()), raw, WALL)


def streamed(case: Case, *pieces: bytes) -> list[StreamChunk | Verdict[ChatResponse]]:
    """Everything a stream gave; its verdict, from feed or end, is the last thing."""
    reader = dialect(case.name).events(request(stream=True))
    found = [item for piece in pieces for item in reader.feed(piece)]
    if not found or not isinstance(found[-1], Verdict):
        found.append(reader.end())
    assert [isinstance(item, Verdict) for item in found] == [False] * (len(found) - 1) + [True]
    assert reader.text.startswith("".join(c.delta for c in found if isinstance(c, StreamChunk)))
    return found


def is_right(response: ChatResponse | None, finish: str) -> bool:
    assert response is not None
    (call,) = response.tool_calls
    counts = (response.usage.prompt_tokens, response.usage.completion_tokens)
    return (
        (response.content, response.reasoning, response.finish_reason) == ("hello", "hm", finish)
        and call == CALL
        and counts == (3, 2)
        and response.usage.total_tokens == 5
    )


def test_every_dialect_has_a_case() -> None:
    assert {case.name for case in CASES} == set(DIALECTS)


def test_every_dialect_joins_in_the_behaviours() -> None:
    """Rotation, streams, calls and first steps are proved with a provider of each."""
    assert set(PROVIDERS) == set(DIALECTS)
    assert set(OTHER) == set(WIRES) == set(ADDRESSES.values()) >= set(PROVIDERS.values())


@each
def test_the_registry_makes_each_dialect_once_and_by_its_name(case: Case) -> None:
    assert dialect(case.name) is DIALECTS[case.name]
    assert dialect(case.name).name == case.name


def test_F01_an_unknown_dialect_is_told_with_those_there_are() -> None:
    with pytest.raises(
        ConfigurationError, match="anthropic, bedrock, gemini, openai, openai_responses"
    ):
        dialect("opanai")


@each
def test_C01_a_conversation_with_tools_can_be_sent(case: Case) -> None:
    chosen, messages = dialect(case.name), copy.deepcopy(MESSAGES)
    asked = request(options={"tools": [TOOL], "tool_choice": "auto"})
    body = chosen.encode(asked, case.endpoint)
    assert messages == MESSAGES, "the caller's messages are untouched"
    ready = chosen.prepare("sesame", case.endpoint)
    assert any(b"sesame" in value for _, value in ready.headers)
    if chosen.sdk is not None:
        return
    sent = cast("Carrier", chosen).build(asked, body, ready, WALL)
    assert (sent.method, sent.body, sent.stream) == ("POST", body, False)
    assert sent.url.startswith("https://x.test/")
    assert json.loads(body).get("model") == "asked" or "/asked/" in sent.url
    assert any(b"sesame" in value for _, value in sent.headers)


@each
def test_C01_C03_an_answer_is_the_same_shape_from_every_provider(case: Case) -> None:
    verdict = parse(case, json.dumps(case.answer).encode())
    assert verdict.outcome is Outcome.OK
    assert is_right(verdict.value, case.finish)
    assert verdict.value is not None
    assert verdict.value.raw == case.answer
    assert verdict.used == verdict.value.usage


# An answer becomes a message of the next request.

RESULT = {"role": "tool", "tool_call_id": "c1", "content": "4"}


def stored(case: Case, response: ChatResponse | None) -> dict[str, Any]:
    """The answer's message, after a rest in somebody's data base."""
    assert response is not None
    response.provider = case.endpoint.provider
    message: dict[str, Any] = json.loads(json.dumps(response.message))
    return message


def next_request(case: Case, message: dict[str, Any]) -> Any:
    messages = [MESSAGES[1], message, RESULT]
    return json.loads(dialect(case.name).encode(ChatRequest("m", messages), case.endpoint))


@each
def test_an_answer_goes_into_the_next_request_as_it_came(case: Case) -> None:
    message = stored(case, parse(case, json.dumps(case.answer).encode()).value)
    assert case.sent(next_request(case, message)) == case.said(case.answer)
    assert (message["role"], message["content"], message["tool_calls"]) == (
        "assistant",
        "hello",
        [CALL],
    )


@each
def test_a_streamed_answer_goes_back_in_the_same_way(case: Case) -> None:
    last = streamed(case, case.stream)[-1]
    assert isinstance(last, Verdict)
    assert last.value is not None
    message = stored(case, last.value)
    assert case.sent(next_request(case, message)) == case.said(last.value.raw)


@each
@pytest.mark.parametrize("change", [{"content": "bye"}, {"tool_calls": [CALL | {"id": "c2"}]}])
def test_a_message_that_was_changed_says_what_it_says_now(case: Case, change: Any) -> None:
    message = stored(case, parse(case, json.dumps(case.answer).encode()).value) | change
    plain = {name: message[name] for name in message if name != "native"}
    assert next_request(case, message) == next_request(case, plain)


@each
@pytest.mark.parametrize("giver", CASES, ids=lambda case: case.name)
def test_any_dialect_carries_text_and_calls_of_anothers_answer(case: Case, giver: Case) -> None:
    message = stored(giver, parse(giver, json.dumps(giver.answer).encode()).value)
    message["native"]["provider"] = "another"
    plain = {name: message[name] for name in message if name != "native"}
    assert next_request(case, message) == next_request(case, plain)


@each
def test_S02_S04_a_stream_is_the_same_at_every_split(case: Case) -> None:
    whole = streamed(case, case.stream)
    assert isinstance(whole[-1], Verdict)
    assert is_right(whole[-1].value, case.finish)
    assert streamed(case, *(case.stream[i : i + 1] for i in range(len(case.stream)))) == whole
    for cut in range(len(case.stream)):
        assert streamed(case, case.stream[:cut], case.stream[cut:]) == whole
    if case.framed is sse:
        crlf = case.stream.replace(b"\n", b"\r\n")
        assert streamed(case, b"\xef\xbb\xbf" + crlf[:-4]) == whole


@each
def test_S01_wherever_a_stream_is_cut_the_verdict_fits_what_was_given(case: Case) -> None:
    for cut in range(len(case.stream)):
        *chunks, verdict = streamed(case, case.stream[:cut])
        assert isinstance(verdict, Verdict)
        broken = Outcome.INTERRUPTED if chunks else Outcome.SERVER_ERROR
        assert verdict.outcome in {Outcome.OK, broken}
        assert (verdict.outcome is Outcome.OK) == (verdict.value is not None)


@each
def test_an_error_is_judged_alike_by_status_in_a_200_and_in_a_stream(case: Case) -> None:
    raw = json.dumps(case.error).encode()
    (first,) = streamed(case, case.framed(case.error))
    for verdict in (parse(case, raw, 429), parse(case, raw), first):
        assert isinstance(verdict, Verdict)
        assert (verdict.outcome, verdict.message) == (Outcome.RATE_LIMITED, "slow down")


@pytest.mark.parametrize(
    "case", [each for each in CASES if each.framed is sse], ids=lambda c: c.name
)
@pytest.mark.parametrize("said_before", [0, 3])
def test_an_error_written_among_the_events_without_their_form_is_judged_too(
    case: Case, said_before: int
) -> None:
    """As Google writes it once a stream has begun, and others where no event had come."""
    events = case.framed(*case.events[:said_before])
    for error in (case.error, [case.error]):
        raw = events + json.dumps(error, indent=1).encode()
        for pieces in ((raw,), tuple(raw[i : i + 1] for i in range(len(raw)))):
            verdict = streamed(case, *pieces)[-1]
            assert isinstance(verdict, Verdict)
            assert (verdict.outcome, verdict.message) == (Outcome.RATE_LIMITED, "slow down")
    *_, verdict = streamed(case, json.dumps(case.answer, indent=1).encode())
    assert isinstance(verdict, Verdict)
    assert verdict.outcome is Outcome.SERVER_ERROR, "an answer in one piece is no stream"


@each
def test_the_callers_own_error_is_not_the_dialects_business(case: Case) -> None:
    assert dialect(case.name).classify(ValueError("x"), WALL) is None


# Whatever comes, a verdict comes out.

scalar = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
junk = st.recursive(
    scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=6
)  # fmt: skip


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything inside a JSON value."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [at, *(path for key, item in inner for path in places(item, (*at, key)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    changed = copy.copy(value)
    changed[path[0]] = replaced(value[path[0]], path[1:], new)
    return changed


def judged_or_read(verdict: object) -> None:
    assert isinstance(verdict, Verdict)
    assert (verdict.outcome is Outcome.OK) == (verdict.value is not None)
    if verdict.value is not None:
        assert isinstance(verdict.value.content, str)
        assert isinstance(verdict.value.reasoning, str)
        assert isinstance(verdict.value.raw, dict)
        assert isinstance(verdict.value.finish_reason, str | None)
        assert all(isinstance(call, dict) for call in verdict.value.tool_calls)
        assert verdict.value.usage.total_tokens >= 0
    else:
        assert isinstance(verdict.message, str)
        assert isinstance(verdict.code, str | None)


@each
@unhurried
@given(picked=st.data())
def test_an_answer_with_anything_wrong_in_it_gives_a_verdict(
    case: Case, picked: st.DataObject
) -> None:
    for whole, status in ((case.answer, 200), (case.error, picked.draw(st.integers(200, 599)))):
        path = picked.draw(st.sampled_from(places(dict(whole))))
        raw = json.dumps(replaced(dict(whole), path, picked.draw(junk))).encode()
        judged_or_read(parse(case, raw, status))
        judged_or_read(parse(case, raw[: picked.draw(st.integers(0, len(raw)))], status))


@each
@unhurried
@given(picked=st.data())
def test_a_stream_with_anything_wrong_in_it_gives_a_verdict(
    case: Case, picked: st.DataObject
) -> None:
    events = list(case.events)
    at = picked.draw(st.integers(0, len(events) - 1))
    if events[at] != DONE:
        path = picked.draw(st.sampled_from(places(events[at])))
        events[at] = replaced(events[at], path, picked.draw(junk))
    order = picked.draw(st.permutations(events)) if picked.draw(st.booleans()) else events
    judged_or_read(streamed(case, case.framed(*order))[-1])


@each
@unhurried
@given(raw=st.binary(max_size=60), status=st.integers(100, 999))
def test_any_bytes_give_a_verdict(case: Case, raw: bytes, status: int) -> None:
    judged_or_read(parse(case, raw, status))
    judged_or_read(streamed(case, raw)[-1])
    judged_or_read(streamed(case, b"data: ", raw, b"\n\n")[-1])


class APIStatusError(Exception):
    """As the generated SDKs name it."""

    def __init__(self, status_code: Any, body: Any, response: Any) -> None:
        super().__init__("said so")
        self.status_code, self.body, self.response = status_code, body, response


@each
@unhurried
@given(status=junk, body=junk, response=junk)
def test_any_sdk_error_gives_a_verdict(case: Case, status: Any, body: Any, response: Any) -> None:
    verdict = dialect(case.name).classify(APIStatusError(status, body, response), WALL)
    assert verdict is not None
    assert verdict.outcome is not Outcome.OK
    judged_or_read(verdict)


PORTABLE = ["tools", "tool_choice", "parallel_tool_calls", "response_format", "stop", "top_p", "seed",
            "logprobs", "top_logprobs", "reasoning_effort", "user"]  # fmt: skip


@each
@unhurried
@given(picked=st.data())
def test_what_cannot_be_sent_is_a_capability_error(case: Case, picked: st.DataObject) -> None:
    chosen: Dialect = dialect(case.name)
    path = picked.draw(st.sampled_from([p for p in places(MESSAGES) if p]))
    messages = replaced(MESSAGES, path, picked.draw(junk))
    options = picked.draw(st.dictionaries(st.sampled_from(PORTABLE), junk, max_size=2))
    try:
        body = chosen.encode(ChatRequest("m", messages, options=options), case.endpoint)
    except CapabilityError:
        return
    assert isinstance(json.loads(body), dict)


# Nothing is lost without a word.

DATA = base64.b64encode(b"\x89PNG bytes").decode()
PARTS: dict[str, tuple[dict[str, Any], str]] = {
    "image bytes": ({"type": "image_bytes", "data": b"\x89PNG bytes", "mime_type": "image/png"}, DATA),
    "image data URL": ({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}"}}, DATA),
    "image URL": ({"type": "image_url", "image_url": {"url": "https://x.test/marked.png"}}, "marked.png"),
    "image by uri": ({"type": "file", "file_uri": "https://x.test/marked.png", "mime_type": "image/png"}, "marked.png"),
    "pdf bytes": ({"type": "pdf_bytes", "data": b"\x89PNG bytes", "mime_type": "application/pdf"}, DATA),
    "pdf data URL": ({"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{DATA}"}}, DATA),
    "pdf by uri": ({"type": "file", "file_uri": "https://x.test/marked.pdf", "mime_type": "application/pdf"}, "marked.pdf"),
    "file id": ({"type": "file", "file": {"file_id": "file-marked"}}, "file-marked"),
    "audio": ({"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}}, DATA),
    "audio bytes": ({"type": "audio_bytes", "data": b"\x89PNG bytes", "mime_type": "audio/wav"}, DATA),
    "text": ({"type": "text", "text": "marked"}, "marked"),
}  # fmt: skip
SCHEMA = {"type": "object", "properties": {"marked": {"type": "string"}}, "required": ["marked"]}
OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "tools": ({"tools": [{"type": "function", "function": {"name": "marked", "parameters": {}}}]}, "marked"),
    "tool choice": ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}}, '"f"'),
    "schema": ({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}}, "marked"),
    "stop": ({"stop": ["marked"]}, "marked"),
    "top_p": ({"top_p": 0.125}, "0.125"),
    "seed": ({"seed": 424242}, "424242"),
    "logprobs": ({"logprobs": True, "top_logprobs": 7}, "7"),
    "user": ({"user": "marked"}, "marked"),
    "their own": ({"some_keyword": "marked"}, "marked"),
}  # fmt: skip


def encoded_or_refused(case: Case, asked: ChatRequest) -> str:
    """The body, or the reason why there is none."""
    try:
        return dialect(case.name).encode(asked, case.endpoint).decode()
    except CapabilityError as error:
        return f"refused: {error}"


@each
@pytest.mark.parametrize("kind", PARTS)
def test_C02_a_part_is_carried_whole_or_refused_by_name(case: Case, kind: str) -> None:
    part, mark = PARTS[kind]
    told = encoded_or_refused(case, ChatRequest("m", [{"role": "user", "content": [part]}]))
    if told.startswith("refused: "):
        assert case.name in told
        assert part["type"].partition("_")[0] in told
    else:
        assert mark in told


@each
@pytest.mark.parametrize("kind", OPTIONS)
def test_C01_an_option_is_carried_or_refused_by_name(case: Case, kind: str) -> None:
    options, mark = OPTIONS[kind]
    told = encoded_or_refused(case, request(options=options))
    if told.startswith("refused: "):
        assert case.name in told
        assert any(name in told for name in options)
    else:
        assert mark in told


@each
def test_C01_every_system_message_and_every_parallel_call_is_carried(case: Case) -> None:
    calls = [CALL | {"id": f"call-{n}"} for n in range(3)]
    results = [{"role": "tool", "tool_call_id": f"call-{n}", "content": f"result-{n}"} for n in range(3)]  # fmt: skip
    messages = [
        {"role": "system", "content": "first-rule"},
        {"role": "system", "content": [{"type": "text", "text": "second-rule"}]},
        MESSAGES[1],
        {"role": "assistant", "content": "calling", "tool_calls": calls},
        *results,
    ]
    body = dialect(case.name).encode(ChatRequest("m", messages), case.endpoint).decode()
    marks = ["first-rule", "second-rule", "calling", *(f"call-{n}" for n in range(3)), *(f"result-{n}" for n in range(3))]  # fmt: skip
    assert [mark for mark in marks if mark not in body] == []
