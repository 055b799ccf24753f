"""Bedrock Converse: what is sent fits the service's own model, what comes back is read whole."""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    EventStreamError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
)
from botocore.validate import ParamValidator
from pydantic import BaseModel

from llm_rotate.core.outcome import Outcome
from llm_rotate.core.wire import ChatRequest, Endpoint, Headers, Verdict
from llm_rotate.errors import CapabilityError
from llm_rotate.providers import dialect
from llm_rotate.providers.bedrock_frames import FrameParser
from llm_rotate.testing.bedrock_wire import event_frame, frame
from llm_rotate.types import ChatResponse, StreamChunk

BEDROCK = dialect("bedrock")
HERE = Endpoint("aws_bedrock", "https://bedrock-runtime.us-east-1.amazonaws.com")
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
HELLO = {"role": "user", "content": "hello"}
TOOL = {
    "type": "function",
    "function": {"name": "f", "description": "d", "parameters": {"type": "object"}},
}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
USED = [
    HELLO,
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "4"},
]


class Answer(BaseModel):
    words: str
    count: int = 3


@cache
def converse_input() -> Any:
    service = botocore.session.Session().get_service_model("bedrock-runtime")
    return service.operation_model("Converse").input_shape


def body_of(*messages: Any, model: str = CLAUDE, **more: Any) -> Any:
    """The body of a request, which the service's own model must take."""
    top = {name: more.pop(name) for name in ("max_tokens", "temperature", "stream") if name in more}
    request = ChatRequest(model, messages or [HELLO], options=more, **top)
    body = json.loads(BEDROCK.encode(request, HERE))
    report = ParamValidator().validate({"modelId": model, **body}, converse_input())
    assert not report.has_errors(), report.generate_report()
    return body


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def sent_blocks(*parts: Any) -> Any:
    [message] = body_of(user(*parts))["messages"]
    return message["content"]


def test_the_check_against_the_services_model_can_fail() -> None:
    with pytest.raises((AssertionError, ParamValidationError)):
        body_of(inferenceConfig={"maxTokenz": 3})


# -- messages


def test_system_messages_are_gathered_and_roles_alternate() -> None:
    body = body_of(
        {"role": "system", "content": "be kind"},
        HELLO,
        {"role": "developer", "content": [{"type": "text", "text": "and short"}]},
        {"role": "user", "content": "are you there?"},
        {"role": "assistant", "content": "yes"},
        {"role": "assistant", "content": ""},
        HELLO,
    )
    assert body["system"] == [{"text": "be kind"}, {"text": "and short"}]
    assert body["messages"] == [
        {"role": "user", "content": [{"text": "hello"}, {"text": "are you there?"}]},
        {"role": "assistant", "content": [{"text": "yes"}]},
        {"role": "user", "content": [{"text": "hello"}]},
    ]


def test_tool_calls_and_results_parallel_and_with_pictures() -> None:
    second = {**CALL, "id": "c2", "function": {"name": "f", "arguments": ""}}
    picture = {"type": "image_bytes", "data": b"png", "mime_type": "image/png"}
    body = body_of(
        HELLO,
        {"role": "assistant", "content": "let me see", "tool_calls": [CALL, second]},
        {"role": "tool", "tool_call_id": "c1", "content": "4"},
        {"role": "tool", "tool_call_id": "c2", "content": [picture]},
        tools=[TOOL],
    )
    _, calls, results = body["messages"]
    assert calls["content"] == [
        {"text": "let me see"},
        {"toolUse": {"toolUseId": "c1", "name": "f", "input": {"a": 1}}},
        {"toolUse": {"toolUseId": "c2", "name": "f", "input": {}}},
    ]
    image = {"image": {"format": "png", "source": {"bytes": base64.b64encode(b"png").decode()}}}
    assert [block["toolResult"] for block in results["content"]] == [
        {"toolUseId": "c1", "content": [{"text": "4"}]},
        {"toolUseId": "c2", "content": [image]},
    ]
    assert results["role"] == "user"


