"""OpenAI's responses API as openai, azure_openai and compatible services send it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import words
from .fields import REASONING, RESPONSES, wrong_field
from .openai_wire import OpenAIWire
from .wire import Call, Event, sse
from .words import Asked, Reply, Tool

_MOST_KEPT = 200  # answers, the latest
_LOOKS_UNTIL_DONE = 2  # how often an answer in the background is asked for before it is there
_ITEMS = {"function_call_output", "custom_tool_call_output"}
_ROLES = {"system", "developer", "user", "assistant"}
_PARTS = {"input_text", "input_image", "input_file", "output_text", "refusal"}


class ResponsesWire(OpenAIWire):
    """Keeps its answers, each for the key that asked."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], dict[str, Any]] = {}
        self._looks: Counter[str] = Counter()

    def invalid(self, call: Call, headers: Mapping[str, str]) -> str | None:
        del headers
        body = call.body
        if not call.model:
            return "Missing required parameter: 'model'."
        if not body.get("input"):
            return "Missing required parameter: 'input'."
        before = body.get("previous_response_id")
        if before and (call.key, str(before)) not in self._kept:
            return f"Previous response with id '{before}' not found."
        if unknown := {"messages", "stop", "seed", "max_tokens", "response_format"} & body.keys():
            return f"Unknown parameter: '{min(unknown)}'."
        wrong_one = next((wrong for item in _input(body) if (wrong := _wrong_item(item))), None)
        return (
            wrong_one
            or wrong_field(body, RESPONSES)
            or wrong_field(body.get("reasoning") or {}, REASONING)
        )

    def asked(self, call: Call) -> Asked:
        body, items = call.body, _input(call.body)
        choice = body.get("tool_choice")
        wanted = (body.get("text") or {}).get("format") or {}
        return Asked(
            prompt=words.last_prompt(items),
            prompt_tokens=words.prompt_tokens(items),
            max_tokens=body.get("max_output_tokens"),
            tools=_tools(body),
            must_call=choice not in (None, "auto", "none"),
            called=items[-1].get("type") in _ITEMS or choice == "none",
            thinks=bool(body.get("reasoning")),
            schema=_schema(wanted),
        )

    def whole(self, call: Call, asked: Asked, reply: Reply) -> dict[str, Any]:
        done = _answer(call, _output(call, reply), reply, asked)
        if call.body.get("store") is not False:
            self._keep(call, done)
        if call.body.get("background"):
            return _begun(done, "queued")
        return done

    def events(self, call: Call, asked: Asked, reply: Reply) -> Sequence[Event]:
        done = self.whole(call, asked, reply)
        begun = _begun(done, "in_progress")
        kinds: list[tuple[str, dict[str, Any]]] = [
            ("response.created", {"response": begun}),
            ("response.in_progress", {"response": begun}),
        ]
        for place, item in enumerate(_output(call, reply)):
            kinds += _item_events(place, item, reply)
        kinds.append((f"response.{done['status']}", {"response": done}))
        return [_event(number, kind, fields) for number, (kind, fields) in enumerate(kinds)]

    def error_event(self, call: Call) -> bytes:
        del call
        text = "The server had an error while answering."
        error = {"type": "server_error", "code": "server_error", "message": text, "param": None}
        return sse({"type": "error", "error": error, "sequence_number": 0}, "error")

    def _keep(self, call: Call, done: dict[str, Any]) -> None:
        self._kept[call.key, done["id"]] = done
        if len(self._kept) > _MOST_KEPT:
            self._kept.pop(next(iter(self._kept)))

    def look(self, call: Call, answer_id: str) -> dict[str, Any] | None:
        """What the service tells of an answer that it keeps; None if it does not for this key."""
        done = self._kept.get((call.key, answer_id))
        if done is None or not done["background"]:
            return done
        self._looks[answer_id] += 1
        is_done = self._looks[answer_id] >= _LOOKS_UNTIL_DONE
        return done if is_done else _begun(done, "in_progress")


def _answer(call: Call, output: list[dict[str, Any]], reply: Reply, asked: Asked) -> dict[str, Any]:
    body = call.body
    return {
        "id": call.id("resp_", 32),
        "object": "response",
        "created_at": int(call.wall),
        "status": "incomplete" if reply.full else "completed",
        "background": bool(body.get("background")),
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if reply.full else None,
        "instructions": body.get("instructions"),
        "model": call.model,
        "output": output,
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": body.get("previous_response_id"),
        "service_tier": body.get("service_tier", "default"),
        "store": body.get("store", True),
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools", []),
        "usage": _usage(asked, reply),
    }


def _begun(done: Mapping[str, Any], status: str) -> dict[str, Any]:
    return {**done, "status": status, "output": [], "usage": None, "incomplete_details": None}


def _usage(asked: Asked, reply: Reply) -> dict[str, Any]:
    return {
        "input_tokens": asked.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": reply.tokens,
        "output_tokens_details": {"reasoning_tokens": len(reply.thoughts)},
        "total_tokens": asked.prompt_tokens + reply.tokens,
    }


