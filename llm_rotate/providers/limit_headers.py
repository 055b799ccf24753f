"""What answers say of rate limits: one table per dialect, read without ever failing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..core.learned import Reading
from ..core.meter import INPUT, OUTPUT, REQUESTS, TOKENS
from ..core.retry_after import stated_s
from ..core.wire import Headers


@dataclass(frozen=True, slots=True)
class LimitHeaders:
    """The three headers, in lower case, that speak of one limit; ``kind``: what is counted."""

    kind: int
    limit: bytes
    remaining: bytes
    reset: bytes


def _rows(form: str, *kinds: tuple[int, str]) -> tuple[LimitHeaders, ...]:
    return tuple(
        LimitHeaders(kind, *(form.format(fact, what).encode() for fact in _FACTS))
        for kind, what in kinds
    )


_FACTS = ("limit", "remaining", "reset")
# https://platform.openai.com/docs/guides/rate-limits; Azure, Groq and xAI say the same, Cerebras
# adds the period (https://inference-docs.cerebras.ai/support/rate-limits).
OPENAI_LIMITS = (
    *_rows("x-ratelimit-{}-{}", (REQUESTS, "requests"), (TOKENS, "tokens")),
    *_rows("x-ratelimit-{}-{}", (REQUESTS, "requests-day"), (TOKENS, "tokens-minute")),
    *_rows("x-ratelimit-{}{}", (REQUESTS, "")),
)
# https://platform.claude.com/docs/en/api/rate-limits
ANTHROPIC_LIMITS = tuple(
    LimitHeaders(kind, *(f"anthropic-ratelimit-{what}-{fact}".encode() for fact in _FACTS))
    for kind, what in (
        (REQUESTS, "requests"),
        (TOKENS, "tokens"),
        (INPUT, "input-tokens"),
        (OUTPUT, "output-tokens"),
    )
)


def readings_in(
    rows: Sequence[LimitHeaders], headers: Headers | None, wall: float
) -> Sequence[Reading]:
    """The limits that the answer states. What makes no sense counts as not said."""
    if headers is None:
        return ()
    found = headers.by_name
    return [
        Reading(
            row.kind,
            _number(found.get(row.remaining)),
            _number(found.get(row.limit)),
            stated_s(found.get(row.reset, b"").decode("latin-1"), wall),
        )
        for row in rows
        if row.remaining in found or row.limit in found
    ]


def _number(text: bytes | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