def data_url(mime: str, data: bytes = b"data") -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


DATA = base64.b64encode(b"data").decode()
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
CARRIED: dict[str, tuple[Any, Any]] = {
    "jpeg": (
        {"type": "image_bytes", "data": b"data", "mime_type": "image/jpeg"},
        {"image": {"format": "jpeg", "source": {"bytes": DATA}}},
    ),
    "data url": (
        {"type": "image_url", "image_url": {"url": data_url("image/webp")}},
        {"image": {"format": "webp", "source": {"bytes": DATA}}},
    ),
    "pdf": (
        {"type": "pdf_bytes", "data": b"data", "filename": "the  plan_2026.v2.pdf"},
        {"document": {"format": "pdf", "name": "the plan 2026 v2", "source": {"bytes": DATA}}},
    ),
    "file": (
        {"type": "file", "file": {"file_data": data_url(DOCX), "filename": "a.docx"}},
        {"document": {"format": "docx", "name": "a", "source": {"bytes": DATA}}},
    ),
    "unnamed": (
        {"type": "file", "file": {"file_data": data_url("text/csv")}},
        {"document": {"format": "csv", "name": "document", "source": {"bytes": DATA}}},
    ),
    "in s3": (
        {"type": "file", "file_uri": "s3://bucket/a.mp4", "mime_type": "video/mp4"},
        {"video": {"format": "mp4", "source": {"s3Location": {"uri": "s3://bucket/a.mp4"}}}},
    ),
    "sound": (
        {"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}},
        {"audio": {"format": "wav", "source": {"bytes": DATA}}},
    ),
    "its own": (
        {"guardContent": {"text": {"text": "guard this"}}},
        {"guardContent": {"text": {"text": "guard this"}}},
    ),
    "words": ("just words", {"text": "just words"}),
}


@pytest.mark.parametrize("what", CARRIED)
def test_C02_parts_are_carried(what: str) -> None:
    given, wanted = CARRIED[what]
    assert sent_blocks({"type": "text", "text": "see"}, given) == [{"text": "see"}, wanted]


def test_documents_of_one_name_are_told_apart() -> None:
    pdf = {"type": "pdf_bytes", "data": b"x"}
    names = [block["document"]["name"] for block in sent_blocks(pdf, pdf, pdf)]
    assert names == ["document", "document (2)", "document (3)"]


def test_a_document_of_the_callers_own_that_comes_twice_is_not_changed() -> None:
    part = {"document": {"format": "txt", "name": "a", "source": {"bytes": "QQ=="}}}
    names = [block["document"]["name"] for block in sent_blocks(part, part)]
    assert names == ["a", "a (2)"]
    assert part["document"]["name"] == "a"


def test_names_of_documents_have_the_letters_and_length_that_are_taken() -> None:
    part = {"type": "pdf_bytes", "data": b"x", "filename": "Ωmega/../[a] (b)-" + "x" * 400 + ".pdf"}
    [block] = sent_blocks(part)
    name = block["document"]["name"]
    assert name.startswith("mega [a] (b)-xxx")
    assert len(name) <= 200


REFUSED_PARTS: dict[str, tuple[Any, str]] = {
    "web image": ({"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}, "image_url"),
    "no url": ({"type": "image_url", "image_url": {}}, "without a URL"),
    "tiff": ({"type": "image_bytes", "data": b"x", "mime_type": "image/tiff"}, "image/tiff"),
    "gs": ({"type": "file", "file_uri": "gs://b/a", "mime_type": "image/png"}, "not in S3"),
    "file id": ({"type": "file", "file": {"file_id": "file-1"}}, "file part"),
    "midi": (
        {"type": "input_audio", "input_audio": {"data": DATA, "format": "mid"}},
        "input_audio",
    ),
    "unknown": ({"type": "hologram", "data": 1}, "hologram"),
    "a number": (7, "type int"),
}


@pytest.mark.parametrize("what", REFUSED_PARTS)
def test_C02_what_cannot_be_carried_is_named(what: str) -> None:
    part, words = REFUSED_PARTS[what]
    with pytest.raises(CapabilityError, match=words) as caught:
        body_of(user(part))
    assert "bedrock cannot carry" in str(caught.value)


def test_cache_marks_become_cache_points() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    hour = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    point, long_point = {"cachePoint": {"type": "default"}}, {"cachePoint": {"type": "default", "ttl": "1h"}}  # fmt: skip
    body = body_of(
        {"role": "system", "content": [{"type": "text", "text": "long", **hour}]},
        user({"type": "text", "text": "a", **mark}, {"type": "text", "text": "b"}),
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "4", **mark},
        tools=[{**TOOL, **mark}],
    )
    assert body["system"] == [{"text": "long"}, long_point]
    assert body["messages"][0]["content"] == [{"text": "a"}, point, {"text": "b"}]
    assert body["messages"][2]["content"][1] == point
    assert body["toolConfig"]["tools"][1] == point
    assert body_of({**HELLO, **mark})["messages"][0]["content"] == [{"text": "hello"}, point]


def test_thinking_in_anthropics_words_goes_along() -> None:
    parts = [
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "eHg="},
        {"type": "text", "text": "yes"},
    ]
    body = body_of(HELLO, {"role": "assistant", "content": parts}, HELLO)
    assert body["messages"][1]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}},
        {"reasoningContent": {"redactedContent": "eHg="}},
        {"text": "yes"},
    ]


