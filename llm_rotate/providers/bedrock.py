"""Bedrock Converse. Requests of keys with AWS credentials are signed after they are built.

``additionalModelRequestFields``, ``guardrailConfig`` and the other fields of a Converse body are
keywords of the call. Streams are AWS's event streams, for which botocore is needed (the extra
``bedrock``).
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
    Headers,
    HttpRequest,
    Operation,
    Ready,
    Verdict,
)
from ..types import ChatResponse
from .answer import Received, chatted, no_error, value_in
from .bedrock_answer import BedrockTally, is_error, response_of
from .bedrock_embeddings import BedrockEmbeddings
from .bedrock_frames import FrameParser
from .bedrock_messages import has_tool_blocks, split, tool_choice, tools
from .bedrock_sdk import classify
from .bedrock_urls import need_botocore, url_of
from .faults import BEDROCK, broken, judge
from .jsonio import dumps
from .parts import cannot, static_headers, written
from .reading import as_dict
from .schema import closed_at_anthropic, schema_in
from .stream import StreamReader

# Tokens of thinking for a reasoning_effort where a model takes a budget, ours: 1,024 is the
# least that Claude takes, each step doubles or more.
_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 32_768}
_LEAST_BUDGET = 1024
_ANSWER_BESIDE_THINKING = 4096  # tokens, where the call states no cap


class BedrockConverse:
    """The dialect, without state of its own."""

    name = "bedrock"
    sdk: str | None = None
    # https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html
    counts_cached = False
    operations: Mapping[type, Operation] = {EmbedRequest: BedrockEmbeddings()}

    def prepare(self, secret: str | None, endpoint: Endpoint) -> Ready:
        is_signed = endpoint.auth == "sigv4"
        headers = static_headers(None if is_signed else secret, endpoint)
        return Ready(endpoint, endpoint.base_url.rstrip("/"), headers)

    def encode(self, request: ChatRequest, endpoint: Endpoint) -> bytes:
        if request.upstream is not None:
            cannot(self.name, f"upstream {request.upstream!r}")
        if request.stream or endpoint.auth == "sigv4":
            need_botocore()
        system, messages = split(request.messages, endpoint.provider)
        body: dict[str, Any] = {"messages": messages}
        if system:
            body["system"] = system
        limits = {"maxTokens": request.max_tokens, "temperature": request.temperature}
        stated = {name: value for name, value in limits.items() if value is not None}
        if stated:
            body["inferenceConfig"] = stated
        if request.options:
            _add_options(body, request)
        return written(self.name, body)

    def build(
        self,
        request: ChatRequest,
        body: bytes,
        ready: Ready,
        wall: float,  # noqa: ARG002 - the signature, which tells the time, comes after
    ) -> HttpRequest:
        ending = "converse-stream" if request.stream else "converse"
        url = url_of(ready.url, request.model, ending)
        return HttpRequest("POST", url, ready.headers, body, request.stream)

    def parse(
        self, request: ChatRequest, status: int, headers: Headers, body: bytes, wall: float
    ) -> Verdict[ChatResponse]:
        got = Received(status, headers, body, wall)
        answer = value_in(BEDROCK, got, no_error)
        if isinstance(answer, Verdict):
            return answer
        response = response_of(answer, request.model)
        if response is None:
            if is_error(answer):
                return judge(BEDROCK, status, headers, answer, wall)
            return broken("the answer has no message", status, headers, answer)
        return chatted(response, got)

    def events(self, request: ChatRequest) -> EventReader:
        return StreamReader(BedrockTally(request.model), FrameParser())

    def readings(self, headers: Headers, wall: float) -> Sequence[Reading]:  # noqa: ARG002
        """Bedrock tells nothing of its limits."""
        return ()

    def classify(self, error: BaseException, wall: float) -> Verdict[Any] | None:
        return classify(error, wall)


# Parts of the body that keywords of the call may extend.
_EXTENDED = (
    "inferenceConfig",
    "toolConfig",
    "outputConfig",
    "requestMetadata",
    "additionalModelRequestFields",
)


def _add_options(body: dict[str, Any], request: ChatRequest) -> None:
    """Portable keywords converted; then the others as they are, which win."""
    own = dict(request.options)
    for name, add in _PORTABLE.items():
        value = own.pop(name, None)
        if value is not None:
            add(body, value, request)
    for name in _EXTENDED:
        if name in own and name in body:
            own[name] = body[name] | as_dict(own[name])
    body |= own


def _put(body: dict[str, Any], place: str, **fields: Any) -> None:
    body[place] = body.get(place, {}) | fields


def _add_tools(body: dict[str, Any], value: Any, request: ChatRequest) -> None:
    """Converse has no word for tools that may not be called: then they are not offered."""
    if request.options.get("tool_choice") != "none":
        _put(body, "toolConfig", tools=tools(value))
    elif has_tool_blocks(body["messages"]):
        cannot("bedrock", "tool_choice 'none' in a conversation that has used tools")


def _add_tool_choice(body: dict[str, Any], value: Any, request: ChatRequest) -> None:  # noqa: ARG001
    if value != "none":
        _put(body, "toolConfig", toolChoice=tool_choice(value))


def _add_parallel(body: dict[str, Any], value: Any, request: ChatRequest) -> None:
    """Only Claude can be told to call one tool at a time, in words of its own."""
    if value or "toolConfig" not in body:
        return
    if "anthropic.claude" not in request.model:
        cannot("bedrock", "parallel_tool_calls=False for this model")
    choice = as_dict(body["toolConfig"].pop("toolChoice", {"auto": {}}))
    kind = next(iter(choice), "auto")
    told = {"type": kind, **as_dict(choice.get(kind)), "disable_parallel_tool_use": True}
    _put(body, "additionalModelRequestFields", tool_choice=told)


def _add_top_p(body: dict[str, Any], value: Any, request: ChatRequest) -> None:  # noqa: ARG001
    _put(body, "inferenceConfig", topP=value)


def _add_stop(body: dict[str, Any], value: Any, request: ChatRequest) -> None:  # noqa: ARG001
    _put(body, "inferenceConfig", stopSequences=[value] if isinstance(value, str) else value)


def _add_user(body: dict[str, Any], value: Any, request: ChatRequest) -> None:  # noqa: ARG001
    _put(body, "requestMetadata", user=value)


def _add_format(body: dict[str, Any], value: Any, request: ChatRequest) -> None:  # noqa: ARG001
    schema, told = schema_in(value), as_dict(as_dict(value).get("json_schema"))
    if schema is None:
        kind = as_dict(value).get("type")
        if kind == "text":
            return
        cannot("bedrock", f"response_format {kind!r}; it takes a schema")
    name = getattr(value, "__name__", None) or told.get("name")
    told = {"schema": _json(closed_at_anthropic(schema)), **({"name": name} if name else {})}
    _put(
        body,
        "outputConfig",
        textFormat={"type": "json_schema", "structure": {"jsonSchema": told}},
    )


def _json(value: Any) -> str:
    try:
        return dumps(value).decode()
    except (TypeError, ValueError) as error:
        cannot("bedrock", f"a schema with a value that JSON has no word for ({error})")


def _add_effort(body: dict[str, Any], value: Any, request: ChatRequest) -> None:
    """In the words of the model's maker."""
    say = next((say for family, say in _EFFORTS.items() if family in request.model), None)
    if say is None:
        cannot("bedrock", "reasoning_effort for this model; say it in additionalModelRequestFields")
    say(body, value, request)


