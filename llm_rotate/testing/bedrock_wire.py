"""Bedrock Converse, as bedrock-runtime sends it: JSON, and event streams of binary frames."""

from __future__ import annotations

import base64
import json
import struct
from binascii import crc32
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from . import words
from .script import Refusal, Room
from .wire import Call, Event, HeaderList, worded
from .words import Asked, Reply, Tool

# kind -> status, error's name, message
_ERRORS: Mapping[str, tuple[int, str, str]] = {
    "rate_limited": (
        429,
        "ThrottlingException",
        "Too many requests. Wait {retry_after}s before the next one.",
    ),
    "quota_exhausted": (
        400,
        "ServiceQuotaExceededException",
        "Your account has used up what it may use.",
    ),
    "bad_key": (403, "UnrecognizedClientException", "Nobody has these credentials."),
    "bad_signature": (403, "InvalidSignatureException", "{detail}"),
    "forbidden": (403, "AccessDeniedException", "These credentials may not use {model}."),
    "unknown_model": (404, "ResourceNotFoundException", "There is no model {model}."),
    "blocked": (403, "AccessDeniedException", "Not served from this address."),
    "invalid": (400, "ValidationException", "{detail}"),
    "echo": (403, "UnrecognizedClientException", "Nobody has these credentials: {secret}"),
}
_STATUS_NAMES: Mapping[int, str] = {
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
}
_BLOCKS = frozenset(
    {
        "text",
        "image",
        "document",
        "video",
        "audio",
        "toolUse",
        "toolResult",
        "guardContent",
        "cachePoint",
        "reasoningContent",
        "citationsContent",
        "searchResult",
    }
)


class BedrockWire:
    """One provider, one flavour."""

    stream_type = "application/vnd.amazon.eventstream"

    def invalid(self, call: Call, headers: Mapping[str, str]) -> str | None:  # noqa: ARG002
        messages = call.body.get("messages")
        if not isinstance(messages, list) or not messages:
            return "A conversation must begin with a message."
        roles = [m.get("role") if isinstance(m, Mapping) else None for m in messages]
        if roles != ["user", "assistant"] * (len(roles) // 2) + ["user"] * (len(roles) % 2):
            return "A conversation must begin with a user message and alternate from there."
        blocks = [block for m in messages for block in _blocks_of(m)]
        blocks += call.body.get("system") or []
        if any(not isinstance(b, Mapping) or len(_BLOCKS & b.keys()) != 1 for b in blocks):
            return "A content block must be of one known kind."
        if any("toolUse" in b or "toolResult" in b for b in blocks) and not _offered(call.body):
            return "The toolConfig field must be defined when using toolUse and toolResult blocks."
        return None

    def asked(self, call: Call) -> Asked:
        body, messages = call.body, call.body["messages"]
        last = messages[-1]["content"]
        choice = (body.get("toolConfig") or {}).get("toolChoice") or {"auto": {}}
        more = body.get("additionalModelRequestFields") or {}
        thinking = more.get("thinking") or more.get("reasoningConfig") or {}
        images = sum("image" in block for m in messages for block in m["content"])
        system = sum(map(words.count, words.texts(body.get("system"))))
        return Asked(
            prompt=words.last_prompt(messages),
            prompt_tokens=system + words.prompt_tokens(messages) + words.IMAGE_TOKENS * images,
            max_tokens=(body.get("inferenceConfig") or {}).get("maxTokens"),
            tools=_tools(body, choice),
            must_call="auto" not in choice,
            called=any("toolResult" in block for block in last),
            thinks=thinking.get("type") == "enabled",
            schema=_schema(body),
        )

    def whole(self, call: Call, asked: Asked, reply: Reply) -> dict[str, Any]:
        content = [_block(call, kind, reply) for kind in _kinds(reply)]
        return {
            "metrics": {"latencyMs": 1},
            "output": {"message": {"content": content, "role": "assistant"}},
            "stopReason": _stop(reply),
            "usage": _usage(asked, reply),
        }

    def events(self, call: Call, asked: Asked, reply: Reply) -> Sequence[Event]:
        return list(self._events(call, asked, reply))

    def _events(self, call: Call, asked: Asked, reply: Reply) -> Iterator[Event]:
        yield _event("messageStart", role="assistant")
        for index, kind in enumerate(_kinds(reply)):
            if kind == "toolUse":
                use = _block(call, kind, reply)[kind]
                start = {kind: {name: use[name] for name in ("name", "toolUseId")}}
                yield _event("contentBlockStart", contentBlockIndex=index, start=start)
            for delta, content in _deltas(call, kind, reply):
                fields = {"contentBlockIndex": index, "delta": delta}
                yield _event("contentBlockDelta", content=content, **fields)
            yield _event("contentBlockStop", contentBlockIndex=index)
        yield _event("messageStop", stopReason=_stop(reply))
        yield _event("metadata", metrics={"latencyMs": 1}, usage=_usage(asked, reply))

    def error(self, call: Call, refusal: Refusal) -> tuple[int, dict[str, Any]]:
        status, _, message = _row(refusal)
        return status, {"message": worded(message, call, refusal)}

    def error_headers(self, refusal: Refusal) -> HeaderList:
        where = "http://internal.amazon.com/coral/com.amazon.bedrock/"
        return [("x-amzn-errortype", f"{_row(refusal)[1]}:{where}")]

    def error_event(self, call: Call) -> bytes:  # noqa: ARG002 - the same for all
        told = {"message": "The service is busy."}
        kind = "serviceUnavailableException"
        return frame({":message-type": "exception", ":exception-type": kind}, told)

    def limit_headers(self, call: Call, room: Room) -> HeaderList:  # noqa: ARG002 - it has none
        return []

    def id_header(self, call: Call) -> tuple[str, str]:
        return "x-amzn-requestid", call.id("")


def frame(headers: Mapping[str, str], payload: Any) -> bytes:
    """An event-stream message: lengths, headers, JSON payload (None: no payload), checksums.

    https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html
    """
    body = b"" if payload is None else json.dumps(payload, separators=(",", ":")).encode()
    named = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack("!H", len(value)) + value
        for name, value in (
            (name, text.encode())
            for name, text in {**headers, ":content-type": "application/json"}.items()
        )
    )
    prelude = struct.pack("!II", 16 + len(named) + len(body), len(named))
    message = prelude + struct.pack("!I", crc32(prelude)) + named + body
    return message + struct.pack("!I", crc32(message))