# -- keywords


def test_limits_and_stops_are_in_inference_config() -> None:
    body = body_of(max_tokens=9, temperature=0.5, top_p=0.9, stop="END", user="u-1")
    assert body["inferenceConfig"] == {
        "maxTokens": 9,
        "temperature": 0.5,
        "topP": 0.9,
        "stopSequences": ["END"],
    }
    assert body["requestMetadata"] == {"user": "u-1"}
    assert body_of(stop=["a", "b"])["inferenceConfig"] == {"stopSequences": ["a", "b"]}
    assert set(body_of(seed=None, logprobs=False)) == {"messages"}


def test_tools_and_choices() -> None:
    spec = {"name": "f", "description": "d", "inputSchema": {"json": {"type": "object"}}}
    body = body_of(tools=[TOOL, {"systemTool": {"name": "nova_grounding"}}], tool_choice="required")
    assert body["toolConfig"] == {
        "tools": [{"toolSpec": spec}, {"systemTool": {"name": "nova_grounding"}}],
        "toolChoice": {"any": {}},
    }
    named = {"type": "function", "function": {"name": "f"}}
    assert body_of(tools=[TOOL], tool_choice=named)["toolConfig"]["toolChoice"] == {
        "tool": {"name": "f"}
    }


def test_tools_that_may_not_be_called_are_not_offered() -> None:
    assert "toolConfig" not in body_of(tools=[TOOL], tool_choice="none")
    with pytest.raises(CapabilityError, match="none"):
        body_of(*USED, tools=[TOOL], tool_choice="none")


def test_one_tool_at_a_time_where_the_model_can_be_told() -> None:
    body = body_of(tools=[TOOL], tool_choice="required", parallel_tool_calls=False)
    told = {"type": "any", "disable_parallel_tool_use": True}
    assert body["additionalModelRequestFields"] == {"tool_choice": told}
    assert "toolChoice" not in body["toolConfig"]
    with pytest.raises(CapabilityError, match="parallel_tool_calls"):
        body_of(model="amazon.nova-lite-v1:0", tools=[TOOL], parallel_tool_calls=False)
    assert "additionalModelRequestFields" not in body_of(tools=[TOOL], parallel_tool_calls=True)