def _claude_effort(body: dict[str, Any], effort: Any, request: ChatRequest) -> None:
    """Thinking counts towards the cap: a cap of the caller's stands and bounds the budget."""
    given = as_dict(request.options.get("additionalModelRequestFields"))
    if "thinking" in given or effort == "none":
        return
    budget = _BUDGETS.get(effort) if isinstance(effort, str) else None
    if budget is None:
        cannot("bedrock", f"reasoning_effort {effort!r} (known: none, {', '.join(_BUDGETS)})")
    if request.max_tokens is None:
        _put(body, "inferenceConfig", maxTokens=budget + _ANSWER_BESIDE_THINKING)
    elif request.max_tokens <= _LEAST_BUDGET:
        cannot("bedrock", f"reasoning_effort with max_tokens of {_LEAST_BUDGET} or less")
    else:
        budget = max(_LEAST_BUDGET, min(budget, request.max_tokens // 2))
    thinking = {"type": "enabled", "budget_tokens": budget}
    _put(body, "additionalModelRequestFields", thinking=thinking)


def _nova_effort(body: dict[str, Any], effort: Any, request: ChatRequest) -> None:  # noqa: ARG001
    told = {"type": "disabled"}
    if effort != "none":
        told = {"type": "enabled", "maxReasoningEffort": effort}
    _put(body, "additionalModelRequestFields", reasoningConfig=told)


def _plain_effort(body: dict[str, Any], effort: Any, request: ChatRequest) -> None:  # noqa: ARG001
    _put(body, "additionalModelRequestFields", reasoning_effort=effort)


# Part of a model's name -> how it is told. An application inference profile hides its model.
_EFFORTS: Mapping[str, Callable[[dict[str, Any], Any, ChatRequest], None]] = {
    "anthropic.claude": _claude_effort,
    "amazon.nova-2": _nova_effort,
    "openai.gpt-oss": _plain_effort,
}


def _refused(name: str) -> Callable[[dict[str, Any], Any, ChatRequest], None]:
    def refuse(body: dict[str, Any], value: Any, request: ChatRequest) -> None:  # noqa: ARG001
        if value is not False:  # logprobs=False asks for nothing
            cannot("bedrock", name)

    return refuse


# In this order: parallel_tool_calls looks at tools and tool_choice.
_PORTABLE: Mapping[str, Callable[[dict[str, Any], Any, ChatRequest], None]] = {
    "tools": _add_tools,
    "tool_choice": _add_tool_choice,
    "parallel_tool_calls": _add_parallel,
    "response_format": _add_format,
    "stop": _add_stop,
    "top_p": _add_top_p,
    "user": _add_user,
    "reasoning_effort": _add_effort,
    "seed": _refused("seed"),
    "logprobs": _refused("logprobs"),
    "top_logprobs": _refused("top_logprobs"),
}
