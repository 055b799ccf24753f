"""The events of streamed answers in each wire format, to be put together and cut at will."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llm_rotate.testing.bedrock_wire import event_frame, frame

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city":"Łódź"}'},
}


def sse(event: dict[str, Any], name: str = "") -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(event, ensure_ascii=False)}\n\n".encode()


class OpenAI:
    """Prompt of 3 tokens, answer of 2."""

    opening = (
        sse(
            {"id": "c1", "model": "m-1", "choices": [{"index": 0, "delta": {"role": "assistant"}}]}
        ),
    )
    noise = (
        b": keep-alive\n\n",
        b":\n\n",
        b"event: ping\n: nothing\n\n",
        sse({"id": "c1", "choices": []}),
        sse({"id": "c1", "choices": [{"index": 0, "delta": {"content": ""}}]}),
    )
    calls = (
        sse(
            {
                "choices": [
                    {
                        "delta": {
                            "tool_calls": [
                                {
                                    "index": 0,
                                    "id": "call_1",
                                    "type": "function",
                                    "function": {"name": "weather", "arguments": ""},
                                }
                            ]
                        }
                    }
                ]
            }
        ),
        *(
            sse(
                {
                    "choices": [
                        {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": part}}]}}
                    ]
                }
            )
            for part in ('{"city"', ':"Łó', 'dź"}')
        ),
    )
    finish = "stop"
    overloaded = sse({"error": {"message": "no room", "type": "server_error", "code": "503"}})
    limited = sse({"error": {"message": "slow", "type": "requests", "code": "rate_limit_exceeded"}})
    wrong = sse(
        {"error": {"message": "no", "type": "invalid_request_error", "code": "invalid_value"}}
    )

    @staticmethod
    def said(words: str) -> bytes:
        return sse({"choices": [{"index": 0, "delta": {"content": words}}]})

    @staticmethod
    def thought(words: str) -> bytes:
        return sse({"choices": [{"index": 0, "delta": {"reasoning_content": words}}]})

    closing = (
        sse({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
        sse(
            {
                "choices": [],
                "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
            }
        ),
        b"data: [DONE]\n\n",
    )


def _named(kind: str, **fields: Any) -> bytes:
    return sse({"type": kind, **fields}, kind)


class Anthropic:
    """The same in the other format."""

    opening = (
        _named(
            "message_start",
            message={
                "id": "m1",
                "type": "message",
                "role": "assistant",
                "model": "m-1",
                "content": [],
                "usage": {"input_tokens": 3, "output_tokens": 0},
            },
        ),
    )
    noise = (
        _named("ping"),
        b": comment\n\n",
        _named("something_new", about="later"),
        _named("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "s"}),
        _named("content_block_delta", index=1, delta={"type": "text_delta", "text": ""}),
    )
    calls = (
        _named(
            "content_block_start",
            index=2,
            content_block={"type": "tool_use", "id": "call_1", "name": "weather", "input": {}},
        ),
        *(
            _named(
                "content_block_delta",
                index=2,
                delta={"type": "input_json_delta", "partial_json": part},
            )
            for part in ('{"city"', ':"Łó', 'dź"}')
        ),
        _named("content_block_stop", index=2),
    )
    finish = "end_turn"
    overloaded = _named("error", error={"type": "overloaded_error", "message": "no room"})
    limited = _named("error", error={"type": "rate_limit_error", "message": "slow"})
    wrong = _named("error", error={"type": "invalid_request_error", "message": "no"})

    @staticmethod
    def said(words: str) -> bytes:
        return _named("content_block_delta", index=1, delta={"type": "text_delta", "text": words})

    @staticmethod
    def thought(words: str) -> bytes:
        return _named(
            "content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": words}
        )

    closing = (
        _named(
            "message_delta",
            delta={"stop_reason": "end_turn", "stop_sequence": None},
            usage={"output_tokens": 2},
        ),
        _named("message_stop"),
    )


def _said(*parts: dict[str, Any], **more: Any) -> bytes:
    candidate = {"content": {"role": "model", "parts": list(parts)}, "index": 0, **more}
    return sse({"candidates": [candidate], "responseId": "r1", "modelVersion": "m-1"})


def _refused(code: int, status: str, message: str) -> bytes:
    return sse({"error": {"code": code, "message": message, "status": status}})


class Gemini:
    """The same in the third; its end is the end of the body."""

    opening = (sse({"usageMetadata": {"promptTokenCount": 3}, "modelVersion": "m-1"}),)
    noise = (
        b": keep-alive\n\n",
        _said({"text": ""}),
        _said({"text": "", "thoughtSignature": "c2ln"}),
        sse({"modelVersion": "m-1", "something_new": {"about": "later"}}),
    )
    calls = (
        _said({"functionCall": {"id": "call_1", "name": "weather", "args": {"city": "Łódź"}}}),
    )
    finish = "STOP"
    overloaded = _refused(503, "UNAVAILABLE", "no room")
    limited = _refused(429, "RESOURCE_EXHAUSTED", "slow")
    wrong = _refused(400, "INVALID_ARGUMENT", "no")

    @staticmethod
    def said(words: str) -> bytes:
        return _said({"text": words})

    @staticmethod
    def thought(words: str) -> bytes:
        return _said({"text": words, "thought": True})

    closing = (
        sse(
            {
                "candidates": [{"content": {"role": "model"}, "finishReason": "STOP"}],
                "usageMetadata": {
                    "promptTokenCount": 3,
                    "candidatesTokenCount": 2,
                    "totalTokenCount": 5,
                },
                "responseId": "r1",
                "modelVersion": "m-1",
            }
        ),
    )


def _answered(**more: Any) -> dict[str, Any]:
    return {"id": "resp_1", "object": "response", "model": "m-1", "status": "completed"} | more


class OpenAIResponses:
    """The same once more. The end says all of it again; what it leaves out, its items told."""

    opening = (
        _named("response.created", response=_answered(status="in_progress", output=[])),
        _named("response.in_progress", response=_answered(status="in_progress", output=[])),
    )
    noise = (
        b": comment\n\n",
        _named("response.output_item.added", output_index=0, item={"type": "message"}),
        _named("response.content_part.added", output_index=0, part={"type": "output_text"}),
        _named("something.new", about="later"),
        _named("response.output_text.delta", output_index=0, delta=""),
    )
    calls = (
        _named("response.output_item.added", output_index=1, item={"type": "function_call"}),
        *(
            _named("response.function_call_arguments.delta", output_index=1, delta=part)
            for part in ('{"city"', ':"Łó', 'dź"}')
        ),
        _named(
            "response.output_item.done",
            output_index=1,
            item={"type": "function_call", "call_id": "call_1", **CALL["function"]},
        ),
    )
    finish = "completed"
    overloaded = _named("error", code="503", message="no room", param=None)
    limited = _named(
        "response.failed",
        response=_answered(
            status="failed",
            output=[],
            error={"code": "rate_limit_exceeded", "message": "slow"},
        ),
    )
    wrong = _named(
        "error", error={"message": "no", "type": "invalid_request_error", "code": "invalid_value"}
    )

    @staticmethod
    def said(words: str) -> bytes:
        return _named("response.output_text.delta", output_index=0, delta=words)

    @staticmethod
    def thought(words: str) -> bytes:
        return _named("response.reasoning_summary_text.delta", output_index=0, delta=words)

    closing = (
        _named(
            "response.completed",
            response=_answered(
                output=[], usage={"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
            ),
        ),
    )


def _delta(index: int, **delta: Any) -> bytes:
    return event_frame("contentBlockDelta", {"contentBlockIndex": index, "delta": delta, "p": "ab"})


def _exception(kind: str, words: str) -> bytes:
    return frame({":message-type": "exception", ":exception-type": kind}, {"message": words})


class Bedrock:
    """The same in binary frames."""

    opening = (event_frame("messageStart", {"role": "assistant"}),)
    noise = (
        event_frame("contentBlockStop", {"contentBlockIndex": 7}),
        event_frame("somethingNew", {"about": "later"}),
        _delta(0, reasoningContent={"signature": "c2ln"}),
        _delta(1, text=""),
    )
    calls = (
        event_frame(
            "contentBlockStart",
            {
                "contentBlockIndex": 2,
                "start": {"toolUse": {"toolUseId": "call_1", "name": "weather"}},
            },
        ),
        *(_delta(2, toolUse={"input": part}) for part in ('{"city"', ':"Łó', 'dź"}')),
        event_frame("contentBlockStop", {"contentBlockIndex": 2}),
    )
    finish = "end_turn"
    overloaded = _exception("serviceUnavailableException", "no room")
    limited = _exception("throttlingException", "slow")
    wrong = _exception("validationException", "no")

    @staticmethod
    def said(words: str) -> bytes:
        return _delta(1, text=words)

    @staticmethod
    def thought(words: str) -> bytes:
        return _delta(0, reasoningContent={"text": words})

    closing = (
        event_frame("messageStop", {"stopReason": "end_turn"}),
        event_frame(
            "metadata",
            {
                "usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5},
                "metrics": {"latencyMs": 1},
            },
        ),
    )


WIRES: dict[str, Any] = {
    "openai": OpenAI,
    "anthropic": Anthropic,
    "openai_responses": OpenAIResponses,
    "aws_bedrock": Bedrock,
    "google_ai_studio": Gemini,
    "google_vertex": Gemini,
    "azure_openai": OpenAI,
}
# Those whose events are lines of text.
IN_LINES = ("openai", "anthropic", "openai_responses", "google_ai_studio", "google_vertex")


@dataclass(frozen=True)
class Streamed:
    """A whole stream, event by event."""

    events: Sequence[bytes]

    @property
    def raw(self) -> bytes:
        return b"".join(self.events)


def whole(provider: str, *words: str) -> Streamed:
    wire = WIRES[provider]
    return Streamed((*wire.opening, *(wire.said(word) for word in words), *wire.closing))
