"""Gemini's generate_content, as Google AI Studio and Vertex AI serve it.

The google-genai SDK sends it: ``encode`` gives its arguments as JSON, what comes back is read
here. ``Endpoint.flags``: ``api_version`` of the path (v1beta at AI Studio, else the SDK's own).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..core.learned import Reading
from ..core.wire import (
    ChatRequest,
    EmbedRequest,
    Endpoint,
    EventReader,
    FileRequest,
    Headers,
    Operation,
    Ready,
    TranscribeRequest,
    Verdict,
)
from ..types import ChatResponse
from .answer import Received, chatted, value_in
from .faults import GEMINI, broken
from .gemini_answer import GeminiTally, response_of
from .gemini_audio import GeminiTranscriptions
from .gemini_contents import split, tool_choice, tools
from .gemini_embeddings import GeminiEmbeddings
from .gemini_files import GeminiFiles
from .parts import cannot, static_headers, written
from .reading import as_dict
from .schema import schema_in
from .sdk_errors import classify
from .stream import StreamReader

# Tokens of thinking for a reasoning_effort, as the provider's own page for OpenAI's names has
# them: https://ai.google.dev/gemini-api/docs/openai#thinking
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576}
# From the third generation on, models take a level instead.
_BUDGETED = ("gemini-1", "gemini-2")
_LEVELS = {"minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH"}


class GeminiContents:
    """The dialect, without state of its own."""

    name = "gemini"
    sdk: str | None = "google-genai"
    counts_cached = True
    operations: Mapping[type, Operation] = {
        EmbedRequest: GeminiEmbeddings(),
        TranscribeRequest: GeminiTranscriptions(),
        FileRequest: GeminiFiles(),
    }

    def prepare(self, secret: str | None, endpoint: Endpoint) -> Ready:
        """The headers are checked here and sent by the SDK."""
        return Ready(endpoint, endpoint.base_url, static_headers(secret, endpoint))

    def encode(self, request: ChatRequest, endpoint: Endpoint) -> bytes:
        if request.upstream is not None:
            cannot(self.name, f"upstream {request.upstream!r}")
        system, contents = split(request.messages, endpoint.provider)
        if not contents:
            cannot(self.name, "a conversation without a message of the user")
        config: dict[str, Any] = {"systemInstruction": {"parts": system}} if system else {}
        if request.max_tokens is not None:
            config["maxOutputTokens"] = request.max_tokens
        if request.temperature is not None:
            config["temperature"] = request.temperature
        if request.options:
            _add_options(config, request)
        return written(self.name, {"model": request.model, "contents": contents, "config": config})

    def parse(
        self, request: ChatRequest, status: int, headers: Headers, body: bytes, wall: float
    ) -> Verdict[ChatResponse]:
        got = Received(status, headers, body, wall)
        answer = value_in(GEMINI, got)
        if isinstance(answer, Verdict):
            return answer
        response = response_of(answer, request.model)
        if response is None:
            return broken("the answer has no candidates", status, headers, answer)
        response.request_id = response.id  # AI Studio says it there alone
        return chatted(response, got)

    def events(self, request: ChatRequest) -> EventReader:
        return StreamReader(GeminiTally(request.model))

    def readings(self, headers: Headers, wall: float) -> Sequence[Reading]:  # noqa: ARG002
        """The provider tells nothing of its limits before they are reached."""
        return ()

    def classify(self, error: BaseException, wall: float) -> Verdict[Any] | None:
        return classify(GEMINI, error, wall)


def _add_options(config: dict[str, Any], request: ChatRequest) -> None:
    """Portable keywords converted; then the others as they are, which win."""
    own = dict(request.options)
    for name, add in _PORTABLE.items():
        value = own.pop(name, None)
        if value is not None:
            add(config, value)
    effort = own.pop("reasoning_effort", None)
    if effort is not None and not own.keys() & {"thinking_config", "thinkingConfig"}:
        config["thinkingConfig"] = _thinking(effort, request.model)
    config |= own


def _thinking(effort: Any, model: str) -> dict[str, Any]:
    known = _BUDGETS if model.startswith(_BUDGETED) else _LEVELS
    value = known.get(effort) if isinstance(effort, str) else None
    if value is None:
        cannot("gemini", f"reasoning_effort {effort!r} of {model} (known: {', '.join(known)})")
    if known is _LEVELS:
        return {"thinkingLevel": value, "includeThoughts": True}
    return {"thinkingBudget": value, "includeThoughts": value != 0}


def _add_tools(config: dict[str, Any], value: Any) -> None:
    config["tools"] = tools(value)


def _add_tool_choice(config: dict[str, Any], value: Any) -> None:
    config["toolConfig"] = {"functionCallingConfig": tool_choice(value)}


def _add_parallel(config: dict[str, Any], value: Any) -> None:
    if not value and config.get("tools"):
        cannot("gemini", "parallel_tool_calls=False")


def _add_stop(config: dict[str, Any], value: Any) -> None:
    config["stopSequences"] = [value] if isinstance(value, str) else value


def _add_format(config: dict[str, Any], value: Any) -> None:
    schema, kind = schema_in(value), as_dict(value).get("type")
    if schema is None and kind == "text":
        return
    if schema is None and kind != "json_object":
        cannot("gemini", f"response_format {kind!r}; it takes a schema")
    config["responseMimeType"] = "application/json"
    if schema is not None:
        config["responseJsonSchema"] = schema


def _add_logprobs(config: dict[str, Any], value: Any) -> None:
    if value:
        config["responseLogprobs"] = True


def _as(name: str) -> Callable[[dict[str, Any], Any], None]:
    def add(config: dict[str, Any], value: Any) -> None:
        config[name] = value

    return add


def _refused_user(config: dict[str, Any], value: Any) -> None:  # noqa: ARG001 - as the others
    cannot("gemini", "user")


# In this order: parallel_tool_calls looks at tools.
_PORTABLE: Mapping[str, Callable[[dict[str, Any], Any], None]] = {
    "tools": _add_tools,
    "tool_choice": _add_tool_choice,
    "parallel_tool_calls": _add_parallel,
    "response_format": _add_format,
    "stop": _add_stop,
    "top_p": _as("topP"),
    "seed": _as("seed"),
    "logprobs": _add_logprobs,
    "top_logprobs": _as("logprobs"),
    "user": _refused_user,
}
