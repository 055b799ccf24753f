"""OpenAI chat completions: OpenAI, Azure OpenAI, OpenRouter and every compatible service.

What a service spells differently is in ``Endpoint.flags``:

- ``max_tokens_field``: the body's name for the output cap ("max_tokens")
- ``stream_options``: whether it takes ``stream_options`` (True)
- ``cache_control``: whether it takes the marks of a prompt cache (True)
- ``upstream_names``: our name of an upstream -> the broker's
- those of ``openai_http``
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.wire import ChatRequest, Endpoint
from .openai_answer import fault_in, response_of
from .openai_events import OpenAITally
from .openai_http import OpenAIEndpoint
from .openai_messages import messages_for, unmarked
from .parts import upstream_pin, written
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
            "messages": messages_for(endpoint, request.messages),
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
            if isinstance(body.get("tools"), list) and not flags.get("cache_control", True):
                body["tools"] = [unmarked(tool) for tool in body["tools"]]
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
