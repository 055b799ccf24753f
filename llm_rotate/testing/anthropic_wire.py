"""Anthropic messages, as api.anthropic.com sends them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from . import words
from .fields import ANTHROPIC, wrong_field
from .script import Refusal, Room
from .wire import SSE, Call, Event, HeaderList, sse, worded
from .words import Asked, Reply, Tool

# kind -> status, type, message
_ERRORS: Mapping[str, tuple[int, str, str]] = {
    "rate_limited": (
        429,
        "rate_limit_error",
        "Too many requests. Try again in {retry_after}s.",
    ),
    "quota_exhausted": (
        400,
        "invalid_request_error",
        "Your credit balance is too low for this request.",
    ),
    "bad_key": (401, "authentication_error", "invalid x-api-key"),
    "forbidden": (403, "permission_error", "This key may not use {model}."),
    "unknown_model": (404, "not_found_error", "model: {model}"),
    "blocked": (403, "permission_error", "Not served from this address."),
    "invalid": (400, "invalid_request_error", "{detail}"),
    "echo": (401, "authentication_error", "This key is wrong: {secret}"),
}
_STATUS_TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_PARTS = {
    "text",
    "image",
    "document",
    "tool_use",
    "tool_result",
    "thinking",
    "redacted_thinking",
    "search_result",
}


class AnthropicWire:
    """One provider, one flavour."""

    stream_type = SSE

    def invalid(self, call: Call, headers: Mapping[str, str]) -> str | None:
        body = call.body
        if "anthropic-version" not in headers:
            return "anthropic-version: header is required"
        if not call.model:
            return "model: field required"
        if body.get("max_tokens") is None:
            return "max_tokens: field required, at least 1"
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            return "messages: at least one message is required"
        wrong_one = next((wrong for m in messages if (wrong := _wrong_message(m))), None)
        return wrong_one or wrong_field(body, ANTHROPIC)

    def asked(self, call: Call) -> Asked:
        body, messages = call.body, call.body["messages"]
        choice = (body.get("tool_choice") or {}).get("type", "auto")
        system = sum(map(words.count, words.texts(body.get("system"))))
        return Asked(
            prompt=words.last_prompt(messages),
            prompt_tokens=system + words.prompt_tokens(messages),
            max_tokens=body["max_tokens"],
            tools=_tools(body),
            must_call=choice in {"any", "tool"},
            called=choice == "none" or _ends_in_result(messages),
            thinks=(body.get("thinking") or {}).get("type", "disabled") != "disabled",
            schema=_schema(body),
        )

    def whole(self, call: Call, asked: Asked, reply: Reply) -> dict[str, Any]:
        message = _message(call, asked)
        message["content"] = [_block(call, kind, reply) for kind in _kinds(reply)]
        message["stop_reason"] = _stop(reply)
        message["usage"]["output_tokens"] = reply.tokens
        return message

    def events(self, call: Call, asked: Asked, reply: Reply) -> Sequence[Event]:
        return list(self._events(call, asked, reply))

    def _events(self, call: Call, asked: Asked, reply: Reply) -> Iterator[Event]:
        yield _event("message_start", message=_message(call, asked))
        yield _event("ping")
        for index, kind in enumerate(_kinds(reply)):
            opened = {**_block(call, kind, reply), **_EMPTY[kind]}
            yield _event("content_block_start", index=index, content_block=opened)
            for delta in _deltas(call, kind, reply):
                # A signature alone is nothing that a caller could have been given.
                content = delta["type"] != "signature_delta"
                yield _event("content_block_delta", content=content, index=index, delta=delta)
            yield _event("content_block_stop", index=index)
        stop = {"stop_reason": _stop(reply), "stop_sequence": None}
        yield _event("message_delta", delta=stop, usage={"output_tokens": reply.tokens})
        yield _event("message_stop")

    def error(self, call: Call, refusal: Refusal) -> tuple[int, dict[str, Any]]:
        status, kind, message = _row(refusal)
        text = worded(message, call, refusal)
        return status, {
            "type": "error",
            "error": {"type": kind, "message": text},
            "request_id": call.id("req_"),
        }

    def error_headers(self, refusal: Refusal) -> HeaderList:  # noqa: ARG002 - the body says all
        return []

    def error_event(self, call: Call) -> bytes:
        error = {"type": "overloaded_error", "message": "Overloaded"}
        return sse({"type": "error", "error": error, "request_id": call.id("req_")}, "error")

    def limit_headers(self, call: Call, room: Room) -> HeaderList:
        reset = datetime.fromtimestamp(call.wall + room.reset, UTC)
        stated = reset.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return [
            ("anthropic-ratelimit-requests-limit", str(room.limit)),
            ("anthropic-ratelimit-requests-remaining", str(room.remaining)),
            ("anthropic-ratelimit-requests-reset", stated),
        ]

    def id_header(self, call: Call) -> tuple[str, str]:
        return "request-id", call.id("req_")


def _message(call: Call, asked: Asked) -> dict[str, Any]:
    """A message before anything was said."""
    return {
        "id": call.id("msg_"),
        "type": "message",
        "role": "assistant",
        "model": call.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": asked.prompt_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 0,
        },
    }


def _kinds(reply: Reply) -> list[str]:
    """The blocks of an answer, in their order."""
    thinking = ["thinking"] if reply.thoughts else []
    return [*thinking, "tool_use" if reply.tool else "text"]


_EMPTY: Mapping[str, Mapping[str, Any]] = {
    "thinking": {"thinking": "", "signature": ""},
    "text": {"text": ""},
    "tool_use": {"input": {}},
}


def _block(call: Call, kind: str, reply: Reply) -> dict[str, Any]:
    if kind == "thinking":
        return {"type": kind, "thinking": reply.thinking, "signature": call.id("sig")}
    if kind == "text":
        return {"type": kind, "text": reply.text}
    name = reply.tool.name if reply.tool else ""
    return {"type": kind, "id": call.id("toolu_"), "name": name, "input": reply.arguments}


def _deltas(call: Call, kind: str, reply: Reply) -> Iterator[dict[str, str]]:
    if kind == "thinking":
        yield from ({"type": "thinking_delta", "thinking": thought} for thought in reply.thoughts)
        yield {"type": "signature_delta", "signature": call.id("sig")}
    elif kind == "text":
        yield from ({"type": "text_delta", "text": piece} for piece in reply.pieces)
    else:
        arguments = json.dumps(reply.arguments)
        half = len(arguments) // 2
        for piece in (arguments[:half], arguments[half:]):
            yield {"type": "input_json_delta", "partial_json": piece}


def _event(kind: str, *, content: bool = False, **fields: Any) -> Event:
    return Event(sse({"type": kind, **fields}, kind), content)


def _stop(reply: Reply) -> str:
    if reply.tool:
        return "tool_use"
    return "max_tokens" if reply.full else "end_turn"


def _tools(body: Mapping[str, Any]) -> tuple[Tool, ...]:
    # Server tools have a type and no schema: the provider runs them itself.
    offered = [tool for tool in body.get("tools") or [] if "input_schema" in tool]
    wanted = (body.get("tool_choice") or {}).get("name")
    if wanted is not None:
        offered = [tool for tool in offered if tool["name"] == wanted]
    return tuple(Tool(tool["name"], tool["input_schema"]) for tool in offered)


def _schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    wanted = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
    schema: Mapping[str, Any] | None = wanted.get("schema")
    return schema


def _ends_in_result(messages: Sequence[Mapping[str, Any]]) -> bool:
    content = messages[-1].get("content")
    return isinstance(content, list) and any(part.get("type") == "tool_result" for part in content)


def _wrong_message(message: Any) -> str | None:
    if not isinstance(message, Mapping) or message.get("role") not in {"user", "assistant"}:
        return "messages: role must be user or assistant"
    content = message.get("content")
    if not content:
        return "messages: content must not be empty"
    for part in content if isinstance(content, list) else []:
        if not isinstance(part, Mapping) or part.get("type") not in _PARTS:
            return f"messages: a content block's type must be one of {', '.join(sorted(_PARTS))}"
    return None


def _row(refusal: Refusal) -> tuple[int, str, str]:
    if refusal.kind in _ERRORS:
        status, kind, message = _ERRORS[refusal.kind]
        return refusal.status or status, kind, message
    status = refusal.status or 500
    fallback = "api_error" if status >= 500 else "invalid_request_error"
    kind = _STATUS_TYPES.get(status, fallback)
    return status, kind, f"The simulator was told to answer {status}."