def event_frame(kind: str, payload: Any) -> bytes:
    """A frame that carries an event."""
    return frame({":event-type": kind, ":message-type": "event"}, payload)


def _event(kind: str, *, content: bool = False, **fields: Any) -> Event:
    # Padding, as the service sends it so that lengths tell nothing.
    return Event(event_frame(kind, {**fields, "p": "abcdefgh"}), content)


def _kinds(reply: Reply) -> list[str]:
    """The blocks of an answer, in their order."""
    thinking = ["reasoningContent"] if reply.thoughts else []
    return [*thinking, "toolUse" if reply.tool else "text"]


def _block(call: Call, kind: str, reply: Reply) -> dict[str, Any]:
    if kind == "text":
        return {kind: reply.text}
    if kind == "reasoningContent":
        return {kind: {"reasoningText": {"text": reply.thinking, "signature": _signature(call)}}}
    name = reply.tool.name if reply.tool else ""
    return {kind: {"toolUseId": call.id("tooluse_"), "name": name, "input": reply.arguments}}


def _signature(call: Call) -> str:
    return base64.b64encode(call.id("sig").encode()).decode()


def _deltas(call: Call, kind: str, reply: Reply) -> Iterator[tuple[dict[str, Any], bool]]:
    """Deltas, and whether they are something that a caller could have been given."""
    if kind == "text":
        yield from (({"text": piece}, True) for piece in reply.pieces)
    elif kind == "reasoningContent":
        yield from (({kind: {"text": thought}}, True) for thought in reply.thoughts)
        yield {kind: {"signature": _signature(call)}}, False
    else:
        arguments = json.dumps(reply.arguments)
        half = len(arguments) // 2
        yield from (({kind: {"input": p}}, True) for p in (arguments[:half], arguments[half:]))


def _stop(reply: Reply) -> str:
    if reply.tool:
        return "tool_use"
    return "max_tokens" if reply.full else "end_turn"


def _usage(asked: Asked, reply: Reply) -> dict[str, int]:
    return {
        "inputTokens": asked.prompt_tokens,
        "outputTokens": reply.tokens,
        "totalTokens": asked.prompt_tokens + reply.tokens,
    }


def _blocks_of(message: Mapping[str, Any]) -> list[Any]:
    """The blocks of a message; one that is none where it has no list of them."""
    content = message.get("content")
    return content if isinstance(content, list) and content else [None]


def _offered(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The function tools of a request."""
    tools = (body.get("toolConfig") or {}).get("tools") or []
    return [tool["toolSpec"] for tool in tools if "toolSpec" in tool]


def _tools(body: Mapping[str, Any], choice: Mapping[str, Any]) -> tuple[Tool, ...]:
    wanted = (choice.get("tool") or {}).get("name")
    return tuple(
        Tool(spec["name"], spec["inputSchema"]["json"])
        for spec in _offered(body)
        if wanted in (None, spec["name"])
    )


def _schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    wanted = (body.get("outputConfig") or {}).get("textFormat")
    if not wanted:
        return None
    schema: Mapping[str, Any] = json.loads(wanted["structure"]["jsonSchema"]["schema"])
    return schema


def _row(refusal: Refusal) -> tuple[int, str, str]:
    if refusal.kind in _ERRORS:
        status, name, message = _ERRORS[refusal.kind]
        return refusal.status or status, name, message
    status = refusal.status or 500
    fallback = "InternalServerException" if status >= 500 else "ValidationException"
    name = _STATUS_NAMES.get(status, fallback)
    return status, name, f"The simulator was told to answer {status}."
