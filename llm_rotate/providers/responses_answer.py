"""Reads an answer of the responses API, whole or as a stream of typed events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core.outcome import Outcome
from ..core.wire import Verdict
from ..types import ChatResponse, StreamChunk, Usage
from .faults import OPENAI, broken, judge
from .reading import as_count, as_dict, as_list, as_text, as_text_or_none, dicts_in
from .responses_input import is_item, output_text, text_parts
from .stream import Found

PENDING = frozenset({"queued", "in_progress"})
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
_TEXT = "response.output_text.delta"
_THOUGHTS = frozenset({"response.reasoning_summary_text.delta", "response.reasoning_text.delta"})
_NEXT_THOUGHT = frozenset({"response.reasoning_summary_part.added", "response.output_item.added"})
_BETWEEN_THOUGHTS = "\n\n"


def fault_in(answer: object) -> object | None:
    """The error that a good status hides, or None."""
    body = as_dict(answer)
    if body.get("error"):
        return body
    if body.get("status") in ("failed", "cancelled"):
        return {"error": {"message": f"the answer was {body['status']}"}}
    return None


def verdict_of(answer: object, model: str) -> Verdict[ChatResponse]:
    """What a whole answer says."""
    fault = fault_in(answer)
    if fault is not None:
        return judge(OPENAI, None, None, fault, 0.0)
    response = response_of(answer, model)
    if response is None:
        return broken("the answer has no output", body=answer)
    return Verdict(Outcome.OK, response, response.usage)


def response_of(answer: object, model: str) -> ChatResponse | None:
    """The response in an answer, or None if it has not the shape of one."""
    body = as_dict(answer)
    if not isinstance(body.get("output"), list):
        return None
    output = dicts_in(body["output"])
    calls = [call for call in map(_call, output) if call]
    return ChatResponse(
        content=output_text(output),
        model=as_text(body.get("model")) or model,
        usage=usage_of(body.get("usage")),
        finish_reason=_finish(body),
        raw=body,
        tool_calls=calls,
        reasoning=_BETWEEN_THOUGHTS.join(_thoughts(output)),
        upstream=as_text_or_none(body.get("provider")),
        id=as_text_or_none(body.get("id")),
        logprobs=[one for part in text_parts(output) for one in dicts_in(part.get("logprobs"))],
        reasoning_details=_kept(output),
    )


def _finish(body: dict[str, Any]) -> str | None:
    why = as_dict(body.get("incomplete_details")).get("reason")
    return as_text_or_none(why) or as_text_or_none(body.get("status"))


def _call(item: dict[str, Any]) -> dict[str, Any] | None:
    """A tool call in the shape of chat completions."""
    name, call_id = as_text(item.get("name")), as_text_or_none(item.get("call_id"))
    if item.get("type") == "function_call":
        function = {"name": name, "arguments": as_text(item.get("arguments"))}
        return {"id": call_id, "type": "function", "function": function}
    if item.get("type") == "custom_tool_call":
        custom = {"name": name, "input": as_text(item.get("input"))}
        return {"id": call_id, "type": "custom", "custom": custom}
    return None


def _thoughts(output: Sequence[dict[str, Any]]) -> list[str]:
    """Summaries where there are some, else the thoughts themselves."""
    found = []
    for item in output:
        if item.get("type") == "reasoning":
            parts = as_list(item.get("summary")) or as_list(item.get("content"))
            found += [as_text(as_dict(part).get("text")) for part in parts]
    return [text for text in found if text]


def _kept(output: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """All items, in their order, if there is one that content and tool_calls do not tell."""
    if all(item.get("type") in _TOLD and not item.get("phase") for item in output):
        return []
    return [item for item in output if is_item(item)]


_TOLD = frozenset({"message", "function_call", "custom_tool_call"})


def usage_of(value: object) -> Usage:
    raw = as_dict(value)
    if not raw:
        return Usage()
    prompt, completion = as_count(raw.get("input_tokens")), as_count(raw.get("output_tokens"))
    heard, spoken = (
        as_dict(raw.get("input_tokens_details")),
        as_dict(raw.get("output_tokens_details")),
    )
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=as_count(raw.get("total_tokens")) or prompt + completion,
        cached_tokens=as_count(heard.get("cached_tokens")),
        reasoning_tokens=as_count(spoken.get("reasoning_tokens")),
        audio_tokens=as_count(heard.get("audio_tokens")) + as_count(spoken.get("audio_tokens")),
        raw=raw,
    )


class ResponsesTally:
    """Adds up the events of one answer; its end brings the whole of it once more."""

    def __init__(self, model: str, *, pinned: bool = False) -> None:
        self.finished = False
        self._model = model
        self._pinned = pinned
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._is_next_thought = False
        self._items: dict[int, Any] = {}
        self._body: dict[str, Any] = {}

    @property
    def text(self) -> str:
        return "".join(self._text)

    @property
    def given(self) -> bool:
        return bool(self._text or self._reasoning)

    def take(self, name: str, event: dict[str, Any]) -> Found | None:
        kind = event.get("type") or name
        if kind == _TEXT:
            return self._said(as_text(event.get("delta")))
        if kind in _THOUGHTS:
            return self._thought(as_text(event.get("delta")))
        if kind in _ENDS:
            return self._end(as_dict(event.get("response")))
        if kind == "error" or event.get("error"):
            return judge(OPENAI, None, None, event, 0.0, pinned=self._pinned)
        if kind == "response.output_item.done":
            self._items[as_count(event.get("output_index"))] = event.get("item")
        elif kind in _NEXT_THOUGHT:
            self._is_next_thought = bool(self._reasoning)
        return None

    def verdict(self) -> Verdict[ChatResponse]:
        if not self.finished:
            return broken("the stream ended without an answer")
        return verdict_of(self._body, self._model)

    def _said(self, text: str) -> StreamChunk | None:
        if not text:
            return None
        self._text.append(text)
        return StreamChunk(text, None, None, "", self._model)

    def _thought(self, text: str) -> StreamChunk | None:
        if not text:
            return None
        if self._is_next_thought:
            self._is_next_thought, text = False, _BETWEEN_THOUGHTS + text
        self._reasoning.append(text)
        return StreamChunk("", None, None, "", self._model, text)

    def _end(self, body: dict[str, Any]) -> Verdict[ChatResponse]:
        """Some services leave the items out that they have told of before."""
        self.finished = True
        if not body.get("output"):
            body = body | {"output": [self._items[place] for place in sorted(self._items)]}
        self._body = body
        return self.verdict()
