"""OpenAI chat completions: OpenAI, Azure OpenAI, OpenRouter and every compatible service.

What a service spells differently is in ``Endpoint.flags``:

- ``max_tokens_field``: the body's name for the output cap ("max_tokens")
- ``stream_options``: whether it takes ``stream_options`` (True)
- ``azure``: the model is a deployment in the path; ``api_version``: its version, "v1" or
  none for the path without deployments
- ``upstream_names``: our name of an upstream -> the broker's
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.learned import Reading
from ..core.outcome import Outcome
from ..core.wire import (
    ChatRequest,
    EmbedRequest,
    Endpoint,
    EventReader,
    Headers,
    HttpRequest,
    Operation,
    Ready,
    TranscribeRequest,
    Verdict,
)
from ..types import ChatResponse
from .faults import OPENAI, broken, judge, request_id
from .jsonio import loads
from .limit_headers import readings_in
from .openai_answer import fault_in, response_of, said
from .openai_audio import OpenAITranscriptions
from .openai_embeddings import OpenAIEmbeddings
from .openai_events import OpenAITally
from .openai_urls import for_model, url_of
from .parts import Said, cannot, checked, own_words, raw_part, static_headers, upstream_pin, written
from .schema import model_schema, openai_format
from .sdk_errors import classify
from .stream import StreamReader

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


class OpenAIChat:
    """The dialect, without state of its own."""

    name = "openai"
    counts_cached = True
    operations: Mapping[type, Operation] = {
        EmbedRequest: OpenAIEmbeddings(),
        TranscribeRequest: OpenAITranscriptions(),
    }

    def prepare(self, secret: str | None, endpoint: Endpoint) -> Ready:
        return Ready(
            endpoint, url_of(endpoint, "chat/completions"), static_headers(secret, endpoint)
        )

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

    def build(
        self,
        request: ChatRequest,
        body: bytes,
        ready: Ready,
        wall: float,  # noqa: ARG002 - of use to signers only
    ) -> HttpRequest:
        url = for_model(ready.url, request.model)
        return HttpRequest("POST", url, ready.headers, body, request.stream)

    def parse(
        self, request: ChatRequest, status: int, headers: Headers, body: bytes, wall: float
    ) -> Verdict[ChatResponse]:
        pinned = request.upstream is not None
        if not 200 <= status < 300:
            return judge(OPENAI, status, headers, body, wall, pinned=pinned)
        try:
            answer = loads(body)
        except ValueError:
            return broken("the answer is not JSON", status, headers, body)
        fault = fault_in(answer)
        if fault is not None:
            return judge(OPENAI, status, headers, fault, wall, pinned=pinned)
        response = response_of(answer, request.model)
        if response is None:
            return broken("the answer has no choices", status, headers, answer)
        response.request_id = request_id(headers)
        return Verdict(
            Outcome.OK,
            response,
            response.usage,
            status=status,
            request_id=response.request_id,
        )

    def events(self, request: ChatRequest) -> EventReader:
        return StreamReader(OpenAITally(request.model, pinned=request.upstream is not None))

    def readings(self, headers: Headers, wall: float) -> Sequence[Reading]:
        return readings_in(OPENAI.limits, headers, wall)

    def classify(self, error: BaseException, wall: float) -> Verdict[Any] | None:
        return classify(OPENAI, error, wall)


def _options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The caller's keywords; a portable one that is None counts as not given."""
    found = {k: v for k, v in options.items() if v is not None or k not in _PORTABLE}
    schema = model_schema(found.get("response_format"))
    if schema is not None:
        found["response_format"] = openai_format(found["response_format"].__name__, schema)
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
    if kind == "file" and "file_uri" in part:
        cannot("openai", "a file part with file_uri")
    return part
