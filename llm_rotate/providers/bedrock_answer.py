"""Reads a Converse answer, and what the events of a streamed one add up to."""

from __future__ import annotations

from typing import Any

from ..core.outcome import Outcome
from ..core.wire import Verdict
from ..types import ChatResponse, StreamChunk, Usage
from .faults import BEDROCK, broken, judge
from .parts import Said, input_of, tool_call
from .reading import as_count, as_dict, as_list, as_text, as_text_or_none
from .stream import Found


def response_of(answer: object, model: str) -> ChatResponse | None:
    """The response in an answer, or None if it has not the shape of one."""
    body = as_dict(answer)
    message = as_dict(as_dict(body.get("output")).get("message"))
    if not isinstance(message.get("content"), list):
        return None
    blocks = [block for block in message["content"] if isinstance(block, dict)]
    text, calls = said(blocks)
    return ChatResponse(
        content=text,
        model=model,
        usage=usage_of(body.get("usage")),
        finish_reason=as_text_or_none(body.get("stopReason")),
        raw=body,
        tool_calls=calls,
        reasoning="".join(map(_thought, blocks)),
        native=blocks,
    )


def is_error(answer: object) -> bool:
    """Whether it is an error that came as a good answer; asked of what is no answer."""
    told = as_dict(answer)
    return bool(told.get("message") or told.get("Message") or told.get("__type"))


def said(blocks: list[dict[str, Any]]) -> Said:
    """The text and tool calls of an assistant's message."""
    calls = [_tool_call(block["toolUse"]) for block in blocks if _is_call(block)]
    return "".join(map(_text, blocks)), calls


def usage_of(value: object) -> Usage:
    """``inputTokens`` leaves out what the cache took or gave; ours count it in."""
    raw = as_dict(value)
    if not raw:
        return Usage()
    cached = as_count(raw.get("cacheReadInputTokens"))
    prompt = as_count(raw.get("inputTokens")) + as_count(raw.get("cacheWriteInputTokens")) + cached
    completion = as_count(raw.get("outputTokens"))
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        cached_tokens=cached,
        raw=raw,
    )


def _text(block: dict[str, Any]) -> str:
    """A block's words; those with citations stand apart from others."""
    cited = as_list(as_dict(block.get("citationsContent")).get("content"))
    return as_text(block.get("text")) + "".join(as_text(as_dict(c).get("text")) for c in cited)


def _thought(block: dict[str, Any]) -> str:
    return as_text(as_dict(as_dict(block.get("reasoningContent")).get("reasoningText")).get("text"))


def _is_call(block: dict[str, Any]) -> bool:
    """Whether it calls a tool of the caller's; the provider's own are run by it."""
    use = block.get("toolUse")
    return isinstance(use, dict) and "type" not in use


def _tool_call(use: dict[str, Any]) -> dict[str, Any]:
    return tool_call(use.get("toolUseId"), use.get("name"), use.get("input"))


