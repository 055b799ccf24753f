"""What simulated models say: the same for the same request, and counted in words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

IMAGE_TOKENS = 85  # what a small image costs at OpenAI in low detail
_ECHOED_WORDS = 12


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that a request offers; ``schema`` is the JSON Schema of its arguments."""

    name: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """A chat request, whatever its wire format: what matters for the answer.

    ``prompt`` is the last user message's text; ``must_call`` that a tool has to be called,
    ``called`` that the conversation already ends in a tool's result; ``silent`` that the
    answer is no words; ``headers`` those of its own.
    """

    prompt: str
    prompt_tokens: int
    max_tokens: int | None = None
    tools: tuple[Tool, ...] = ()
    must_call: bool = False
    called: bool = False
    thinks: bool = False
    schema: Mapping[str, Any] | None = None
    silent: bool = False
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer in words: ``text`` in pieces as a stream hands them out, or a tool call."""

    pieces: tuple[str, ...] = ()
    thoughts: tuple[str, ...] = ()
    tool: Tool | None = None
    arguments: Mapping[str, Any] | None = None
    full: bool = False

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def thinking(self) -> str:
        return "".join(self.thoughts)

    @property
    def tokens(self) -> int:
        """One for each piece and thought; a tool call counts by its words."""
        called = 0 if self.tool is None else 1 + count(json.dumps(self.arguments))
        return len(self.pieces) + len(self.thoughts) + called


Says = Callable[[str], str]


def echo(prompt: str) -> str:
    """What a simulated model says when nobody told it otherwise."""
    return " ".join(["You", "said:", *prompt.split()[:_ECHOED_WORDS]])


def reply(asked: Asked, says: Says) -> Reply:
    """The answer to ``asked``: a tool call where one is due, else words."""
    if asked.silent:
        return Reply()
    thoughts = _pieces("Let me think about that.") if asked.thinks else ()
    tool = _tool_due(asked)
    if tool is not None:
        return Reply(thoughts=thoughts, tool=tool, arguments=sample(tool.schema))
    text = says(asked.prompt) if asked.schema is None else json.dumps(sample(asked.schema))
    pieces = _pieces(text)
    full = asked.max_tokens is not None and len(pieces) > asked.max_tokens
    return Reply(pieces[: asked.max_tokens], thoughts, full=full)


def count(text: str) -> int:
    """Tokens of a text: its words."""
    return len(text.split())


def sample(schema: Mapping[str, Any]) -> Any:
    """The plainest value that fits a JSON Schema."""
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = kind[0]
    if kind == "object":
        return {name: sample(part) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [sample(schema.get("items", {}))]
    return _SAMPLES.get(kind, "text")


_SAMPLES: Mapping[str, Any] = {"string": "text", "integer": 1, "number": 1.5, "boolean": True}


def texts(content: Any) -> Iterable[str]:
    """The texts in a message's content: a string, or parts that may nest."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, Sequence):
        for part in content:
            if isinstance(part, Mapping):
                yield from texts(part.get("text") or part.get("content"))


def prompt_tokens(messages: Iterable[Any]) -> int:
    """Words of all messages, and what their images cost."""
    total = 0
    for message in messages:
        content = message.get("content")
        total += sum(map(count, texts(content)))
        if isinstance(content, list):
            total += IMAGE_TOKENS * sum(
                part.get("type") in {"image", "image_url"} for part in content
            )
    return total


def last_prompt(messages: Sequence[Any]) -> str:
    """The text of the last user message."""
    for message in reversed(messages):
        if message.get("role") == "user":
            return " ".join(texts(message.get("content")))
    return ""


def _tool_due(asked: Asked) -> Tool | None:
    if asked.called or not asked.tools:
        return None
    named = (tool for tool in asked.tools if tool.name in asked.prompt)
    return next(named, asked.tools[0] if asked.must_call else None)


def _pieces(text: str) -> tuple[str, ...]:
    """Words with the space before them, as models stream them."""
    first, *rest = text.split(" ")
    return (first, *(" " + word for word in rest))