def _output(call: Call, reply: Reply) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if reply.thoughts:
        summary = [{"type": "summary_text", "text": reply.thinking}]
        sealed = f"sealed for {call.key}"
        own = {"id": call.id("rs_"), "summary": summary, "encrypted_content": sealed}
        found.append({"type": "reasoning", **own})
    if reply.tool:
        arguments = json.dumps(reply.arguments)
        called = {"call_id": call.id("call_"), "name": reply.tool.name, "arguments": arguments}
        done = {"status": "completed"}
        found.append({"type": "function_call", "id": call.id("fc_"), **called, **done})
    else:
        part = {"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}
        said = {"role": "assistant", "status": "completed", "content": [part]}
        found.append({"type": "message", "id": call.id("msg_"), **said})
    return found


# -- a stream's events


def _event(number: int, kind: str, fields: Mapping[str, Any]) -> Event:
    data = {"type": kind, "sequence_number": number, **fields}
    return Event(sse(data, kind), content=kind.endswith(".delta"))


@dataclass(frozen=True, slots=True)
class _Growth:
    """How an item comes: in which pieces, named what, beside which fields, as which part of it;
    and the item before they came.
    """

    kind: str
    pieces: Sequence[str]
    empty: dict[str, Any]
    at: dict[str, Any] = field(default_factory=dict)
    part: str = ""


def _item_events(
    place: int, item: dict[str, Any], reply: Reply
) -> Iterator[tuple[str, dict[str, Any]]]:
    growth = _growth(item, reply)
    at = {"item_id": item["id"], "output_index": place, **growth.at}
    whole = "".join(growth.pieces)
    yield "response.output_item.added", {"output_index": place, "item": {**item, **growth.empty}}
    if growth.part:
        yield f"response.{growth.part}.added", {**at, "part": _part(growth, "")}
    for piece in growth.pieces:
        yield f"response.{growth.kind}.delta", {**at, "delta": piece, "logprobs": []}
    name = "text" if growth.part else "arguments"
    yield f"response.{growth.kind}.done", {**at, name: whole, "logprobs": []}
    if growth.part:
        yield f"response.{growth.part}.done", {**at, "part": _part(growth, whole)}
    yield "response.output_item.done", {"output_index": place, "item": item}


def _part(growth: _Growth, text: str) -> dict[str, Any]:
    if growth.part == "content_part":
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "summary_text", "text": text}


def _growth(item: Mapping[str, Any], reply: Reply) -> _Growth:
    if item["type"] == "reasoning":
        empty = {"summary": [], "encrypted_content": ""}
        at = {"summary_index": 0}
        kind, part = "reasoning_summary_text", "reasoning_summary_part"
        return _Growth(kind, reply.thoughts, empty, at, part)
    if item["type"] == "function_call":
        whole = item["arguments"]
        pieces = (whole[: len(whole) // 2], whole[len(whole) // 2 :])
        begun = {"arguments": "", "status": "in_progress"}
        return _Growth("function_call_arguments", pieces, begun)
    empty = {"content": [], "status": "in_progress"}
    return _Growth("output_text", reply.pieces, empty, {"content_index": 0}, "content_part")


# -- what was asked


def _input(body: Mapping[str, Any]) -> list[Any]:
    """The input as messages in which words can be counted."""
    given = body.get("input")
    items = given if isinstance(given, list) else [{"role": "user", "content": given}]
    return [_plain(item) for item in items]


def _plain(item: Any) -> Any:
    content = item.get("content") if isinstance(item, Mapping) else None
    if not isinstance(content, list):
        return item
    return {**item, "content": [_as_image(part) for part in content]}


def _as_image(part: Any) -> Any:
    is_image = isinstance(part, Mapping) and part.get("type") == "input_image"
    return {"type": "image_url"} if is_image else part


def _wrong_item(item: Any) -> str | None:
    if not isinstance(item, Mapping):
        return "Invalid type for 'input': expected an object."
    if item.get("type", "message") != "message":
        return None if item["type"] not in _ITEMS or item.get("call_id") else "Missing 'call_id'."
    if item.get("role") not in _ROLES:
        return f"Invalid value for 'role': it must be one of {', '.join(sorted(_ROLES))}."
    parts = item.get("content")
    for part in parts if isinstance(parts, list) else []:
        if not isinstance(part, Mapping) or part.get("type") not in {*_PARTS, "image_url"}:
            return f"Invalid value for a part's type: one of {', '.join(sorted(_PARTS))}."
    return None


def _tools(body: Mapping[str, Any]) -> tuple[Tool, ...]:
    offered = [tool for tool in body.get("tools") or [] if tool.get("type") == "function"]
    choice = body.get("tool_choice")
    if isinstance(choice, Mapping):
        offered = [tool for tool in offered if tool["name"] == choice.get("name")]
    return tuple(Tool(tool["name"], tool.get("parameters") or {}) for tool in offered)


def _schema(wanted: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if wanted.get("type") == "json_schema":
        schema: Mapping[str, Any] = wanted.get("schema", {})
        return schema
    if wanted.get("type") == "json_object":
        return {"properties": {"answer": {"type": "string"}}}
    return None
