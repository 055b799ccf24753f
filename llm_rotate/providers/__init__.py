"""The wire dialects, one module each: pure functions from requests to bytes and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module

from ..core.wire import Dialect
from ..errors import CapabilityError, ConfigurationError

# name -> (module, class); a module is imported when its dialect is first asked for
_PLACES = {
    "anthropic": ("anthropic", "AnthropicMessages"),
    "bedrock": ("bedrock", "BedrockConverse"),
    "gemini": ("gemini", "GeminiContents"),
    "openai": ("openai_chat", "OpenAIChat"),
    "openai_responses": ("openai_responses", "OpenAIResponses"),
}


class _Dialects(Mapping[str, Dialect]):
    def __getitem__(self, name: str) -> Dialect:
        return _made(*_PLACES[name])

    def __iter__(self) -> Iterator[str]:
        return iter(_PLACES)

    def __len__(self) -> int:
        return len(_PLACES)


@cache
def _made(module: str, cls: str) -> Dialect:
    made: Dialect = getattr(import_module(f".{module}", __name__), cls)()
    return made


DIALECTS: Mapping[str, Dialect] = _Dialects()

# An endpoint, as a call names it -> a service's dialect -> the dialect of that endpoint.
# ``chat_completion`` is at every other service what it has.
ENDPOINTS: Mapping[str, Mapping[str, str]] = {
    "chat_completion": {"openai_responses": "openai"},
    "responses": {"openai": "openai_responses", "openai_responses": "openai_responses"},
}


def at_endpoint(name: str, endpoint: str) -> str:
    """The dialect that a service of dialect ``name`` speaks at ``endpoint``. Raises
    CapabilityError if it has no such endpoint.
    """
    found = ENDPOINTS.get(endpoint, {}).get(name)
    if found is None and endpoint != "chat_completion":
        raise CapabilityError(f"{name} has no endpoint {endpoint!r}: leave endpoint= out")
    return found or name


def dialect(name: str) -> Dialect:
    """The dialect called ``name``. Raises ConfigurationError that lists those there are."""
    try:
        return DIALECTS[name]
    except KeyError:
        known = ", ".join(sorted(DIALECTS))
        raise ConfigurationError(f"no dialect is called {name!r}; there are: {known}") from None