class BedrockTally:
    """Adds up the events of one message; ``raw`` becomes what would have come in one piece."""

    def __init__(self, model: str) -> None:
        self.given = False
        self.finished = False
        self._model = model
        self._words: list[str] = []
        self._answer: dict[str, Any] = {}
        self._role = "assistant"
        self._blocks: dict[int, dict[str, Any]] = {}
        self._pieces: dict[tuple[int, str], list[str]] = {}
        self._readers = {
            "contentBlockDelta": self._delta,
            "contentBlockStart": self._block,
            "messageStart": self._start,
            "messageStop": self._stop,
            "metadata": self._end,
        }

    @property
    def text(self) -> str:
        return "".join(self._words)

    def take(self, name: str, event: dict[str, Any]) -> Found | None:
        read = self._readers.get(name)
        if read is not None:
            return read(event)
        if name.endswith(("Exception", "Error")) or "message" in event:
            return judge(BEDROCK, None, None, {**event, "code": name}, 0.0)
        return None  # the end of a block, or a kind that is not known yet

    def verdict(self) -> Verdict[ChatResponse]:
        message = {"role": self._role, "content": self._content()}
        response = response_of({"output": {"message": message}, **self._answer}, self._model)
        if response is None or not self.finished:
            return broken("the stream ended without a message")
        return Verdict(Outcome.OK, response, response.usage)

    def _start(self, event: dict[str, Any]) -> None:
        self._role = as_text(event.get("role")) or self._role

    def _block(self, event: dict[str, Any]) -> None:
        self._blocks[as_count(event.get("contentBlockIndex"))] = {
            kind: dict(as_dict(begun)) for kind, begun in as_dict(event.get("start")).items()
        }

    def _delta(self, event: dict[str, Any]) -> StreamChunk | None:
        index, delta = as_count(event.get("contentBlockIndex")), as_dict(event.get("delta"))
        thought = as_dict(delta.get("reasoningContent"))
        pieces = {
            "text": delta.get("text"),
            "input": as_dict(delta.get("toolUse")).get("input"),
            **{name: thought.get(name) for name in ("signature", "redactedContent")},
            "thought": thought.get("text"),
        }
        for name, piece in pieces.items():
            if isinstance(piece, str):
                self._pieces.setdefault((index, name), []).append(piece)
        _gather(self._blocks.setdefault(index, {}), delta)
        return self._chunk(as_text(pieces["text"]), as_text(pieces["thought"]))

    def _chunk(self, words: str, thought: str) -> StreamChunk | None:
        """Empty pieces, signatures and arguments are not handed out."""
        if not words and not thought:
            return None
        self.given = True
        self._words.append(words)
        return StreamChunk(delta=words, reasoning=thought, model=self._model)

    def _stop(self, event: dict[str, Any]) -> None:
        """The answer is whole; its usage follows."""
        self.finished = True
        self._answer |= {name: event[name] for name in event if name in _OF_ANSWER}

    def _end(self, event: dict[str, Any]) -> Verdict[ChatResponse]:
        self._answer |= {name: event[name] for name in event if name in _OF_ANSWER}
        return self.verdict()

    def _content(self) -> list[dict[str, Any]]:
        """The blocks in their order, with what their deltas brought."""
        for (index, name), pieces in self._pieces.items():
            _grow(self._blocks.setdefault(index, {}), name, "".join(pieces))
        self._pieces.clear()
        return [self._blocks[index] for index in sorted(self._blocks)]


# What an answer in one piece has beside its message; events have padding too.
_OF_ANSWER = frozenset(
    {
        "stopReason",
        "usage",
        "metrics",
        "trace",
        "performanceConfig",
        "serviceTier",
        "additionalModelResponseFields",
    }
)


def _gather(block: dict[str, Any], delta: dict[str, Any]) -> None:
    """What comes in whole pieces: citations, and what the provider's own tools gave."""
    if "citation" in delta:
        cited = block["citationsContent"] = as_dict(block.get("citationsContent"))
        cited["citations"] = [*as_list(cited.get("citations")), delta["citation"]]
    if "toolResult" in delta:
        result = block["toolResult"] = as_dict(block.get("toolResult"))
        result["content"] = [*as_list(result.get("content")), *as_list(delta["toolResult"])]
    if "image" in delta:
        block["image"] = as_dict(block.get("image")) | as_dict(delta["image"])


def _grow(block: dict[str, Any], name: str, grown: str) -> None:
    """Puts what the deltas of a block add up to where an answer in one piece has it."""
    if name == "text" and "citationsContent" in block:
        block["citationsContent"] = {"content": [{"text": grown}], **block["citationsContent"]}
    elif name == "text":
        block["text"] = grown
    elif name == "input":
        block["toolUse"] = as_dict(block.get("toolUse")) | {"input": input_of(grown)}
    elif name == "redactedContent":
        block["reasoningContent"] = {"redactedContent": grown}
    else:
        thought = as_dict(as_dict(block.get("reasoningContent")).get("reasoningText"))
        said = {"text": grown} if name == "thought" else {"signature": grown}
        block["reasoningContent"] = {"reasoningText": thought | said}
