"""What a request means to the google-genai SDK: its arguments, in its own types."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from typing import Any, cast

from ..core.wire import Body, ChatRequest, ContentRequest, Dialect, Endpoint, FileRequest
from ..errors import CapabilityError, ConfigurationError
from ..providers.gemini_answer import usage_of
from ..providers.gemini_contents import native
from ..providers.jsonio import dumps, loads
from ..providers.reading import as_dict
from ..types import Usage
from .google_sdk import genai


@dataclass(slots=True)
class SdkCall:
    """Arguments of ``generate_content``, in the SDK's own types.

    ``is_read``: the SDK reads the answer too, for what it makes of it. ``is_taking_turns``: it
    calls functions and sends on its own; ``usages``: of the turns that are behind it.
    """

    model: str
    contents: Any
    config: Any
    is_stream: bool
    is_read: bool = False
    is_taking_turns: bool = False
    usages: list[Usage] = field(default_factory=list)

    def is_over(self, status: int) -> bool:
        """Has the SDK done what it is for, once an answer came?"""
        return status < 300 and not self.is_read

    def go_on(self, body: Body, answer: bytes) -> None:
        """A turn is over, and ``body`` asks for the next. Who sends the call again begins
        there: functions are not to be called twice.
        """
        self.usages.append(usage_in(answer))
        if self.is_taking_turns:
            contents = loads(cast("bytes", body))["contents"]
            self.contents = read(dumps({"contents": contents, "config": {}})).contents

    def whole(self, response: Any) -> bytes:
        """The SDK's response as it would have come in one piece."""
        if self.is_taking_turns and not response.automatic_function_calling_history:
            response.automatic_function_calling_history = self.contents
        written: str = response.model_dump_json(
            by_alias=True, exclude_none=True, exclude={"sdk_http_response", "parsed"}
        )
        return written.encode()

    async def run(self, client: Any) -> Any:
        """Lets the SDK work."""
        arguments = {"model": self.model, "contents": self.contents, "config": self.config}
        models = client.aio.models
        if self.is_stream:
            return await anext(await models.generate_content_stream(**arguments))
        return await models.generate_content(**arguments)


@dataclass(frozen=True, slots=True)
class FileCall:
    """A file to be uploaded, in pieces."""

    request: FileRequest
    is_stream: bool = False

    def is_over(self, status: int) -> bool:
        """A piece that is refused would be sent again."""
        return status >= 300

    def go_on(self, body: Body, answer: bytes) -> None:
        """Who sends the file again begins anew: another key has none of it."""

    async def run(self, client: Any) -> Any:
        """As :meth:`SdkCall.run`."""
        asked = self.request
        content = io.BytesIO(asked.content) if isinstance(asked.content, bytes) else asked.content
        told = {"mime_type": asked.mime_type, "display_name": asked.display_name}
        return await client.aio.files.upload(file=content, config=told)


def usage_in(answer: bytes) -> Usage:
    """Of an answer that the SDK has read."""
    try:
        return usage_of(as_dict(loads(answer)).get("usageMetadata"))
    except ValueError:
        return Usage()


def sdk_call(dialect: Dialect, request: ChatRequest, endpoint: Endpoint) -> SdkCall:
    """What a request means to the SDK. Raises CapabilityError, and ConfigurationError for
    fields that the SDK does not know.
    """
    if isinstance(request, ContentRequest):
        return _content_call(request)
    found = read(dialect.encode(request, endpoint))
    _alone(found.config)
    return SdkCall(request.model, _cheap(found.contents), found.config, request.stream)


def _cheap(contents: list[Any]) -> Any:
    """The same in the form that the SDK checks fastest: it tries a content in a list against
    all that could stand there, which takes longer than everything else that it does.
    """
    if len(contents) == 1:
        return contents[0]
    return [content.model_dump(exclude_none=True) for content in contents]


def _alone(config: Any, *, calls_functions: bool = False) -> None:
    """One attempt is one request, or ConfigurationError. Older versions of the SDK know the
    first of the two switches only.
    """
    if getattr(config.http_options, "retry_options", None) is not None:
        raise ConfigurationError(
            "retries are the pool's alone: say max_retries= instead of retry_options"
        )
    types = genai("google.genai.types")
    if config.automatic_function_calling is None and not calls_functions:
        config.automatic_function_calling = types.AutomaticFunctionCallingConfig(disable=True)
    if getattr(config, "automatic_continuation", False) is None:
        config.automatic_continuation = False


