"""What goes into a call and what comes out of it. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypedDict


class ChatMessage(TypedDict, total=False):
    """One message, OpenAI-shaped; every dialect converts it.

    ``role`` is system, user, assistant or tool; ``content`` a string or a list of parts
    (OpenAI's own part shapes, or :class:`ContentPart`). ``native`` is for
    :attr:`ChatResponse.message` to fill.
    """

    role: str
    content: str | list[Any] | None
    name: str
    tool_calls: list[dict[str, Any]]
    tool_call_id: str
    native: dict[str, Any]


class ContentPart(TypedDict, total=False):
    """A part of a message: ``type`` is text, image_bytes, pdf_bytes, audio_bytes or file.

    ``text`` goes with text, ``data`` (raw bytes) with those in bytes, ``file_uri`` with file,
    ``mime_type`` with all but text.
    """

    type: str
    text: str
    data: bytes
    file_uri: str
    mime_type: str


@dataclass(frozen=True, slots=True)
class GenerateContentRequest:
    """Arguments of ``generate_content`` as one value (Google providers only)."""

    model: str
    contents: list[Any]
    system_instruction: str | None = None
    response_mime_type: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    thinking_budget: int | None = None
    disable_automatic_function_calling: bool = True
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer, counted alike at every provider.

    ``prompt_tokens`` includes the cached ones, ``completion_tokens`` the reasoning ones;
    ``audio_tokens`` are those of sound, heard or spoken, which the two include. ``raw`` is the
    provider's own usage object.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    audio_tokens: int = 0
    raw: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)


class Attempt(NamedTuple):
    """One request that was sent (or one stage that could not be), and how it ended.

    ``outcome`` is a name of the fault table ("ok", "rate_limited", ...), or "skipped" for a
    stage whose dialect cannot carry the request; ``seconds`` its length.
    """

    provider: str
    model: str
    key_id: str | None
    outcome: str
    status: int | None = None
    code: str | None = None
    message: str = ""
    seconds: float = 0.0
    upstream: str | None = None


@dataclass(slots=True)
class ChatResponse:
    """An answer, the same shape from every provider.

    ``finish_reason`` is the provider's own word (OpenAI "stop", Anthropic "end_turn");
    ``tool_calls`` are OpenAI-shaped dicts; ``raw`` is the provider's answer as a plain dict;
    ``latency_ms`` runs from the call to the answer, waiting and rotation included;
    ``attempts`` lists every request sent for it, the good one last.

    ``id``: the provider's name for the answer. ``parsed``: the content as ``response_format``
    asked for it, an instance of the pydantic class or a plain JSON value; None if none was
    asked for or the content does not fit. ``logprobs``: one dict per token (``token``,
    ``logprob``, ``top_logprobs``) where they were asked for. ``native``: the assistant's
    message in the provider's own words, with its thinking and signatures, which
    :attr:`message` carries into the next turn.
    """

    content: str
    provider: str = ""
    model: str = ""
    key_id: str = ""
    usage: Usage = field(default_factory=Usage)
    latency_ms: float = 0.0
    finish_reason: str | None = None
    raw: dict[str, Any] = field(default_factory=dict, repr=False)
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    reasoning: str = ""
    request_id: str | None = None
    upstream: str | None = None
    attempts: tuple[Attempt, ...] = ()
    id: str | None = None
    parsed: Any = None
    logprobs: list[dict[str, Any]] = field(default_factory=list, repr=False)
    native: Any = field(default=None, repr=False)

    @property
    def message(self) -> ChatMessage:
        """The assistant's message, to be appended to ``messages`` for the next turn.

        OpenAI-shaped, and JSON through and through. Beside text and tool calls it carries the
        provider's own words: the provider that gave them gets them back just as they were,
        with thinking, signatures and the order of things; any other gets text and tool calls,
        and so does every provider once you have changed one of those.
        """
        message: ChatMessage = {"role": "assistant", "content": self.content or None}
        if self.tool_calls:
            message["tool_calls"] = self.tool_calls
        elif not self.content:
            message["content"] = ""  # None needs tool calls beside it
        if self.native is not None:
            message["native"] = {"provider": self.provider, "content": self.native}
        return message


@dataclass(slots=True)
class EmbeddingResponse:
    """A text as a vector. ``embedding``: a list of floats, or a numpy array of float32 where
    ``as_array=True`` asked for one; the other fields are those of :class:`ChatResponse`.
    """

    embedding: Any = field(repr=False)
    provider: str = ""
    model: str = ""
    key_id: str = ""
    usage: Usage = field(default_factory=Usage)
    latency_ms: float = 0.0
    request_id: str | None = None
    upstream: str | None = None
    attempts: tuple[Attempt, ...] = ()


@dataclass(slots=True)
class TranscriptionResponse:
    """A recording as text.

    ``language``: as the provider names it; ``duration_s``: seconds of sound; ``segments`` and
    ``words``: dicts with ``start`` and ``end`` in seconds, where the provider tells them;
    ``finish_reason``: of models that write it as a chat's answer, where "MAX_TOKENS" says that
    there is more. The other fields are those of :class:`ChatResponse`.
    """

    text: str
    provider: str = ""
    model: str = ""
    key_id: str = ""
    usage: Usage = field(default_factory=Usage)
    latency_ms: float = 0.0
    language: str | None = None
    duration_s: float | None = None
    segments: list[dict[str, Any]] = field(default_factory=list, repr=False)
    words: list[dict[str, Any]] = field(default_factory=list, repr=False)
    raw: dict[str, Any] = field(default_factory=dict, repr=False)
    request_id: str | None = None
    upstream: str | None = None
    attempts: tuple[Attempt, ...] = ()
    finish_reason: str | None = None


@dataclass(slots=True)
class UploadedFile:
    """A file that a provider keeps.

    ``uri`` names it in requests; ``state`` and ``expires_at`` (RFC 3339) as the provider tells
    them; ``raw`` is its record as a plain dict. The other fields are those of
    :class:`ChatResponse`.
    """

    uri: str
    name: str = ""
    mime_type: str = ""
    size_bytes: int = 0
    state: str | None = None
    expires_at: str | None = None
    provider: str = ""
    model: str = ""
    key_id: str = ""
    usage: Usage = field(default_factory=Usage)
    latency_ms: float = 0.0
    raw: dict[str, Any] = field(default_factory=dict, repr=False)
    request_id: str | None = None
    upstream: str | None = None
    attempts: tuple[Attempt, ...] = ()


@dataclass(slots=True)
class StreamChunk:
    """A piece of a streamed answer.

    ``delta`` is text, ``reasoning`` thinking text. ``finish_reason``, ``usage`` and whole
    ``tool_calls`` are set on the last chunk only.
    """

    delta: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
    provider: str = ""
    model: str = ""
    reasoning: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    key_id: str = ""
