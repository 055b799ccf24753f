"""The wire dialects, one module each: pure functions from requests to bytes and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module

from ..core.wire import Dialect
from ..errors import ConfigurationError

# name -> (module, class); a module is imported when its dialect is first asked for
_PLACES = {
    "anthropic": ("anthropic", "AnthropicMessages"),
    "bedrock": ("bedrock", "BedrockConverse"),
    "openai": ("openai_chat", "OpenAIChat"),
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


def dialect(name: str) -> Dialect:
    """The dialect called ``name``. Raises ConfigurationError that lists those there are."""
    try:
        return DIALECTS[name]
    except KeyError:
        known = ", ".join(sorted(DIALECTS))
        raise ConfigurationError(f"no dialect is called {name!r}; there are: {known}") from None
