"""Checks what a call was given, before anything is sent."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, TypeVar

from .errors import ConfigurationError
from .providers import ENDPOINTS

N = TypeVar("N", int, float)
CLOSE = 0.85
Tags = Mapping[str, str] | Iterable[str] | None


@dataclass(frozen=True, slots=True)
class Steering:
    """The keywords that every call takes, as :meth:`LMRotate.chat` explains them."""

    provider: str | None = None
    max_retries: int | None = None
    timeout: float | None = None
    timeouts: Mapping[str, float] | None = None
    max_wait_seconds: float | None = None
    affinity: str | int | None = None
    key_id: str | None = None
    tags: Tags = None
    region: str | None = None


OURS = ("endpoint", "max_tokens", "temperature", *Steering.__dataclass_fields__)
# Of every batch.
OF_BATCHES = (
    "max_parallel_requests",
    "return_exceptions",
    "on_progress",
    "on_result",
    "collect",
    "progress",
    "postprocess",
)
OF_CHAT_BATCHES = ("keep_raw", "dedupe", "cache")
# In no call over rows are they a provider's.
OF_ROWS = frozenset({*OF_BATCHES, *OF_CHAT_BATCHES, "micro_batch_size"})


def steered(
    model: object, keywords: Mapping[str, Any], ours: tuple[str, ...] = OURS
) -> tuple[Steering, dict[str, Any]]:
    """Keywords of a call: those that steer it, and those that go into the request; ``ours``:
    names that the latter must not be misspelled ones of. Raises ConfigurationError.
    """
    check_model(model)
    steering = {name: value for name, value in keywords.items() if name in _STEERING}
    rest = {name: value for name, value in keywords.items() if name not in _STEERING}
    check_keywords(rest, ours)
    return Steering(**steering), rest


_STEERING = frozenset(Steering.__dataclass_fields__)


def check_call(model: object, keywords: Mapping[str, Any], endpoint: str | None) -> None:
    """Raises ConfigurationError for what no provider could make sense of."""
    check_model(model)
    check_endpoint(endpoint)
    check_keywords(keywords)


def messages_of(given: Any) -> Any:
    """The conversation; a text is one message of the user's. Raises ConfigurationError."""
    if isinstance(given, str) and given:
        return [{"role": "user", "content": given}]
    if isinstance(given, (bytes, Mapping)) or not isinstance(given, Sequence):
        raise ConfigurationError(
            "messages must be a text, or a list of messages, like "
            "[{'role': 'user', 'content': 'hello'}]"
        )
    if not given:
        raise ConfigurationError("messages is empty: there is nothing to answer")
    return given


def check_endpoint(endpoint: object) -> None:
    """Raises ConfigurationError if there is none of that name; None is the usual one."""
    if endpoint is not None and endpoint not in ENDPOINTS:
        raise ConfigurationError(
            f"endpoint must be one of {', '.join(ENDPOINTS)}, not {endpoint!r}"
        )


def check_model(model: object) -> None:
    """Raises ConfigurationError if that is no name."""
    if not isinstance(model, str) or not model:
        raise ConfigurationError("model must be a name, like 'gpt-4o-mini' or 'openai/gpt-4o-mini'")


def check_keywords(keywords: Iterable[str], ours: tuple[str, ...] = OURS) -> None:
    """Raises ConfigurationError for one that was meant for us, but for its spelling."""
    for name in keywords:
        if name in OF_ROWS and ours is not OURS:
            raise ConfigurationError(f"{name}= is not for this call")
        if name not in ours and (complaint := _complaint(name, ours)):
            raise ConfigurationError(complaint)


@lru_cache(maxsize=512)
def _complaint(keyword: str, ours: tuple[str, ...]) -> str | None:
    """Most keywords go to the provider as they are; these were meant for us."""
    if keyword == "stream":
        return "stream= is not for chat: use chat_stream(...), which returns the chunks"
    near = get_close_matches(keyword, ours, 1, CLOSE)
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
        raise ConfigurationError(f"{name} must be a number, not {_shown(given)}")
    if number < 0 or (number == 0 and not may_be_zero):
        raise ConfigurationError(f"{name} must be {'at least' if may_be_zero else 'over'} 0")
    return number


def _shown(given: object) -> str:
    """NaN, or the type of what is no number at all."""
    return "NaN" if isinstance(given, float) else type(given).__name__


def counted(name: str, number: object) -> int:
    """``number`` if it is a whole one from 1 up. Raises ConfigurationError."""
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ConfigurationError(f"{name} must be a whole number from 1 up, not {number!r}")
    return number
