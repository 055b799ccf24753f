"""OpenAI chat completions as openai, azure_openai, openrouter and compatible services send them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from . import words
from .fields import COMPATIBLE, OPENAI, wrong_field
from .script import Refusal, Room
from .wire import SSE, Call, Event, HeaderList, seconds, sse, worded
from .words import Asked, Reply, Tool

# kind -> status, type, code, message
_ERRORS: Mapping[str, tuple[int, str, str | None, str]] = {
    "rate_limited": (
        429,
        "requests",
        "rate_limit_exceeded",
        "Too many requests for {model}. Try again in {retry_after}s.",
    ),
    "quota_exhausted": (
        429,
        "insufficient_quota",
        "insufficient_quota",
        "Your quota is used up; see your plan and billing details.",
    ),
    "bad_key": (401, "invalid_request_error", "invalid_api_key", "This API key is not valid."),
    "forbidden": (
        403,
        "invalid_request_error",
        "model_access_denied",
        "This project has no access to {model}.",
    ),
    "unknown_model": (
        404,
        "invalid_request_error",
        "model_not_found",
        "There is no model {model}, or this key may not use it.",
    ),
    "blocked": (403, "request_forbidden", "unsupported_location", "Not served from this address."),
    "invalid": (400, "invalid_request_error", "invalid_value", "{detail}"),
    "echo": (401, "invalid_request_error", "invalid_api_key", "This key is wrong: {secret}"),
    "upstream": (502, "server_error", None, "The upstream provider returned an error."),
}
_STATUS_TYPES: Mapping[int, tuple[str, str | None]] = {
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", None),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
    402: ("insufficient_quota", "insufficient_quota"),
}
_OPENROUTER_STATUS = {"quota_exhausted": 402}
_UPSTREAM_NAMES = {
    "anthropic": "Anthropic",
    "openai": "OpenAI",
    "google-ai-studio": "Google AI Studio",
    "google-vertex": "Google",
}
_OWN_RULES = {"openai", "azure_openai"}  # whose ranges and lists of names are OpenAI's
_SILENT_THINKERS = _OWN_RULES  # count reasoning tokens, show no reasoning


class OpenAIWire:
    """One wire format, three flavours, told apart by the provider's name."""

    stream_type = SSE

    def invalid(self, call: Call, headers: Mapping[str, str]) -> str | None:
        del headers
        messages = call.body.get("messages")
        if not call.model:
            return "you must provide a model parameter"
        if not isinstance(messages, list) or not messages:
            return "'messages' must be a list with at least one message"
        wrong_one = next((wrong for m in messages if (wrong := _wrong_message(m))), None)
        return wrong_one or wrong_field(
            call.body, OPENAI if call.provider in _OWN_RULES else COMPATIBLE
        )

    def asked(self, call: Call) -> Asked:
        body, messages = call.body, call.body["messages"]
        wanted = body.get("response_format")
        return Asked(
            prompt=words.last_prompt(messages),
            prompt_tokens=words.prompt_tokens(messages),
            max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
            tools=_tools(body),
            must_call=body.get("tool_choice") not in (None, "auto", "none"),
            called=messages[-1].get("role") == "tool" or body.get("tool_choice") == "none",
            thinks=bool(body.get("reasoning_effort") or body.get("reasoning")),
            schema=_schema(wanted) if isinstance(wanted, Mapping) else None,
        )

    def whole(self, call: Call, asked: Asked, reply: Reply) -> dict[str, Any]:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if reply.tool else reply.text,
            "refusal": None,
        }
        if reply.thoughts and call.provider not in _SILENT_THINKERS:
            message[_thinking_field(call)] = reply.thinking
        if reply.tool:
            message["tool_calls"] = [
                {**_call_head(call, reply.tool), "function": _function(reply, whole=True)}
            ]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(reply)}
        return {
            **_head(call, "chat.completion"),
            "choices": [choice],
            "usage": _usage(asked, reply),
        }

    def events(self, call: Call, asked: Asked, reply: Reply) -> Sequence[Event]:
        return list(self._events(call, asked, reply))

    def _events(self, call: Call, asked: Asked, reply: Reply) -> Iterator[Event]:
        head = _head(call, "chat.completion.chunk")
        yield from _opening(call)
        yield _chunk(head, {"role": "assistant", "content": "", "refusal": None})
        if call.provider not in _SILENT_THINKERS:
            for thought in reply.thoughts:
                yield _chunk(head, {_thinking_field(call): thought}, content=True)
        for piece in reply.pieces:
            yield _chunk(head, {"content": piece}, content=True)
        if reply.tool:
            yield from _tool_chunks(head, call, reply)
        yield _chunk(head, {}, finish=_finish(reply))
        if (call.body.get("stream_options") or {}).get("include_usage"):
            yield Event(sse({**head, "choices": [], "usage": _usage(asked, reply)}))
        yield Event(b"data: [DONE]\n\n")

    def error(self, call: Call, refusal: Refusal) -> tuple[int, dict[str, Any]]:
        status, kind, code, message = _row(refusal)
        text = worded(message, call, refusal)
        if call.provider == "openrouter":
            return _openrouter_error(_OPENROUTER_STATUS.get(refusal.kind, status), text, refusal)
        return status, {"error": {"message": text, "type": kind, "param": None, "code": code}}

    def error_headers(self, refusal: Refusal) -> HeaderList:  # noqa: ARG002 - the body says all
        return []

    def error_event(self, call: Call) -> bytes:
        text = "The server had an error while answering."
        if call.provider != "openrouter":
            error = {"message": text, "type": "server_error", "param": None, "code": None}
            return sse({"error": error})
        choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
        head = _head(call, "chat.completion.chunk")
        return sse({**head, "error": {"code": 502, "message": text}, "choices": [choice]})

    def limit_headers(self, call: Call, room: Room) -> HeaderList:
        del call
        return [
            ("x-ratelimit-limit-requests", str(room.limit)),
            ("x-ratelimit-remaining-requests", str(room.remaining)),
            ("x-ratelimit-reset-requests", _span(room.reset)),
        ]

    def id_header(self, call: Call) -> tuple[str, str]:
        return "x-request-id", call.id("req_", 32)


