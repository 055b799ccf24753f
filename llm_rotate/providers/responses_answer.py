"""Reads an answer of the responses API, whole or as a stream of typed events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..core.outcome import Outcome
from ..core.wire import Verdict
from ..types import ChatResponse, StreamChunk, Usage
from .faults import OPENAI, broken, judge
from .parts import Said
from .reading import as_count, as_dict, as_list, as_text, as_text_or_none, dicts_in
from .stream import Found

PENDING = frozenset({"queued", "in_progress"})
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
_TEXT = "response.output_text.delta"
_THOUGHTS = frozenset({"response.reasoning_summary_text.delta", "response.reasoning_text.delta"})
_NEXT_SUMMARY = "response.reasoning_summary_part.added"
_BETWEEN_THOUGHTS = "\n\n"


def fault_in(answer: object) -> object | None:
    """The error that a good status hides, or None."""
    body = as_dict(answer)
    if body.get("error"):
        return body
    if body.get("status") in ("failed", "cancelled"):
        return {"error": {"message": f"the answer was {body['status']}"}}
    return None


def response_of(answer: object, model: str) -> ChatResponse | None:
    """The response in an answer, or None if it has not the shape of one."""
    body = as_dict(answer)
    if not isinstance(body.get("output"), list):
        return None
    output = dicts_in(body["output"])
    text, calls = said(output)
    return ChatResponse(
        content=text,
        model=as_text(body.get("model")) or model,
        usage=usage_of(body.get("usage")),
        finish_reason=_finish(body),
        raw=body,
        tool_calls=calls,
        reasoning=_BETWEEN_THOUGHTS.join(_thoughts(output)),
        upstream=as_text_or_none(body.get("provider")),
        id=as_text_or_none(body.get("id")),
        logprobs=[one for part in _text_parts(output) for one in dicts_in(part.get("logprobs"))],
        native=output,
    )


def said(output: Sequence[dict[str, Any]]) -> Said:
    """The text and tool calls among the items."""
    text = "".join(as_text(part.get("text")) for part in _text_parts(output))
    return text, [call for call in map(_call, output) if call]


def _text_parts(output: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for item in output:
        if item.get("type") == "message":
            for part in dicts_in(item.get("content")):
                if part.get("type") == "output_text":
                    yield part


def kept(answer: ChatResponse) -> str | None:
    """The name under which the service keeps the answer, unless it was told not to."""
    return None if answer.raw.get("store") is False else answer.id


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
        kind = as_text(event.get("type")) or name
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
        elif kind == _NEXT_SUMMARY or as_dict(event.get("item")).get("type") == "reasoning":
            self._is_next_thought = bool(self._reasoning)
        return None

    def verdict(self) -> Verdict[ChatResponse]:
        if not self.finished:
            return broken("the stream ended without an answer")
        fault = fault_in(self._body)
        if fault is not None:
            return judge(OPENAI, None, None, fault, 0.0, pinned=self._pinned)
        response = response_of(self._body, self._model)
        if response is None:
            return broken("the answer has no output", body=self._body)
        return Verdict(Outcome.OK, response, response.usage, kept=kept(response))

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
        self.finished = True
        self._body = body if body.get("output") else body | {"output": self._output()}
        return self.verdict()

    def _output(self) -> list[Any]:
        """The items as they were told of, for services that do not say them again at the end."""
        items = [self._items[place] for place in sorted(self._items)]
        kinds = {as_dict(item).get("type") for item in items}
        if self._text and "message" not in kinds:
            part = {"type": "output_text", "text": self.text}
            items.insert(0, {"type": "message", "role": "assistant", "content": [part]})
        if self._reasoning and "reasoning" not in kinds:
            summary = [{"type": "summary_text", "text": "".join(self._reasoning)}]
            items.insert(0, {"type": "reasoning", "summary": summary})
        return items
