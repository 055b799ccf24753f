"""OpenAI chat completions: OpenAI, Azure OpenAI, OpenRouter and every compatible service.

What a service spells differently is in ``Endpoint.flags``:

- ``max_tokens_field``: the body's name for the output cap ("max_tokens")
- ``stream_options``: whether it takes ``stream_options`` (True)
- ``upstream_names``: our name of an upstream -> the broker's
- those of ``openai_http``
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.wire import ChatRequest, Endpoint
from .openai_answer import fault_in, response_of, said
from .openai_events import OpenAITally
from .openai_http import OpenAIEndpoint
from .parts import Said, cannot, checked, own_words, raw_part, upstream_pin, written
from .schema import openai_format
from .stream import Tally

_PORTABLE = frozenset(
    {
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "stop",
        "top_p",
        "seed",
        "logprobs",
        "top_logprobs",
        "reasoning_effort",
        "user",
    }
)


class OpenAIChat(OpenAIEndpoint):
    """The dialect, without state of its own."""

    name = "openai"
    path = "chat/completions"
    fault_in = staticmethod(fault_in)
    response_of = staticmethod(response_of)

    def encode(self, request: ChatRequest, endpoint: Endpoint) -> bytes:
        flags = endpoint.flags
        body: dict[str, Any] = {
            "model": request.model,
            "messages": _messages(request.messages, endpoint.provider),
        }
        if request.max_tokens is not None:
            body[flags.get("max_tokens_field", "max_tokens")] = request.max_tokens
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.stream:
            body["stream"] = True
            if flags.get("stream_options", True):
                body["stream_options"] = {"include_usage": True}
        if request.options:
            body |= _options(request.options)
        if request.upstream is not None:
            body["provider"] = upstream_pin(body.get("provider"), request.upstream, flags)
        return written(self.name, body)

    def tally(self, request: ChatRequest) -> Tally:
        return OpenAITally(request.model, pinned=request.upstream is not None)


def _options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The caller's keywords; a portable one that is None counts as not given."""
    found = {k: v for k, v in options.items() if v is not None or k not in _PORTABLE}
    if "response_format" in found:
        found["response_format"] = openai_format(found["response_format"])
    return found


def _messages(messages: Sequence[Mapping[str, Any]], provider: str) -> list[Any]:
    return [_message(checked("openai", message), provider) for message in messages]


def _message(message: Mapping[str, Any], provider: str) -> Mapping[str, Any]:
    if "native" in message:
        own = own_words(message, provider, _said)
        if own is not None:
            return _sent_back(own)
        message = {name: message[name] for name in message if name != "native"}
    if isinstance(message.get("content"), list | tuple):
        return {**message, "content": [_part(part) for part in message["content"]]}
    return message


def _said(native: Any) -> Said | None:
    return said(native) if isinstance(native, dict) else None


def _sent_back(own: Mapping[str, Any]) -> dict[str, Any]:
    """An answer's message, as it came. Fields that say nothing are left out: of some of them
    their own provider takes no null.
    """
    kept = {name: own[name] for name in own if own[name] is not None or name == "content"}
    return {"role": "assistant", "content": None} | kept


def _part(part: Any) -> Any:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "image_bytes":
        mime, data = raw_part("openai", part)
        return {"type": "image_url", "image_url": {"url": f"data:{mime};base64,{data}"}}
    if kind == "pdf_bytes":
        mime, data = raw_part("openai", part)
        name = part.get("filename", "document.pdf")
        file = {"filename": name, "file_data": f"data:{mime};base64,{data}"}
        return {"type": "file", "file": file}
    if kind == "audio_bytes":
        mime, data = raw_part("openai", part)
        return {"type": "input_audio", "input_audio": {"data": data, "format": _sound(mime)}}
    if kind == "file" and "file_uri" in part:
        cannot("openai", "a file part with file_uri")
    return part


def _sound(mime: str) -> str:
    """The provider's name for a format: ``audio/wav``, ``audio/x-wav`` and ``audio/mpeg`` are
    "wav" and "mp3"; what else there is it judges itself.
    """
    kind = mime.partition(";")[0].rpartition("/")[2].removeprefix("x-")
    return "mp3" if kind == "mpeg" else kind