def _head(call: Call, kind: str) -> dict[str, Any]:
    broker = call.provider == "openrouter"
    head: dict[str, Any] = {
        "id": call.id("gen-" if broker else "chatcmpl-"),
        "object": kind,
        "created": int(call.wall),
        "model": call.model,
    }
    if broker and call.upstream:
        head["provider"] = _UPSTREAM_NAMES.get(call.upstream, call.upstream)
    return head


def _chunk(
    head: Mapping[str, Any],
    delta: Mapping[str, Any],
    *,
    finish: str | None = None,
    content: bool = False,
) -> Event:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return Event(sse({**head, "choices": [choice]}), content)


def _opening(call: Call) -> Iterator[Event]:
    """What comes before the first chunk at services that differ from OpenAI."""
    if call.provider == "openrouter":
        yield Event(b": OPENROUTER PROCESSING\n\n")
    elif call.provider == "azure_openai":
        results = [{"prompt_index": 0, "content_filter_results": {}}]
        blank = {"id": "", "object": "", "created": 0, "model": ""}
        yield Event(sse({**blank, "choices": [], "prompt_filter_results": results}))


def _tool_chunks(head: Mapping[str, Any], call: Call, reply: Reply) -> Iterator[Event]:
    """A tool call in fragments: its name first, its arguments in two pieces."""
    assert reply.tool is not None  # noqa: S101  the caller asked
    first = {"index": 0, **_call_head(call, reply.tool), "function": _function(reply, whole=False)}
    yield _chunk(head, {"tool_calls": [first]}, content=True)
    arguments = json.dumps(reply.arguments)
    half = len(arguments) // 2
    for piece in (arguments[:half], arguments[half:]):
        fragment = {"index": 0, "function": {"arguments": piece}}
        yield _chunk(head, {"tool_calls": [fragment]}, content=True)


