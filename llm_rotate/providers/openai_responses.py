"""OpenAI's responses API: OpenAI, Azure OpenAI and compatible services.

``Endpoint.flags`` are those of ``openai_http``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

from ..core.wire import ChatRequest, Endpoint, Headers, HttpRequest, Ready, Verdict
from ..types import ChatResponse
from .openai_http import OpenAIEndpoint
from .openai_urls import url_of
from .parts import cannot, upstream_pin, written
from .reading import as_dict
from .responses_answer import PENDING, ResponsesTally, fault_in, kept, response_of
from .responses_input import NAME, items
from .schema import openai_format
from .stream import Tally


class OpenAIResponses(OpenAIEndpoint):
    """The dialect, without state of its own."""

    name = NAME
    path = "responses"
    fault_in = staticmethod(fault_in)
    response_of = staticmethod(response_of)

    def encode(self, request: ChatRequest, endpoint: Endpoint) -> bytes:
        said = items(request.messages, endpoint.provider)
        body: dict[str, Any] = {"model": request.model, "input": said}
        if request.max_tokens is not None:
            body["max_output_tokens"] = request.max_tokens
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.stream:
            body["stream"] = True
        if request.options:
            _add_options(body, request.options)
        if request.upstream is not None:
            body["provider"] = upstream_pin(body.get("provider"), request.upstream, endpoint.flags)
        return written(NAME, body)

    def parse(
        self, request: ChatRequest, status: int, headers: Headers, body: bytes, wall: float
    ) -> Verdict[ChatResponse]:
        verdict = super().parse(request, status, headers, body, wall)
        answer = verdict.value
        if answer is not None:
            verdict.kept = kept(answer)
            if answer.finish_reason in PENDING and answer.id:
                verdict.poll = partial(_poll, answer.id)
        return verdict

    def tally(self, request: ChatRequest) -> Tally:
        return ResponsesTally(request.model, pinned=request.upstream is not None)


def _poll(answer_id: str, ready: Ready) -> HttpRequest:
    """Asks for an answer that the service works on in the background."""
    url, mark, query = url_of(ready, OpenAIResponses.path).partition("?")
    return HttpRequest("GET", f"{url}/{quote(answer_id, safe='')}{mark}{query}", ready.headers, b"")


# -- the caller's keywords


def _add_options(body: dict[str, Any], options: Mapping[str, Any]) -> None:
    """Portable keywords and those of chat completions converted; the others as they are. What
    the caller says in this API's own words wins.
    """
    own = dict(options)
    for name, add in _CONVERTED.items():
        value = own.pop(name, None)
        if value is not None:
            add(body, value)
    for name in ("text", "reasoning"):
        if name in body and isinstance(own.get(name), Mapping):
            own[name] = {**body[name], **own[name]}
    if "include" in body and isinstance(own.get("include"), list | tuple):
        own["include"] = [*dict.fromkeys((*body["include"], *own["include"]))]
    body |= {k: v for k, v in own.items() if v is not None or k not in _PLAIN}


_PLAIN = frozenset({"parallel_tool_calls", "top_p", "top_logprobs", "user"})


def _add_max_tokens(body: dict[str, Any], value: Any) -> None:
    body.setdefault("max_output_tokens", value)


def _add_tools(body: dict[str, Any], value: Any) -> None:
    if not isinstance(value, list | tuple):
        cannot(NAME, "tools that are not a list")
    body["tools"] = [_tool(each) for each in value]


def _tool(given: Any) -> Any:
    """A tool in the shape of chat completions; any other is this API's own."""
    kind = as_dict(given).get("type")
    inner = as_dict(given).get(kind) if isinstance(kind, str) else None
    if kind == "function" and isinstance(inner, Mapping):
        # Without a word on it chat completions are not strict, and this API is.
        return {"type": kind, "strict": False, "parameters": {}, **inner}
    if kind == "custom" and isinstance(inner, Mapping):
        return {"type": kind, **inner}
    return given


def _add_tool_choice(body: dict[str, Any], value: Any) -> None:
    body["tool_choice"] = _chosen(value)


def _chosen(value: Any) -> Any:
    kind = as_dict(value).get("type")
    inner = as_dict(value).get(kind) if isinstance(kind, str) else None
    if not isinstance(inner, Mapping):
        return value
    if kind == "allowed_tools":
        named = [_chosen(each) for each in inner.get("tools") or ()]
        return {"type": kind, "mode": inner.get("mode", "auto"), "tools": named}
    return {"type": kind, **inner}


def _add_format(body: dict[str, Any], value: Any) -> None:
    told = as_dict(openai_format(value))
    if not told:
        cannot(NAME, f"a response_format of type {type(value).__name__}")
    schema = as_dict(told.get("json_schema"))
    _text(body)["format"] = {"type": told.get("type"), **schema} if schema else told


def _add_verbosity(body: dict[str, Any], value: Any) -> None:
    _text(body)["verbosity"] = value


def _text(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = body.setdefault("text", {})
    return found


def _add_effort(body: dict[str, Any], value: Any) -> None:
    body["reasoning"] = {"effort": value}


def _add_logprobs(body: dict[str, Any], value: Any) -> None:
    if value:
        body["include"] = ["message.output_text.logprobs"]


def _refused(name: str) -> Callable[[dict[str, Any], Any], None]:
    def refuse(body: dict[str, Any], value: Any) -> None:  # noqa: ARG001 - as the others
        cannot(NAME, name)

    return refuse


_CONVERTED: Mapping[str, Callable[[dict[str, Any], Any], None]] = {
    "max_completion_tokens": _add_max_tokens,
    "tools": _add_tools,
    "tool_choice": _add_tool_choice,
    "response_format": _add_format,
    "verbosity": _add_verbosity,
    "reasoning_effort": _add_effort,
    "logprobs": _add_logprobs,
    "stop": _refused("stop"),
    "seed": _refused("seed"),
}