def test_B06_a_pydantic_class_and_a_schema_are_told_as_a_format() -> None:
    schema = {"name": "Answer", "schema": Answer.model_json_schema()}
    [by_class, by_schema] = [
        body_of(response_format=given)["outputConfig"]["textFormat"]
        for given in (Answer, {"type": "json_schema", "json_schema": schema})
    ]
    assert by_class == by_schema
    told = by_class["structure"]["jsonSchema"]
    assert (by_class["type"], told["name"]) == ("json_schema", "Answer")
    schema = json.loads(told["schema"])
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == {"words", "count"}


EFFORTS: dict[str, tuple[str, Any, Any]] = {
    "claude": (CLAUDE, "medium", {"thinking": {"type": "enabled", "budget_tokens": 8192}}),
    "nova": (
        "us.amazon.nova-2-lite-v1:0",
        "low",
        {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}},
    ),
    "gpt-oss": ("openai.gpt-oss-120b-1:0", "high", {"reasoning_effort": "high"}),
}


@pytest.mark.parametrize("case", EFFORTS)
def test_reasoning_effort_is_said_in_the_makers_words(case: str) -> None:
    model, effort, told = EFFORTS[case]
    body = body_of(model=model, reasoning_effort=effort)
    assert body["additionalModelRequestFields"] == told


def test_thinking_has_room_beside_the_answer() -> None:
    assert body_of(reasoning_effort="low")["inferenceConfig"]["maxTokens"] == 2048 + 4096
    capped = body_of(reasoning_effort="high", max_tokens=4000)
    assert capped["inferenceConfig"]["maxTokens"] == 4000
    assert capped["additionalModelRequestFields"]["thinking"]["budget_tokens"] == 2000
    assert set(body_of(reasoning_effort="none")) == {"messages"}
    own = {"thinking": {"type": "enabled", "budget_tokens": 5000}}
    assert body_of(reasoning_effort="low", additionalModelRequestFields=own) == {
        "messages": [{"role": "user", "content": [{"text": "hello"}]}],
        "additionalModelRequestFields": own,
    }


REFUSED_OPTIONS: dict[str, Any] = {
    "seed": 7,
    "logprobs": True,
    "top_logprobs": 3,
    "response_format": {"type": "json_object"},
    "tool_choice": "sometimes",
    "tools": "hammer",
    "reasoning_effort": "enormous",
}


@pytest.mark.parametrize("name", REFUSED_OPTIONS)
def test_keywords_that_cannot_be_carried_are_named(name: str) -> None:
    with pytest.raises(CapabilityError, match=name):
        body_of(**{name: REFUSED_OPTIONS[name]})


def test_reasoning_effort_of_a_model_that_is_hidden_is_refused() -> None:
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
    with pytest.raises(CapabilityError, match="additionalModelRequestFields"):
        body_of(model=arn, reasoning_effort="low")


def test_an_upstream_is_a_brokers_word() -> None:
    with pytest.raises(CapabilityError, match="upstream"):
        BEDROCK.encode(ChatRequest("m", [HELLO], upstream="anthropic"), HERE)


def test_other_fields_go_as_they_are_and_win() -> None:
    guard = {"guardrailIdentifier": "g", "guardrailVersion": "1"}
    body = body_of(
        max_tokens=9,
        guardrailConfig=guard,
        serviceTier={"type": "flex"},
        inferenceConfig={"temperature": 0.1, "maxTokens": 5},
    )
    assert body["guardrailConfig"] == guard
    assert body["inferenceConfig"] == {"maxTokens": 5, "temperature": 0.1}
    assert body["serviceTier"] == {"type": "flex"}


# -- addresses

ARN = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-x-v1:0"