def _call_head(call: Call, tool: Tool) -> dict[str, Any]:
    return {"id": call.id(f"call_{tool.name}_", 8), "type": "function"}


def _function(reply: Reply, *, whole: bool) -> dict[str, Any]:
    name = reply.tool.name if reply.tool else ""
    return {"name": name, "arguments": json.dumps(reply.arguments) if whole else ""}


def _finish(reply: Reply) -> str:
    if reply.tool:
        return "tool_calls"
    return "length" if reply.full else "stop"


def _usage(asked: Asked, reply: Reply) -> dict[str, Any]:
    return {
        "prompt_tokens": asked.prompt_tokens,
        "completion_tokens": reply.tokens,
        "total_tokens": asked.prompt_tokens + reply.tokens,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": len(reply.thoughts)},
    }


def _thinking_field(call: Call) -> str:
    return "reasoning" if call.provider == "openrouter" else "reasoning_content"


def _tools(body: Mapping[str, Any]) -> tuple[Tool, ...]:
    offered = [tool["function"] for tool in body.get("tools") or [] if "function" in tool]
    choice = body.get("tool_choice")
    if isinstance(choice, Mapping):
        wanted = choice.get("function", {}).get("name")
        offered = [tool for tool in offered if tool["name"] == wanted]
    return tuple(Tool(tool["name"], tool.get("parameters") or {}) for tool in offered)


def _schema(wanted: Mapping[str, Any]) -> Any:
    found = _SCHEMAS.get(str(wanted.get("type")))
    return found and found(wanted)


def _json_schema(wanted: Mapping[str, Any]) -> Mapping[str, Any]:
    schema: Mapping[str, Any] = wanted.get("json_schema", {}).get("schema", {})
    return schema


_SCHEMAS: Mapping[str, Any] = {
    "json_schema": _json_schema,
    "json_object": lambda _wanted: {"properties": {"answer": {"type": "string"}}},
}
_ROLES = {"system", "developer", "user", "assistant", "tool", "function"}
_PARTS = {"text", "image_url", "input_audio", "file", "refusal"}


def _wrong_message(message: Any) -> str | None:
    if not isinstance(message, Mapping) or message.get("role") not in _ROLES:
        return f"a message's role must be one of {', '.join(sorted(_ROLES))}"
    if message["role"] == "tool" and not message.get("tool_call_id"):
        return "a message with role 'tool' must have a 'tool_call_id'"
    parts = message.get("content")
    for part in parts if isinstance(parts, list) else []:
        if not isinstance(part, Mapping) or part.get("type") not in _PARTS:
            return f"a content part's type must be one of {', '.join(sorted(_PARTS))}"
    return None


def _row(refusal: Refusal) -> tuple[int, str, str | None, str]:
    if refusal.kind in _ERRORS:
        status, kind, code, message = _ERRORS[refusal.kind]
        return refusal.status or status, kind, code, message
    status = refusal.status or 500
    fallback = ("server_error" if status >= 500 else "invalid_request_error", None)
    kind, code = _STATUS_TYPES.get(status, fallback)
    return status, kind, code, f"The simulator was told to answer {status}."


def _openrouter_error(status: int, text: str, refusal: Refusal) -> tuple[int, dict[str, Any]]:
    error: dict[str, Any] = {"code": status, "message": text}
    if refusal.upstream:
        name = _UPSTREAM_NAMES.get(refusal.upstream, refusal.upstream)
        error["metadata"] = {"provider_name": name, "raw": f"{name} answered {status}"}
    return status, {"error": error}


def _span(value: float) -> str:
    """A duration as OpenAI spells it: 0s, 12ms, 8.64s, 6m0s."""
    if 0 < value < 1:
        return f"{max(1, round(value * 1000))}ms"
    minutes, rest = divmod(value, 60)
    return f"{int(minutes)}m{seconds(rest)}s" if minutes else f"{seconds(rest)}s"
