"""Anthropic messages.

``Endpoint.flags``: ``default_max_tokens``, the output cap where the call states none (4,096).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..core.learned import Reading
from ..core.wire import (
    ChatRequest,
    Endpoint,
    EventReader,
    Headers,
    HttpRequest,
    Operation,
    Ready,
    Verdict,
)
from ..types import ChatResponse
from .answer import Received, chatted, value_in
from .anthropic_answer import AnthropicTally, response_of
from .anthropic_messages import split, tool, tool_choice
from .faults import ANTHROPIC, broken
from .limit_headers import readings_in
from .parts import cannot, static_headers, written
from .reading import as_dict
from .schema import closed_at_anthropic, schema_in
from .sdk_errors import classify
from .stream import StreamReader

_VERSION = "2023-06-01"
_DEFAULT_MAX_TOKENS = 4096  # the provider demands a cap; every model it serves allows this one

# Tokens of thinking for a reasoning_effort, ours: 1,024 is the least that the provider takes,
# each step doubles or more.
_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 32_768}
_LEAST_BUDGET = 1024
# Claude up to 4.5 takes a budget, from 4.6 on an effort, from 4.7 on no budget any more:
# https://platform.claude.com/docs/en/build-with-claude/adaptive-thinking
_TAKES_EFFORT = re.compile(
    r"claude-(?![23]|instant|(opus|sonnet|haiku)-4(-[0-5])?([-@]\d{8}|-latest|$))"
)
_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh",
            "max": "max"}  # fmt: skip


class AnthropicMessages:
    """The dialect, without state of its own."""

    name = "anthropic"
    sdk: str | None = None
    counts_cached = False
    operations: Mapping[type, Operation] = {}

    def prepare(self, secret: str | None, endpoint: Endpoint) -> Ready:
        url = endpoint.base_url.rstrip("/").removesuffix("/v1") + "/v1/messages"
        return Ready(
            endpoint, url, static_headers(secret, endpoint, {"anthropic-version": _VERSION})
        )

    def encode(self, request: ChatRequest, endpoint: Endpoint) -> bytes:
        if request.upstream is not None:
            cannot(self.name, f"upstream {request.upstream!r}")
        system, messages = split(request.messages, endpoint.provider)
        default = endpoint.flags.get("default_max_tokens", _DEFAULT_MAX_TOKENS)
        body: dict[str, Any] = {
            "model": request.model,
            "max_tokens": default if request.max_tokens is None else request.max_tokens,
            "messages": messages,
        }
        if system:
            body["system"] = system
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.stream:
            body["stream"] = True
        if request.options:
            _add_options(body, request)
        return written(self.name, body)

    def build(
        self,
        request: ChatRequest,
        body: bytes,
        ready: Ready,
        wall: float,  # noqa: ARG002 - of use to signers only
    ) -> HttpRequest:
        return HttpRequest("POST", ready.url, ready.headers, body, request.stream)

    def parse(
        self, request: ChatRequest, status: int, headers: Headers, body: bytes, wall: float
    ) -> Verdict[ChatResponse]:
        got = Received(status, headers, body, wall)
        answer = value_in(ANTHROPIC, got)
        if isinstance(answer, Verdict):
            return answer
        response = response_of(answer, request.model)
        if response is None:
            return broken("the answer has no content", status, headers, answer)
        return chatted(response, got)

    def events(self, request: ChatRequest) -> EventReader:
        return StreamReader(AnthropicTally(request.model))

    def readings(self, headers: Headers, wall: float) -> Sequence[Reading]:
        return readings_in(ANTHROPIC.limits, headers, wall)

    def classify(self, error: BaseException, wall: float) -> Verdict[Any] | None:
        return classify(ANTHROPIC, error, wall)


def _add_options(body: dict[str, Any], request: ChatRequest) -> None:
    """Portable keywords converted; then the others as they are, which win."""
    own = dict(request.options)
    for name, add in _PORTABLE.items():
        value = own.pop(name, None)
        if value is not None:
            add(body, value)
    effort = own.pop("reasoning_effort", None)
    if effort is not None and "thinking" not in own:
        _add_thinking(body, effort, request.max_tokens)
    for name in ("output_config", "metadata"):
        if name in own and name in body:
            own[name] = body[name] | as_dict(own[name])
    body |= own


def _add_thinking(body: dict[str, Any], effort: Any, max_tokens: int | None) -> None:
    """Thinking counts towards the cap: where the caller states none, there is room for both."""
    if effort == "none":
        body["thinking"] = {"type": "disabled"}
        return
    takes_effort = _TAKES_EFFORT.match(body["model"])
    known: Mapping[str, Any] = _EFFORTS if takes_effort else _BUDGETS
    if not isinstance(effort, str) or effort not in known:
        cannot("anthropic", f"reasoning_effort {effort!r} (known: none, {', '.join(known)})")
    budget = _BUDGETS.get(effort, _BUDGETS["xhigh"])
    if max_tokens is None:
        body["max_tokens"] += budget
    if takes_effort:
        body["thinking"] = {"type": "adaptive", "display": "summarized"}
        body["output_config"] = body.get("output_config", {}) | {"effort": known[effort]}
    else:
        body["thinking"] = {"type": "enabled", "budget_tokens": _within(max_tokens, budget)}


def _within(max_tokens: int | None, budget: int) -> int:
    """A cap of the caller's stands, and bounds the budget."""
    if max_tokens is None:
        return budget
    if max_tokens <= _LEAST_BUDGET:
        cannot("anthropic", f"reasoning_effort with max_tokens of {_LEAST_BUDGET} or less")
    return max(_LEAST_BUDGET, min(budget, max_tokens // 2))


def _add_tools(body: dict[str, Any], value: Any) -> None:
    if not isinstance(value, list | tuple):
        cannot("anthropic", "tools that are not a list")
    body["tools"] = [tool(given) for given in value]


def _add_tool_choice(body: dict[str, Any], value: Any) -> None:
    body["tool_choice"] = tool_choice(value)


def _add_parallel(body: dict[str, Any], value: Any) -> None:
    if not value and body.get("tools"):
        choice = body.get("tool_choice", {"type": "auto"})
        if as_dict(choice).get("type") != "none":
            body["tool_choice"] = as_dict(choice) | {"disable_parallel_tool_use": True}


def _add_stop(body: dict[str, Any], value: Any) -> None:
    body["stop_sequences"] = [value] if isinstance(value, str) else value


def _add_user(body: dict[str, Any], value: Any) -> None:
    body["metadata"] = {"user_id": value}


def _add_format(body: dict[str, Any], value: Any) -> None:
    schema = schema_in(value)
    if schema is None:
        kind = as_dict(value).get("type")
        if kind == "text":
            return
        cannot("anthropic", f"response_format {kind!r}; it takes a schema")
    body["output_config"] = {
        "format": {"type": "json_schema", "schema": closed_at_anthropic(schema)}
    }


def _refused(name: str) -> Callable[[dict[str, Any], Any], None]:
    def refuse(body: dict[str, Any], value: Any) -> None:  # noqa: ARG001 - as the others
        if value is not False:  # logprobs=False asks for nothing
            cannot("anthropic", name)

    return refuse


# In this order: parallel_tool_calls looks at tools and tool_choice.
_PORTABLE: Mapping[str, Callable[[dict[str, Any], Any], None]] = {
    "tools": _add_tools,
    "tool_choice": _add_tool_choice,
    "parallel_tool_calls": _add_parallel,
    "response_format": _add_format,
    "stop": _add_stop,
    "user": _add_user,
    "seed": _refused("seed"),
    "logprobs": _refused("logprobs"),
    "top_logprobs": _refused("top_logprobs"),
}