@pytest.mark.parametrize(
    ("model", "escaped"),
    [
        ("amazon.nova-lite-v1:0", "amazon.nova-lite-v1%3A0"),
        (ARN, ARN.replace(":", "%3A").replace("/", "%2F")),
    ],
)
def test_models_and_arns_stand_in_the_path_in_one_piece(model: str, escaped: str) -> None:
    ready = BEDROCK.prepare("key", HERE)
    for stream, ending in ((False, "converse"), (True, "converse-stream")):
        request = ChatRequest(model, [HELLO], stream=stream)
        sent = BEDROCK.build(request, b"{}", ready, 0.0)
        assert sent.url == f"{HERE.base_url}/model/{escaped}/{ending}"
        assert (b"authorization", b"Bearer key") in sent.headers


# -- answers


def parsed(answer: Any, status: int = 200, **headers: str) -> Verdict[ChatResponse]:
    raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    named = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    return BEDROCK.parse(ChatRequest("m", [HELLO]), status, Headers(named), raw, 0.0)


def response(*content: Any, **more: Any) -> ChatResponse:
    message = {"role": "assistant", "content": list(content)}
    verdict = parsed({"output": {"message": message}, "stopReason": "end_turn", **more})
    assert verdict.value is not None
    return verdict.value


def test_usage_counts_what_the_cache_took_and_gave() -> None:
    usage = {
        "inputTokens": 5,
        "outputTokens": 7,
        "totalTokens": 42,
        "cacheReadInputTokens": 10,
        "cacheWriteInputTokens": 20,
    }
    found = response({"text": "x"}, usage=usage).usage
    assert (found.prompt_tokens, found.completion_tokens, found.total_tokens) == (35, 7, 42)
    assert (found.cached_tokens, found.raw) == (10, usage)


def test_tools_of_the_providers_own_are_not_the_callers() -> None:
    use = {"toolUseId": "s1", "name": "nova_grounding", "input": {}, "type": "server_tool_use"}
    result = {"toolUseId": "s1", "content": [], "type": "nova_grounding_result"}
    found = response({"toolUse": use}, {"toolResult": result}, {"text": "found"})
    assert (found.content, found.tool_calls) == ("found", [])
    assert found.native == [{"toolUse": use}, {"toolResult": result}, {"text": "found"}]


def streamed(*events: tuple[str, Any]) -> tuple[list[StreamChunk], Verdict[ChatResponse]]:
    reader = BEDROCK.events(ChatRequest("m", [HELLO], stream=True))
    found = reader.feed(b"".join(event_frame(kind, payload) for kind, payload in events))
    *chunks, verdict = found if found and isinstance(found[-1], Verdict) else [*found, reader.end()]
    assert isinstance(verdict, Verdict)
    return chunks, verdict  # type: ignore[return-value]


def delta(index: int, **delta: Any) -> tuple[str, Any]:
    return "contentBlockDelta", {"contentBlockIndex": index, "delta": delta, "p": "abc"}


STOP = ("messageStop", {"stopReason": "end_turn", "p": "ab"})
END = ("metadata", {"usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}, "p": "a"})


def test_a_stream_becomes_what_would_have_come_in_one_piece() -> None:
    cite = {"title": "t", "location": {"web": {"url": "https://x.test"}}}
    chunks, verdict = streamed(
        ("messageStart", {"role": "assistant", "p": "abcd"}),
        delta(0, reasoningContent={"text": "h"}),
        delta(0, reasoningContent={"text": "m"}),
        delta(0, reasoningContent={"signature": "c2ln"}),
        delta(1, reasoningContent={"redactedContent": "eHg="}),
        delta(2, text="cited"),
        delta(2, citation=cite),
        ("contentBlockStart", {"contentBlockIndex": 3, "start": {"toolUse": {"toolUseId": "c", "name": "f"}}}),
        delta(3, toolUse={"input": '{"a":'}),
        delta(3, toolUse={"input": "1}"}),
        STOP,
        END,
    )  # fmt: skip
    assert verdict.value is not None
    assert verdict.value.raw == {
        "output": {
            "message": {
                "role": "assistant",
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}},
                    {"reasoningContent": {"redactedContent": "eHg="}},
                    {"citationsContent": {"content": [{"text": "cited"}], "citations": [cite]}},
                    {"toolUse": {"toolUseId": "c", "name": "f", "input": {"a": 1}}},
                ],
            }
        },
        "stopReason": "end_turn",
        "usage": END[1]["usage"],
    }
    assert [(c.delta, c.reasoning) for c in chunks] == [("", "h"), ("", "m"), ("cited", "")]
    assert (verdict.value.content, verdict.value.reasoning) == ("cited", "hm")
    again = body_of(HELLO, {**verdict.value.message, "native": {"provider": "aws_bedrock", "content": verdict.value.native}}, USED[2] | {"tool_call_id": "c"}, tools=[TOOL])  # fmt: skip
    assert again["messages"][1]["content"] == verdict.value.native


