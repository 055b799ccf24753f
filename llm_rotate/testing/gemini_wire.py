"""Gemini's generateContent, as AI Studio and Vertex AI send it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from . import words
from .fields import GEMINI, GENERATION, wrong_field
from .script import Refusal, Room
from .wire import SSE, Call, Event, HeaderList, seconds, sse, worded
from .words import Asked, Reply, Tool

_DOMAIN = "googleapis.com"
_MINUTELY = "GenerateRequestsPerMinutePerProjectPerModel"

# kind -> status, its name, ErrorInfo's reason, message
_ERRORS: Mapping[str, tuple[int, str, str, str]] = {
    "rate_limited": (429, "RESOURCE_EXHAUSTED", "", "Quota exceeded, retry in {retry_after}s."),
    "quota_exhausted": (403, "PERMISSION_DENIED", "BILLING_DISABLED", "Billing is not enabled."),
    "bad_key": (400, "INVALID_ARGUMENT", "API_KEY_INVALID", "API key not valid."),
    "forbidden": (403, "PERMISSION_DENIED", "", "This key may not use {model}."),
    "unknown_model": (404, "NOT_FOUND", "", "models/{model} is not found."),
    "blocked": (403, "PERMISSION_DENIED", "", "Not served from this address."),
    "invalid": (400, "INVALID_ARGUMENT", "", "{detail}"),
    "echo": (400, "INVALID_ARGUMENT", "API_KEY_INVALID", "This key is not valid: {secret}"),
}
# What Vertex says of an OAuth token, where both say the other of an API key.
_BAD_TOKEN = (401, "UNAUTHENTICATED", "", "Request had invalid authentication credentials.")
_STATUSES: Mapping[int, str] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_PARTS = {
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
}


class GeminiWire:
    """One wire format at two providers. Field names are taken in both spellings, as there."""

    stream_type = SSE

    def invalid(self, call: Call, headers: Mapping[str, str]) -> str | None:
        del headers
        contents = call.body.get("contents")
        if not isinstance(contents, list) or not contents:
            return "* GenerateContentRequest.contents: contents is not specified"
        body = _camel(call.body)
        wrong_one = next((wrong for each in contents if (wrong := _wrong_content(each))), None)
        return (
            wrong_one
            or wrong_field(body, GEMINI)
            or wrong_field(body.get("generationConfig") or {}, GENERATION)
        )

    def asked(self, call: Call) -> Asked:
        body, contents = _camel(call.body), _camel(call.body["contents"])
        config = body.get("generationConfig") or {}
        calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
        messages = [_message(content) for content in contents]
        system = body.get("systemInstruction") or {}
        tokens = words.prompt_tokens([*messages, {"content": system.get("parts") or []}])
        mode = calling.get("mode", "AUTO")
        return Asked(
            prompt=words.last_prompt(messages),
            prompt_tokens=tokens,
            max_tokens=config.get("maxOutputTokens"),
            tools=_tools(body, calling),
            must_call=mode == "ANY",
            called=mode == "NONE" or _ends_in_result(contents),
            thinks=_thinks(config.get("thinkingConfig") or {}),
            schema=config.get("responseJsonSchema") or _lowered(config.get("responseSchema")),
        )

    def whole(self, call: Call, asked: Asked, reply: Reply) -> dict[str, Any]:
        parts = [{"text": reply.thinking, "thought": True}] if reply.thoughts else []
        spoken = _called(call, reply) if reply.tool else {"text": reply.text}
        return _answer(call, asked, reply, [*parts, spoken], _finish(reply))

    def events(self, call: Call, asked: Asked, reply: Reply) -> Sequence[Event]:
        return list(self._events(call, asked, reply))

    def _events(self, call: Call, asked: Asked, reply: Reply) -> Iterator[Event]:
        said: list[dict[str, Any]] = [{"text": t, "thought": True} for t in reply.thoughts]
        said += [{"text": piece} for piece in reply.pieces]
        for part in said:
            yield Event(sse(_answer(call, asked, None, [part])), content=True)
        last = [_called(call, reply)] if reply.tool else [{"text": ""}]
        answer = _answer(call, asked, reply, last, _finish(reply))
        yield Event(sse(answer), content=bool(reply.tool))

    def error(self, call: Call, refusal: Refusal) -> tuple[int, dict[str, Any]]:
        is_token = call.is_bearer and refusal.kind == "bad_key"
        status, name, reason, message = _BAD_TOKEN if is_token else _row(refusal)
        error = {"code": status, "message": worded(message, call, refusal), "status": name}
        details = _details(call, refusal, reason)
        return status, {"error": error | ({"details": details} if details else {})}

    def error_headers(self, refusal: Refusal) -> HeaderList:
        del refusal
        return []

    def error_event(self, call: Call) -> bytes:
        del call
        message = "The model is overloaded. Try again later."
        return sse({"error": {"code": 503, "message": message, "status": "UNAVAILABLE"}})

    def limit_headers(self, call: Call, room: Room) -> HeaderList:
        """There are none: what is left is not told."""
        del call, room
        return []

    def id_header(self, call: Call) -> tuple[str, str]:
        return "x-goog-request-id", call.id("")


def _answer(
    call: Call,
    asked: Asked,
    reply: Reply | None,
    parts: list[dict[str, Any]],
    finish: str | None = None,
) -> dict[str, Any]:
    """``reply``: None while it is still being said."""
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    usage = {"promptTokenCount": asked.prompt_tokens, "totalTokenCount": asked.prompt_tokens}
    if reply is not None:
        thoughts = len(reply.thoughts)
        usage |= {
            "candidatesTokenCount": reply.tokens - thoughts,
            "totalTokenCount": asked.prompt_tokens + reply.tokens,
        }
        usage |= {"thoughtsTokenCount": thoughts} if thoughts else {}
    return {
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": call.model,
        "responseId": call.id("", 22),
    }


def _called(call: Call, reply: Reply) -> dict[str, Any]:
    name = reply.tool.name if reply.tool else ""
    told = {"name": name, "args": reply.arguments, "id": call.id("", 12)}
    return {"functionCall": told, "thoughtSignature": "c2lnbmVk"}


def _finish(reply: Reply) -> str:
    return "MAX_TOKENS" if reply.full else "STOP"


def _thinks(config: Mapping[str, Any]) -> bool:
    asked = config.get("thinkingLevel") or config.get("thinkingBudget", 0) != 0
    return bool(config.get("includeThoughts") and asked)


def _details(call: Call, refusal: Refusal, reason: str) -> list[dict[str, Any]]:
    if reason:
        return [_detail("ErrorInfo", reason=reason, domain=_DOMAIN)]
    if refusal.kind != "rate_limited":
        return []
    violation = {"quotaId": _MINUTELY, "quotaDimensions": {"model": call.model}}
    found = [_detail("QuotaFailure", violations=[violation])]
    if refusal.retry_after is not None:
        found.append(_detail("RetryInfo", retryDelay=f"{seconds(refusal.retry_after)}s"))
    return found


def _detail(kind: str, **fields: Any) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/google.rpc.{kind}", **fields}


def _row(refusal: Refusal) -> tuple[int, str, str, str]:
    if refusal.kind in _ERRORS:
        status, name, reason, message = _ERRORS[refusal.kind]
        return refusal.status or status, name, reason, message
    status = refusal.status or 500
    name = _STATUSES.get(status, "UNKNOWN" if status >= 500 else "INVALID_ARGUMENT")
    return status, name, "", f"The simulator was told to answer {status}."


def _message(content: Mapping[str, Any]) -> dict[str, Any]:
    """A content with its parts named as the others name them, to be counted."""
    parts = [
        {"type": "image"} if part.keys() & {"inlineData", "fileData"} else part
        for part in content.get("parts") or []
    ]
    return {"role": content.get("role", "user"), "content": parts}


def _tools(body: Mapping[str, Any], calling: Mapping[str, Any]) -> tuple[Tool, ...]:
    wanted = calling.get("allowedFunctionNames")
    return tuple(
        Tool(function["name"], _schema(function))
        for tool in body.get("tools") or []
        for function in tool.get("functionDeclarations") or []
        if not wanted or function["name"] in wanted
    )


def _schema(function: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = function.get("parametersJsonSchema") or {}
    return found or _lowered(function.get("parameters") or {"type": "object"})


def _lowered(value: Any) -> Any:
    """A schema in the provider's own spelling (type OBJECT) as JSON Schema."""
    if isinstance(value, list):
        return [_lowered(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    found = {name: _lowered(item) for name, item in value.items()}
    kind = found.get("type")
    return found | ({"type": kind.lower()} if isinstance(kind, str) else {})


def _ends_in_result(contents: Sequence[Mapping[str, Any]]) -> bool:
    return any("functionResponse" in part for part in contents[-1].get("parts") or [])


def _wrong_content(content: Any) -> str | None:
    if not isinstance(content, Mapping):
        return "* contents: must be an object"
    if content.get("role", "user") not in {"user", "model", "function"}:
        return "Please use a valid role: user, model."
    parts = content.get("parts")
    if not isinstance(parts, list) or not parts:
        return "* contents.parts: must not be empty."
    for part in parts:
        if not isinstance(part, Mapping) or not _camel(part).keys() & _PARTS:
            return "* contents.parts: required oneof field 'data' must have one initialized field"
    return None


# What lies below these is the caller's own, whatever its names look like.
_FREE = frozenset({"args", "response", "parametersJsonSchema", "responseJsonSchema"})


def _camel(value: Any) -> Any:
    """The same with names in the spelling of the wire's answers."""
    if isinstance(value, list):
        return [_camel(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {
        name: item if name in _FREE else _camel(item)
        for name, item in ((_camel_name(name), item) for name, item in value.items())
    }


def _camel_name(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in rest)
