"""Reads a streamed OpenAI chat completion. Of several choices the first one counts."""

from __future__ import annotations

from typing import Any

from ..core.outcome import Outcome
from ..core.wire import Verdict
from ..types import ChatResponse, StreamChunk
from .faults import OPENAI, broken, judge
from .openai_answer import fault_in, reasoning_field, reasoning_of, response_of, text_of
from .reading import as_dict, as_list, as_text
from .stream import Found

_ENVELOPE = ("id", "created", "model", "system_fingerprint", "service_tier", "provider")
_DETAILS = "reasoning_details"
_TEXTS = frozenset({"text", "summary"})  # of a reasoning detail
_OWN = frozenset({"role", "content", "reasoning", "reasoning_content", "tool_calls"})


class OpenAITally:
    """Adds up the chunks of one answer."""

    def __init__(self, model: str, *, pinned: bool = False) -> None:
        self.finished = False
        self._model = model
        self._pinned = pinned
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._reasons_in = "content"  # the field in which the reasoning comes
        self._calls: dict[int, dict[str, Any]] = {}
        self._message: dict[str, Any] = {}  # other fields of the message: refusal, annotations
        self._body: dict[str, Any] = {"id": None, "object": "chat.completion"}
        self._choice: dict[str, Any] = {}
        self._logprobs: list[Any] = []
        self._begun = False  # a choice has come

    @property
    def text(self) -> str:
        return "".join(self._text)

    @property
    def given(self) -> bool:
        return bool(self._text or self._reasoning)

    def take(self, name: str, event: dict[str, Any]) -> Found | None:  # noqa: ARG002 - unnamed here
        if event.get("error"):
            return self._fault(event)
        if not self._body["id"] or event.get("usage"):
            self._envelope(event)
        for choice in as_list(event.get("choices")):
            if isinstance(choice, dict) and not choice.get("index"):
                return self._of_choice(choice, event)
        return None

    def verdict(self) -> Verdict[ChatResponse]:
        if not self._begun:
            return broken("the stream ended without a choice")
        response = response_of(self._whole(), self._model)
        if response is None:
            return broken("the stream has no message")
        return Verdict(Outcome.OK, response, response.usage)

    def _of_choice(self, choice: dict[str, Any], event: dict[str, Any]) -> Found | None:
        self._begun = True
        if choice.get("finish_reason"):
            fault = fault_in(event)
            if fault is not None:
                return self._fault(fault)
            self.finished = True
            self._choice = {k: v for k, v in choice.items() if k != "delta"}
        if choice.get("logprobs"):
            self._logprobs += as_list(as_dict(choice["logprobs"]).get("content"))
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return None
        content = delta.get("content")
        if len(delta) == 1 and isinstance(content, str):  # most chunks are this, and no more
            return self._chunk(content, "")
        if not delta.keys() <= _OWN:
            self._note(delta)
        if delta.get("tool_calls"):
            self._note_calls(delta["tool_calls"])
        text, thought = text_of(content)
        if (reasoning := reasoning_of(delta)) and not self._reasoning:
            self._reasons_in = reasoning_field(delta)
        return self._chunk(text, reasoning or thought)

    def _chunk(self, text: str, thought: str) -> StreamChunk | None:
        if not text and not thought:
            return None
        if text:
            self._text.append(text)
        if thought:
            self._reasoning.append(thought)
        return StreamChunk(text, None, None, "", self._model, thought)

    def _envelope(self, event: dict[str, Any]) -> None:
        self._body |= {name: event[name] for name in _ENVELOPE if event.get(name)}
        self._model = as_text(event.get("model")) or self._model
        if isinstance(event.get("usage"), dict):
            self._body["usage"] = event["usage"]

    def _note(self, delta: dict[str, Any]) -> None:
        """Fields beside the text: pieces of text and lists grow, others replace."""
        for name in delta.keys() - _OWN:
            if delta[name] is not None:
                self._message[name] = _grown(self._message.get(name), delta[name])

    def _note_calls(self, pieces: object) -> None:
        """Pieces of one call share an index; the arguments grow, the rest is said once."""
        for place, piece in enumerate(as_list(pieces)):
            if not isinstance(piece, dict):
                continue
            index = piece.get("index")
            call = self._calls.setdefault(
                index if isinstance(index, int) else place,
                {"id": None, "type": "function", "function": {"name": "", "arguments": ""}},
            )
            said, function = as_dict(piece.get("function")), call["function"]
            call["id"] = call["id"] or as_text(piece.get("id")) or None
            function["name"] = function["name"] or as_text(said.get("name"))
            function["arguments"] += as_text(said.get("arguments"))

    def _fault(self, event: object) -> Verdict[ChatResponse]:
        return judge(OPENAI, None, None, event, 0.0, pinned=self._pinned)

    def _whole(self) -> dict[str, Any]:
        """The answer as it would have come in one piece."""
        calls = [self._calls[index] for index in sorted(self._calls)]
        message = {"role": "assistant", "content": self.text or None} | self._message
        if isinstance(self._message.get(_DETAILS), list):
            message[_DETAILS] = _joined(self._message[_DETAILS])
        if self._reasoning:
            message[self._reasons_in] = self._reasoned()
        if calls:
            message["tool_calls"] = calls
        choice = {"index": 0, "finish_reason": None} | self._choice | {"message": message}
        if self._logprobs:
            choice["logprobs"] = {"content": self._logprobs}
        usage = choice.pop("usage", None)  # Moonshot says it here
        return {"usage": usage} | self._body | {"choices": [choice]}

    def _reasoned(self) -> str | list[Any]:
        """The reasoning as it came, so that its field can be sent back."""
        thought = "".join(self._reasoning)
        if self._reasons_in != "content":
            return thought
        parts: list[Any] = [{"type": "thinking", "thinking": [{"type": "text", "text": thought}]}]
        return [*parts, {"type": "text", "text": self.text}] if self._text else parts


def _joined(details: list[Any]) -> list[Any]:
    """A broker's reasoning details: the pieces of one share type and index; text grows, the
    rest (its signature) is said once.
    """
    found: list[Any] = []
    for piece in details:
        last = found[-1] if found else None
        if not (isinstance(piece, dict) and isinstance(last, dict) and _is_more(last, piece)):
            found.append(piece)
            continue
        said = {name: value for name, value in piece.items() if value is not None}
        grown = {name: _grown(last.get(name), said[name]) for name in _TEXTS & said.keys()}
        found[-1] = last | said | grown
    return found


def _is_more(last: dict[str, Any], piece: dict[str, Any]) -> bool:
    same = all(last.get(name) == piece.get(name) for name in ("type", "index"))
    return same and piece.get("index") is not None and bool(_TEXTS & piece.keys())


def _grown(before: Any, value: Any) -> Any:
    return before + value if type(before) is type(value) and type(value) in {str, list} else value
