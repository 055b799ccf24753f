"""Reads an OpenAI chat completion, and what a stream of its chunks adds up to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..types import ChatResponse, Usage
from .parts import Said
from .reading import as_count, as_dict, as_list, as_text, as_text_or_none, dicts_in


def fault_in(answer: object) -> dict[str, Any] | None:
    """The error that a 200 carries in its body or in its first choice, or None."""
    if not isinstance(answer, dict):
        return None
    if answer.get("error"):
        return answer
    choices = answer.get("choices")
    choice = as_dict(choices[0]) if isinstance(choices, list) and choices else {}
    if choice.get("error") or choice.get("finish_reason") == "error":
        return {"error": choice.get("error") or {"message": "the upstream broke off"}}
    return None


def response_of(answer: object, model: str) -> ChatResponse | None:
    """The response in a chat completion, or None if it has not the shape of one."""
    body = as_dict(answer)
    choices = as_list(body.get("choices"))
    choice = as_dict(choices[0]) if choices else {}
    message = choice.get("message")
    if not isinstance(message, dict):
        return None
    text, thought = text_of(message.get("content"))
    return ChatResponse(
        content=text,
        model=as_text(body.get("model")) or model,
        usage=usage_of(body.get("usage")),
        finish_reason=as_text_or_none(choice.get("finish_reason")),
        raw=body,
        tool_calls=_calls(message),
        reasoning=reasoning_of(message) or thought,
        upstream=as_text_or_none(body.get("provider")),
        id=as_text_or_none(body.get("id")),
        logprobs=dicts_in(as_dict(choice.get("logprobs")).get("content")),
        native=_to_be_sent_back(message),
    )


def said(message: dict[str, Any]) -> Said:
    """The text and tool calls of an assistant's message."""
    return text_of(message.get("content"))[0], _calls(message)


def _calls(message: dict[str, Any]) -> list[Any]:
    return dicts_in(message.get("tool_calls"))


def _to_be_sent_back(message: dict[str, Any]) -> dict[str, Any]:
    """Sound that the model spoke goes back as its id alone."""
    audio = message.get("audio")
    if not isinstance(audio, dict):
        return message
    return message | {"audio": {"id": audio.get("id")}}


def reasoning_of(message: dict[str, Any]) -> str:
    """DeepSeek and vLLM say ``reasoning_content``, OpenRouter and Groq ``reasoning``."""
    return as_text(message.get("reasoning_content")) or as_text(message.get("reasoning"))


def reasoning_field(message: dict[str, Any]) -> str:
    """The field that ``reasoning_of`` found it in."""
    return "reasoning_content" if as_text(message.get("reasoning_content")) else "reasoning"


def text_of(content: object) -> tuple[str, str]:
    """(text, thinking) of a message's content, which Mistral sends as a list of parts."""
    if not isinstance(content, list):
        return as_text(content), ""
    parts = [part for part in content if isinstance(part, dict)]
    thought = [piece for part in parts for piece in as_list(part.get("thinking"))]
    return (
        "".join(as_text(part.get("text")) for part in parts),
        "".join(as_text(as_dict(piece).get("text")) for piece in thought),
    )


def _cached(raw: dict[str, Any], heard: dict[str, Any]) -> Iterator[object]:
    """What the prompt cache gave: DeepSeek and Moonshot had names of their own for it."""
    yield heard.get("cached_tokens")
    yield raw.get("prompt_cache_hit_tokens")
    yield raw.get("cached_tokens")


def usage_of(value: object) -> Usage:
    """Where the total is more than prompt and completion, the completion leaves the reasoning
    out (xAI, and Gemini behind this dialect); ours counts it in.
    """
    raw = as_dict(value)
    if not raw:
        return Usage()
    prompt, completion = as_count(raw.get("prompt_tokens")), as_count(raw.get("completion_tokens"))
    total = max(as_count(raw.get("total_tokens")), prompt + completion)
    heard = as_dict(raw.get("prompt_tokens_details"))
    said = as_dict(raw.get("completion_tokens_details"))
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=total - prompt,
        total_tokens=total,
        cached_tokens=next((n for n in map(as_count, _cached(raw, heard)) if n), 0),
        reasoning_tokens=as_count(said.get("reasoning_tokens")),
        audio_tokens=as_count(heard.get("audio_tokens")) + as_count(said.get("audio_tokens")),
        raw=raw,
    )
