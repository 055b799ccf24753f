"""Checks what a call was given, before anything is sent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, TypeVar

from .errors import ConfigurationError

N = TypeVar("N", int, float)
CLOSE = 0.85
OURS = (
    "provider",
    "max_tokens",
    "temperature",
    "max_retries",
    "timeout",
    "timeouts",
    "max_wait_seconds",
    "affinity",
    "key_id",
    "tags",
    "region",
)


def check_call(model: object, messages: object, keywords: Mapping[str, Any]) -> None:
    """Raises ConfigurationError for what no provider could make sense of."""
    if not isinstance(model, str) or not model:
        raise ConfigurationError("model must be a name, like 'gpt-4o-mini' or 'openai/gpt-4o-mini'")
    if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Sequence):
        raise ConfigurationError(
            "messages must be a list of messages, like [{'role': 'user', 'content': 'hello'}]"
        )
    if not messages:
        raise ConfigurationError("messages is empty: there is nothing to answer")
    for name in keywords:
        if complaint := _complaint(name):
            raise ConfigurationError(complaint)


@lru_cache(maxsize=512)
def _complaint(keyword: str) -> str | None:
    """Most keywords go to the provider as they are; these were meant for us."""
    if keyword == "stream":
        return "stream= is not for chat: use chat_stream(...), which returns the chunks"
    near = get_close_matches(keyword, OURS, 1, CLOSE)
    return f"{keyword}= is not known; did you mean {near[0]}=?" if near else None


def worded(affinity: str | int | None) -> str | None:
    """A conversation's name; 17 and "17" are the same. Raises ConfigurationError for what
    may not be alike in every process.
    """
    given: object = affinity
    if given is not None and (isinstance(given, bool) or not isinstance(given, (str, int))):
        raise ConfigurationError(
            f"affinity must be a text or a whole number that names the conversation, "
            f"not {type(given).__name__}"
        )
    return affinity if affinity is None else str(affinity)


def checked(name: str, number: N, *, may_be_zero: bool = False) -> N:
    """``number`` if it is one, over zero and not NaN. Raises ConfigurationError."""
    given: object = number
    if isinstance(given, bool) or not isinstance(given, (int, float)) or math.isnan(given):
        raise ConfigurationError(f"{name} must be a number, not {type(given).__name__}")
    if number < 0 or (number == 0 and not may_be_zero):
        raise ConfigurationError(f"{name} must be {'at least' if may_be_zero else 'over'} 0")
    return number