def test_a_tool_call_without_arguments_is_whole() -> None:
    start = {"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "c", "name": "f"}}}
    _, verdict = streamed(("contentBlockStart", start), STOP, END)
    assert verdict.value is not None
    [call] = verdict.value.tool_calls
    assert (call["id"], call["function"]) == ("c", {"name": "f", "arguments": "{}"})


def test_a_stream_that_ends_after_its_last_word_without_its_usage_is_whole() -> None:
    _, verdict = streamed(delta(0, text="x"), STOP)
    assert (verdict.outcome, verdict.value and verdict.value.content) == (Outcome.OK, "x")


def test_frames_with_wrong_sums_end_the_stream() -> None:
    raw = bytearray(event_frame("contentBlockDelta", delta(0, text="x")[1]))
    raw[-1] ^= 1
    parser = FrameParser()
    assert parser.feed(bytes(raw)) == [("", b"")]
    assert parser.feed(event_frame(*STOP)) == []


def test_an_error_message_may_stand_in_a_header() -> None:
    parser = FrameParser()
    told = {":message-type": "error", ":error-code": "InternalFailure", ":error-message": "oh"}
    assert parser.feed(frame(told, None)) == [("InternalFailure", b'{"message":"oh"}')]


# -- faults

NAMES: dict[str, tuple[int, Outcome]] = {
    "ThrottlingException": (429, Outcome.RATE_LIMITED),
    "ModelNotReadyException": (429, Outcome.OVERLOADED),
    "ServiceQuotaExceededException": (400, Outcome.QUOTA_EXHAUSTED),
    "AccessDeniedException": (403, Outcome.FORBIDDEN),
    "UnrecognizedClientException": (403, Outcome.AUTH_FAILED),
    "ExpiredTokenException": (403, Outcome.AUTH_FAILED),
    "InvalidSignatureException": (403, Outcome.AUTH_FAILED),
    "IncompleteSignatureException": (400, Outcome.AUTH_FAILED),
    "MissingAuthenticationTokenException": (403, Outcome.AUTH_FAILED),
    "ValidationException": (400, Outcome.BAD_REQUEST),
    "ResourceNotFoundException": (404, Outcome.MODEL_NOT_FOUND),
    "ModelTimeoutException": (408, Outcome.TIMED_OUT),
    "ModelErrorException": (424, Outcome.SERVER_ERROR),
    "InternalServerException": (500, Outcome.SERVER_ERROR),
    "ServiceUnavailableException": (503, Outcome.OVERLOADED),
}


@pytest.mark.parametrize("name", NAMES)
def test_errors_are_judged_by_their_names_in_headers_bodies_streams_and_sdk(name: str) -> None:
    status, outcome = NAMES[name]
    where = f"{name}:http://internal.amazon.com/coral/com.amazon.bedrock/"
    by_header = parsed({"message": "said"}, status, **{"x-amzn-ErrorType": where})
    by_body = parsed({"__type": f"com.amazon.coral.service#{name}", "Message": "said"}, status)
    metadata = {"HTTPStatusCode": status, "HTTPHeaders": {"x-amzn-requestid": "r-1"}}
    told = {"Error": {"Code": name, "Message": "said"}, "ResponseMetadata": metadata}
    by_sdk = BEDROCK.classify(ClientError(told, "Converse"), 0.0)
    for verdict in (by_header, by_body, by_sdk):
        assert verdict is not None
        assert (verdict.outcome, verdict.code, verdict.message) == (outcome, name, "said")
        assert verdict.status == status
        assert verdict.key_sign == (outcome is Outcome.AUTH_FAILED)
    assert by_sdk is not None
    assert by_sdk.request_id == "r-1"


IN_STREAMS = {
    "throttlingException": Outcome.RATE_LIMITED,
    "validationException": Outcome.BAD_REQUEST,
    "internalServerException": Outcome.SERVER_ERROR,
    "modelStreamErrorException": Outcome.SERVER_ERROR,
    "serviceUnavailableException": Outcome.OVERLOADED,
}


@pytest.mark.parametrize("name", IN_STREAMS)
def test_exceptions_inside_a_stream(name: str) -> None:
    reader = BEDROCK.events(ChatRequest("m", [HELLO], stream=True))
    raw = frame({":message-type": "exception", ":exception-type": name}, {"message": "said"})
    [verdict] = reader.feed(raw)
    assert isinstance(verdict, Verdict)
    assert (verdict.outcome, verdict.code, verdict.message) == (IN_STREAMS[name], name, "said")
    of_sdk = BEDROCK.classify(
        EventStreamError({"Error": {"Code": name, "Message": "said"}}, "ConverseStream"), 0.0
    )
    assert of_sdk is not None
    assert of_sdk.outcome == verdict.outcome


WORDS: dict[str, tuple[int, Outcome, bool]] = {
    "The provided model identifier is invalid.": (400, Outcome.MODEL_NOT_FOUND, False),
    "Invocation of model ID x with on-demand throughput isn’t supported.": (
        400,
        Outcome.MODEL_NOT_FOUND,
        False,
    ),
    "Authentication failed: Please make sure your API Key is valid.": (
        403,
        Outcome.AUTH_FAILED,
        True,
    ),
    "The security token included in the request is expired": (403, Outcome.AUTH_FAILED, True),
    "Too many tokens per day, please wait before trying again.": (
        429,
        Outcome.QUOTA_EXHAUSTED,
        False,
    ),
    "Too many tokens, please wait before trying again.": (429, Outcome.RATE_LIMITED, False),
    "Input is too long for requested model.": (400, Outcome.BAD_REQUEST, False),
}


@pytest.mark.parametrize("words", WORDS)
def test_errors_without_a_name_are_judged_by_their_words(words: str) -> None:
    status, outcome, key_sign = WORDS[words]
    verdict = parsed({"message": words}, status)
    assert (verdict.outcome, verdict.key_sign) == (outcome, key_sign)
    assert verdict.is_of_model == ("per day" in words)


SDK: dict[type, tuple[BaseException, Outcome | None]] = {
    type(error): (error, outcome)
    for error, outcome in (
        (EndpointConnectionError(endpoint_url="x"), Outcome.UNREACHABLE),
        (ConnectTimeoutError(endpoint_url="x"), Outcome.UNREACHABLE),
        (ReadTimeoutError(endpoint_url="x"), Outcome.TIMED_OUT),
        (NoCredentialsError(), None),
        (ParamValidationError(report="r"), None),
        (ValueError("mine"), None),
    )
}


@pytest.mark.parametrize("kind", SDK, ids=lambda kind: kind.__name__)
def test_C05_what_botocore_raises_for_the_way_there(kind: type) -> None:
    error, outcome = SDK[kind]
    verdict = BEDROCK.classify(error, 0.0)
    assert (verdict and verdict.outcome) == outcome
    assert verdict is None or verdict.error is error
