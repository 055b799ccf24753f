"""Reads an Anthropic message, and what the events of a streamed one add up to."""

from __future__ import annotations

from typing import Any

from ..core.outcome import Outcome
from ..core.wire import Verdict
from ..types import ChatResponse, StreamChunk, Usage
from .faults import ANTHROPIC, broken, judge
from .parts import Said, input_of, tool_call
from .reading import as_count, as_dict, as_list, as_text, as_text_or_none
from .stream import Found

# delta type -> (its field, the block's field that it grows, the block's type)
_DELTAS = {
    "text_delta": ("text", "text", "text"),
    "thinking_delta": ("thinking", "thinking", "thinking"),
    "signature_delta": ("signature", "signature", "thinking"),
    "input_json_delta": ("partial_json", "input", "tool_use"),
}


def response_of(answer: object, model: str) -> ChatResponse | None:
    """The response in a message, or None if it has not the shape of one."""
    body = as_dict(answer)
    if not isinstance(body.get("content"), list):
        return None
    blocks = [block for block in body["content"] if isinstance(block, dict)]
    text, calls = said(blocks)
    return ChatResponse(
        content=text,
        model=as_text(body.get("model")) or model,
        usage=usage_of(body.get("usage")),
        finish_reason=as_text_or_none(body.get("stop_reason")),
        raw=body,
        tool_calls=calls,
        reasoning=_joined(blocks, "thinking"),
        id=as_text_or_none(body.get("id")),
        native=blocks,
    )


def said(blocks: list[dict[str, Any]]) -> Said:
    """The text and tool calls of an assistant's message."""
    calls = [_tool_call(block) for block in blocks if block.get("type") == "tool_use"]
    return _joined(blocks, "text"), calls


def usage_of(value: object) -> Usage:
    """``input_tokens`` leaves out what the cache took or gave; ours count it in."""
    raw = as_dict(value)
    if not raw:
        return Usage()
    cached = as_count(raw.get("cache_read_input_tokens"))
    prompt = (
        as_count(raw.get("input_tokens"))
        + as_count(raw.get("cache_creation_input_tokens"))
        + cached
    )
    completion = as_count(raw.get("output_tokens"))
    details = as_dict(raw.get("output_tokens_details"))
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        cached_tokens=cached,
        reasoning_tokens=as_count(details.get("thinking_tokens")),
        raw=raw,
    )


def _joined(blocks: list[dict[str, Any]], kind: str) -> str:
    """The texts of all blocks of a kind, whose field has the kind's name."""
    return "".join(as_text(block.get(kind)) for block in blocks if block.get("type") == kind)


def _tool_call(block: dict[str, Any]) -> dict[str, Any]:
    return tool_call(block.get("id"), block.get("name"), block.get("input"))


class AnthropicTally:
    """Adds up the events of one message; ``raw`` becomes what would have come in one piece."""

    def __init__(self, model: str) -> None:
        self.given = False
        self._model = model
        self._text: list[str] = []
        self._message: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._pieces: dict[tuple[int, str], list[str]] = {}
        self._readers = {
            "content_block_delta": self._delta,
            "content_block_start": self._block,
            "message_start": self._start,
            "message_delta": self._end,
            "message_stop": self._stop,
            "error": self._fault,
        }

    @property
    def text(self) -> str:
        return "".join(self._text)

    @property
    def finished(self) -> bool:
        return bool(self._message.get("stop_reason"))

    def take(self, name: str, event: dict[str, Any]) -> Found | None:
        kind = event.get("type") or name
        read = self._readers.get(kind) if isinstance(kind, str) else None
        if read is None:  # a ping, or a kind that is not known yet
            return self._fault(event) if event.get("error") else None
        return read(event)

    def verdict(self) -> Verdict[ChatResponse]:
        if not self._message:
            return broken("the stream ended without a message")
        response = response_of(self._whole(), self._model)
        if response is None:
            return broken("the stream has no message")
        return Verdict(Outcome.OK, response, response.usage)

    def _start(self, event: dict[str, Any]) -> None:
        self._message = dict(as_dict(event.get("message")))
        self._message["usage"] = dict(as_dict(self._message.get("usage")))
        self._model = as_text(self._message.get("model")) or self._model

    def _block(self, event: dict[str, Any]) -> StreamChunk | None:
        index, block = as_count(event.get("index")), dict(as_dict(event.get("content_block")))
        self._blocks[index] = block
        kind = as_text(block.get("type"))
        return self._chunk(kind, as_text(block.get(kind)))

    def _delta(self, event: dict[str, Any]) -> StreamChunk | None:
        delta = as_dict(event.get("delta"))
        kind = delta.get("type")
        index = as_count(event.get("index"))
        if kind == "citations_delta":
            block = self._blocks.setdefault(index, {"type": "text"})
            block["citations"] = [*as_list(block.get("citations")), delta.get("citation")]
            return None
        if not isinstance(kind, str) or kind not in _DELTAS:
            return None
        source, field, of = _DELTAS[kind]
        piece = as_text(delta.get(source))
        if index not in self._blocks:
            self._blocks[index] = {"type": of}
        self._pieces.setdefault((index, field), []).append(piece)
        return self._chunk(field, piece)

    def _chunk(self, kind: str, piece: str) -> StreamChunk | None:
        """Empty pieces, signatures and arguments are not handed out."""
        if not piece or kind not in {"text", "thinking"}:
            return None
        self.given = True
        if kind == "thinking":
            return StreamChunk(reasoning=piece, model=self._model)
        self._text.append(piece)
        return StreamChunk(delta=piece, model=self._model)

    def _end(self, event: dict[str, Any]) -> None:
        """Counts are totals so far: they replace, and what is not said stands."""
        said = {k: v for k, v in as_dict(event.get("delta")).items() if v is not None}
        usage = {k: v for k, v in as_dict(event.get("usage")).items() if v is not None}
        self._message |= said
        self._message["usage"] = as_dict(self._message.get("usage")) | usage

    def _stop(self, event: dict[str, Any]) -> Verdict[ChatResponse]:  # noqa: ARG002 - says no more
        return self.verdict()

    def _fault(self, event: dict[str, Any]) -> Verdict[ChatResponse]:
        return judge(ANTHROPIC, None, None, event, 0.0)

    def _whole(self) -> dict[str, Any]:
        for (index, field), pieces in self._pieces.items():
            block, grown = self._blocks[index], "".join(pieces)
            if field == "input":
                block[field] = input_of(grown)
            else:
                block[field] = as_text(block.get(field)) + grown
        self._pieces.clear()
        return self._message | {"content": [self._blocks[i] for i in sorted(self._blocks)]}
