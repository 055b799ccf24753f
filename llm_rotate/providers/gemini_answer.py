"""Reads a Gemini answer, and what the events of a streamed one add up to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from ..core.outcome import Outcome
from ..core.wire import Verdict
from ..types import ChatResponse, StreamChunk, Usage
from .faults import GEMINI, broken, judge
from .jsonio import dumps
from .parts import Said
from .reading import as_count, as_dict, as_list, as_text, as_text_or_none, dicts_in
from .stream import Found

# What the ids of tool calls begin with where the provider gave none.
MADE_UP_ID = "unnamed-"


def response_of(answer: object, model: str) -> ChatResponse | None:
    """The response in an answer, or None if it has not the shape of one.

    A blocked prompt, and a candidate without content, are answers without text whose
    ``finish_reason`` says why.
    """
    body = as_dict(answer)
    blocked = as_text_or_none(as_dict(body.get("promptFeedback")).get("blockReason"))
    candidate = _first(body)
    if not candidate and not blocked:
        return None
    parts = parts_of(candidate)
    text, calls = said(parts)
    return ChatResponse(
        content=text,
        model=as_text(body.get("modelVersion")) or model,
        usage=usage_of(body.get("usageMetadata")),
        finish_reason=as_text_or_none(candidate.get("finishReason")) or blocked,
        raw=body,
        tool_calls=calls,
        reasoning=_joined(parts, is_thought=True),
        id=as_text_or_none(body.get("responseId")),
        logprobs=_logprobs(candidate),
        native=parts,
    )


def _first(answer: dict[str, Any]) -> dict[str, Any]:
    """Of several candidates the first one counts; in a stream each may come by itself."""
    return next((each for each in dicts_in(answer.get("candidates")) if not each.get("index")), {})


def parts_of(candidate: dict[str, Any]) -> list[dict[str, Any]]:
    parts = as_list(as_dict(candidate.get("content")).get("parts"))
    return [part for part in parts if isinstance(part, dict)]


def said(parts: list[dict[str, Any]]) -> Said:
    """The text and tool calls in the parts of an answer."""
    calls = [part["functionCall"] for part in parts if isinstance(part.get("functionCall"), dict)]
    return _joined(parts, is_thought=False), [_tool_call(*call) for call in enumerate(calls)]


def usage_of(value: object) -> Usage:
    """Candidates leave out thoughts, and the prompt what tools of the provider's own read."""
    raw = as_dict(value)
    if not raw:
        return Usage()
    thoughts = as_count(raw.get("thoughtsTokenCount"))
    prompt = as_count(raw.get("promptTokenCount")) + as_count(raw.get("toolUsePromptTokenCount"))
    completion = as_count(raw.get("candidatesTokenCount")) + thoughts
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=as_count(raw.get("totalTokenCount")) or prompt + completion,
        cached_tokens=as_count(raw.get("cachedContentTokenCount")),
        reasoning_tokens=thoughts,
        audio_tokens=sum(
            as_count(as_dict(detail).get("tokenCount"))
            for side in ("promptTokensDetails", "candidatesTokensDetails")
            for detail in as_list(raw.get(side))
            if as_dict(detail).get("modality") == "AUDIO"
        ),
        raw=raw,
    )


_COUNTS = tuple(field.name for field in fields(Usage) if field.name != "raw")


def together(usages: Sequence[Usage]) -> Usage:
    """The tokens of all; ``raw`` is the last one's."""
    sums = {name: sum(getattr(each, name) for each in usages) for name in _COUNTS}
    return Usage(**sums, raw=usages[-1].raw)


def _joined(parts: list[dict[str, Any]], *, is_thought: bool) -> str:
    return "".join(as_text(p.get("text")) for p in parts if bool(p.get("thought")) is is_thought)


def _tool_call(index: int, call: dict[str, Any]) -> dict[str, Any]:
    """OpenAI-shaped. Where the provider gave no id, one that is alone in its answer."""
    return {
        "id": as_text(call.get("id")) or f"{MADE_UP_ID}{index}",
        "type": "function",
        "function": {
            "name": as_text(call.get("name")),
            "arguments": dumps(as_dict(call.get("args"))).decode(),
        },
    }


def _logprobs(candidate: dict[str, Any]) -> list[dict[str, Any]]:
    result = as_dict(candidate.get("logprobsResult"))
    tops = [as_list(as_dict(top).get("candidates")) for top in as_list(result.get("topCandidates"))]
    found = []
    for index, chosen in enumerate(as_list(result.get("chosenCandidates"))):
        top = tops[index] if index < len(tops) else []
        found.append(_logprob(chosen) | {"top_logprobs": [_logprob(each) for each in top]})
    return found


def _logprob(value: object) -> dict[str, Any]:
    found = as_dict(value)
    return {"token": as_text(found.get("token")), "logprob": found.get("logProbability")}


class GeminiTally:
    """Adds up the events of one answer; ``raw`` becomes what would have come in one piece.

    Nothing marks the end but that of the stream: a reason to finish, with the usage beside it,
    also stands between, where the service's own tools ran.
    """

    def __init__(self, model: str) -> None:
        self.given = False
        self._model = model
        self._text: list[str] = []
        self._body: dict[str, Any] = {}
        self._candidate: dict[str, Any] = {}
        self._parts: list[dict[str, Any]] = []

    @property
    def text(self) -> str:
        return "".join(self._text)

    @property
    def finished(self) -> bool:
        blocked = as_dict(self._body.get("promptFeedback")).get("blockReason")
        return bool(self._candidate.get("finishReason") or blocked)

    def take(self, name: str, event: dict[str, Any]) -> Found | None:  # noqa: ARG002 - has none
        if event.get("error"):
            return judge(GEMINI, None, None, event, 0.0)
        self._body |= event
        self._model = as_text(event.get("modelVersion")) or self._model
        candidate = _first(event)
        parts = parts_of(candidate)
        if parts:
            self._candidate.pop("finishReason", None)
        self._candidate |= {k: v for k, v in candidate.items() if v is not None}
        for part in parts:
            self._add(part)
        return self._chunk(parts)

    def verdict(self) -> Verdict[ChatResponse]:
        response = response_of(self._whole(), self._model)
        if response is None:
            return broken("the stream ended without a candidate")
        return Verdict(Outcome.OK, response, response.usage)

    def _chunk(self, parts: list[dict[str, Any]]) -> StreamChunk | None:
        text, thought = (_joined(parts, is_thought=kind) for kind in (False, True))
        if not text and not thought:
            return None
        self._text.append(text)
        self.given = True
        return StreamChunk(delta=text, reasoning=thought, model=self._model)

    def _add(self, part: dict[str, Any]) -> None:
        """Pieces of one text are one part; a signature ends it."""
        last = self._parts[-1] if self._parts else {}
        if _is_piece(last) and _is_piece(part) and last.get("thought") == part.get("thought"):
            self._parts[-1] = last | part | {"text": last["text"] + part["text"]}
        else:
            self._parts.append(part)

    def _whole(self) -> dict[str, Any]:
        if not self._candidate:
            return self._body
        content = as_dict(self._candidate.get("content")) | {"parts": self._parts}
        return self._body | {"candidates": [self._candidate | {"content": content}]}


def _is_piece(part: dict[str, Any]) -> bool:
    return isinstance(part.get("text"), str) and "thoughtSignature" not in part
