"""Texts as vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core.wire import Vectors
from ..errors import ConfigurationError
from ..types import EmbeddingResponse


def check_text(text: object) -> None:
    """Raises ConfigurationError for what cannot be embedded as one text."""
    if isinstance(text, str) and text:
        return
    if isinstance(text, str):
        raise ConfigurationError("the text is empty: there is nothing to embed")
    more = "; embed_batch takes many" if isinstance(text, Sequence) else ""
    raise ConfigurationError(f"embed takes one text, a str, not {type(text).__name__}{more}")


def response_of(answer: Vectors, place: int, *, as_array: bool) -> EmbeddingResponse:
    """The answer for one of the texts."""
    found = answer.found[place]
    return EmbeddingResponse(
        numpy().asarray(found, "float32") if as_array else list(found),
        answer.provider,
        answer.model,
        answer.key_id,
        answer.usage,
        answer.latency_ms,
        answer.request_id,
        answer.upstream,
        answer.attempts,
    )


def numpy() -> Any:
    """The module. Raises ConfigurationError if it is not installed."""
    try:
        import numpy  # noqa: PLC0415, ICN001 - optional, and slow to import
    except ImportError:
        raise ConfigurationError(
            "as_array=True needs numpy: pip install 'llm_rotate[numpy]'"
        ) from None
    return numpy