def _content_call(request: ContentRequest) -> SdkCall:
    config = _config(request)
    calls_functions = any(map(callable, config.tools or ())) and not _is_off(config)
    _alone(config, calls_functions=calls_functions)
    continues = bool(getattr(config, "automatic_continuation", None))
    is_driven = calls_functions or continues
    if is_driven and request.stream:
        raise CapabilityError(
            "generate_content_stream cannot carry calls of functions or continuations by the "
            "SDK: use generate_content for them"
        )
    has_schema = any(
        getattr(config, name, None) is not None
        for name in ("response_schema", "response_json_schema")
    )
    is_read = is_driven or (has_schema and not request.stream)
    contents = [_content(item) for item in native(request.messages)]
    takes_turns = calls_functions and not continues
    return SdkCall(request.model, contents, config, request.stream, is_read, takes_turns)


def _content(item: Any) -> Any:
    """A dict as the SDK's type; what else there is, its own types among it, is left to it."""
    if not isinstance(item, Mapping):
        return item
    types = genai("google.genai.types")
    kind = types.Content if item.keys() & {"parts", "role"} else types.Part
    try:
        return kind.model_validate(item)
    except Exception as error:
        complaints = complaints_of(error)
    raise ConfigurationError(f"generate_content: contents: {complaints}")


def _is_off(config: Any) -> bool:
    calling = config.automatic_function_calling
    return calling is not None and bool(calling.disable)


def _config(request: ContentRequest) -> Any:
    """The keywords as the SDK's configuration. Raises ConfigurationError."""
    kind = genai("google.genai.types").GenerateContentConfig
    options = {name: value for name, value in request.options.items() if value is not None}
    if request.max_tokens is not None:
        options["max_output_tokens"] = request.max_tokens
    if request.temperature is not None:
        options["temperature"] = request.temperature
    try:
        config = kind.model_validate(options)
    except Exception as error:
        complaints = complaints_of(error, list(kind.model_fields))
        raise ConfigurationError(f"generate_content: {complaints}") from None
    return config


@cache
def shape() -> Any:
    """The dialect's JSON as a pydantic class of the SDK's types."""
    from pydantic import create_model  # noqa: PLC0415 - slow to import; the SDK brings it

    types: Any = genai("google.genai.types")
    content: Any = types.Content
    return create_model(
        "Arguments",
        contents=(list[content], ...),
        config=(types.GenerateContentConfig, ...),
    )


def read(body: bytes) -> Any:
    kind = shape()
    try:
        return kind.model_validate_json(body)
    except Exception as error:  # also what the SDK's own checks stumble over
        unknown = _unknown_fields(error)
    arguments = loads(body)
    options = arguments["config"]
    # As they are, like every keyword that nobody knows: beside what the SDK writes.
    beside = {name: options.pop(name) for name in unknown}
    told = as_dict(options.pop("http_options", None) or options.pop("httpOptions", None))
    own = as_dict(told.pop("extra_body", None) or told.pop("extraBody", None))
    options["httpOptions"] = told | {"extraBody": own | beside}
    try:
        return kind.model_validate_json(dumps(arguments))
    except Exception as error:
        complaints = complaints_of(error)
    raise CapabilityError(f"gemini cannot carry the request: {complaints}")


def _unknown_fields(error: Any) -> list[str]:
    """Those at the top of the configuration."""
    told = error.errors(include_input=False, include_url=False) if _is_told(error) else []
    unknown = [each["loc"] for each in told if each["type"] == "extra_forbidden"]
    return [loc[1] for loc in unknown if loc[0] == "config" and len(loc) == 2]


def complaints_of(error: Any, known: Sequence[str] = ()) -> str:
    """Where and why, never what was given: a request is the caller's own."""
    if not _is_told(error):
        return f"google-genai cannot read it ({type(error).__name__})"
    told = error.errors(include_input=False, include_url=False, include_context=False)[:3]
    return "; ".join(
        _complaint(".".join(map(str, each["loc"])), each["msg"], known) for each in told
    )


def _is_told(error: object) -> bool:
    """Is it pydantic's, which says where?"""
    return hasattr(error, "errors")


def _complaint(place: str, words: str, known: Sequence[str]) -> str:
    near = get_close_matches(place, known, 1) if place not in known else []
    return f"{place}: {words}" + (f"; did you mean {near[0]}?" if near else "")
