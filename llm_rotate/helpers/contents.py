"""Google's generate_content, as LMRotate has it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import fields, replace
from typing import Any

from ..arguments import Steering, steered
from ..core.wire import ChatRequest, ContentRequest
from ..engine.portal import PORTAL
from ..engine.stream import ChatStream
from ..engine.sync_stream import SyncChatStream
from ..errors import ConfigurationError
from ..types import ChatResponse, GenerateContentRequest

OURS = (*Steering.__dataclass_fields__, *GenerateContentRequest.__dataclass_fields__)
_SWITCH = "disable_automatic_function_calling"


class Contents:
    """Google's own words for a request, for whoever can ask."""

    _ask: Callable[..., Awaitable[Any]]
    _stream: Callable[[ChatRequest, Steering], ChatStream]

    async def generate_content(  # noqa: PLR0913 - a public face: each a thing a call may say
        self,
        model: str | GenerateContentRequest,
        contents: Any = None,
        *,
        system_instruction: Any = None,
        response_mime_type: str | None = None,
        max_output_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        thinking_budget: int | None = None,
        disable_automatic_function_calling: bool = True,
        max_retries: int | None = None,
        provider: str | None = None,
        **kwargs: Any,
    ) -> ChatResponse:
        """One answer of google_ai_studio or google_vertex, asked for in Google's own words.

        ``model``: a name, or a GenerateContentRequest that says all of it. ``contents``:
        strings, ContentParts, ``{"data": bytes, "mime_type": ...}``, dicts and types of
        google-genai, alone or in a list; or a list of contents with ``role`` and ``parts``.
        ``thinking_budget``: tokens. Every field of google-genai's GenerateContentConfig is a
        keyword too (``tools``, with Python functions among them, ``response_schema``,
        ``safety_settings``, ``cached_content``, ...), as are the keywords of :meth:`chat` that
        steer a call (``timeout``, ``key_id``, ``affinity``, ...).

        With ``disable_automatic_function_calling=False`` the SDK calls functions among the
        tools and sends their results, with the same key; usage is that of all its requests.
        ``ChatResponse.raw`` is the answer as a plain dict, ``.parsed`` what the SDK made of a
        response_schema. A stage of a chain that speaks anything else is skipped.

        Raises as :meth:`chat` does.
        """
        named = {
            "system_instruction": system_instruction,
            "response_mime_type": response_mime_type,
            "max_output_tokens": max_output_tokens,
            "temperature": temperature,
            "top_p": top_p,
            "seed": seed,
            "thinking_budget": thinking_budget,
            "disable_automatic_function_calling": disable_automatic_function_calling,
            "max_retries": max_retries,
            "provider": provider,
        }
        request, steering = _request(_asked(model, contents, {**named, **kwargs}))
        response: ChatResponse = await self._ask(request, steering)
        return response

    def generate_content_sync(
        self, model: str | GenerateContentRequest, contents: Any = None, **kwargs: Any
    ) -> ChatResponse:
        """:meth:`generate_content` for code without a loop."""
        return PORTAL.run(lambda: self.generate_content(model, contents, **kwargs))

    def generate_content_stream(
        self, model: str | GenerateContentRequest, contents: Any = None, **kwargs: Any
    ) -> ChatStream:
        """A streamed answer, with the arguments of :meth:`generate_content`:
        ``async for chunk in lm.generate_content_stream(...)``, without await. Functions are not
        called while it streams: their calls are on the last chunk.
        """
        request, steering = _request(_asked(model, contents, kwargs))
        return self._stream(replace(request, stream=True), steering)

    def generate_content_stream_sync(
        self, model: str | GenerateContentRequest, contents: Any = None, **kwargs: Any
    ) -> SyncChatStream:
        """:meth:`generate_content_stream` as a plain iterator and context manager."""
        return SyncChatStream(self.generate_content_stream(model, contents, **kwargs))


def _asked(
    model: str | GenerateContentRequest, contents: Any, keywords: Mapping[str, Any]
) -> GenerateContentRequest:
    """All that was said as one value; keywords win over a request's own fields."""
    own = {field.name for field in fields(GenerateContentRequest)} - {"extra"}
    said = {name: value for name, value in keywords.items() if value is not None}
    named = {name: value for name, value in said.items() if name in own}
    extra = {name: value for name, value in said.items() if name not in own}
    if not isinstance(model, GenerateContentRequest):
        return GenerateContentRequest(model, contents, **named, extra=extra)
    if contents is not None:
        named["contents"] = contents
    named[_SWITCH] = named.get(_SWITCH, True) and model.disable_automatic_function_calling
    return replace(model, **named, extra={**model.extra, **extra})


def _request(asked: GenerateContentRequest) -> tuple[ContentRequest, Steering]:
    steering, options = steered(asked.model, asked.extra, OURS)
    contents: Any = asked.contents
    if contents is None or contents == []:
        raise ConfigurationError("contents is empty: there is nothing to answer")
    for name in ("system_instruction", "response_mime_type", "top_p", "seed"):
        if getattr(asked, name) is not None:
            options[name] = getattr(asked, name)
    if asked.thinking_budget is not None:
        options["thinking_config"] = _thinking(asked.thinking_budget, options)
    if asked.disable_automatic_function_calling:
        options.setdefault("automatic_function_calling", {"disable": True})
    contents = contents if isinstance(contents, list) else [contents]
    caps = asked.max_output_tokens, asked.temperature
    return ContentRequest(asked.model, contents, False, *caps, None, options), steering


def _thinking(budget: int, options: Mapping[str, Any]) -> dict[str, Any]:
    given: Any = options.get("thinking_config") or {}
    if not isinstance(given, Mapping):
        raise ConfigurationError("thinking_budget= goes with no thinking_config=, or one as a dict")
    return {**given, "thinking_budget": budget}
