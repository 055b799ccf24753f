"""One JSON record per call on the logger ``llm_rotate.observability.usage``."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from ..core.events import Event
from ..core.outcome import Outcome
from ..types import Usage

LOGGER = "llm_rotate.observability.usage"
_LEAVING = frozenset({"CancelledError", "GeneratorExit"})
_logger = logging.getLogger(LOGGER)


class UsageLog:
    """Writes CallRecords. ``price``: (provider, model, usage) -> USD or None."""

    def __init__(self, price: Callable[[str, str, Usage], float | None]) -> None:
        self._price = price

    @staticmethod
    def is_wanted() -> bool:
        """Whether anybody would see a record."""
        return _logger.isEnabledFor(logging.INFO)

    def write(self, event: Event, auth_method: str, wall: float) -> None:
        """Logs one call. Fields: event, provider, model, key_id, auth_method, status (success,
        error, or cancelled by the caller), error_type, outcome, the token counts, latency_ms,
        is_stream, estimated_cost_usd, attempt (how many were made), attempts, timestamp (ISO, UTC).
        """
        if not self.is_wanted():
            return
        usage = event.usage or Usage()
        record = {
            "event": "llm_call_completed",
            "provider": event.provider,
            "model": event.model,
            "key_id": event.key_id,
            "auth_method": auth_method,
            "status": _status(event),
            "error_type": event.detail or None,
            "outcome": str(event.outcome or Outcome.CANCELLED),
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens,
            "cached_tokens": usage.cached_tokens,
            "reasoning_tokens": usage.reasoning_tokens,
            "latency_ms": round((event.seconds or 0.0) * 1000, 3),
            "is_stream": event.is_stream,
            "estimated_cost_usd": self._price(event.provider, event.model, usage),
            "attempt": event.attempt,
            "attempts": [attempt._asdict() for attempt in event.attempts],
            "timestamp": datetime.fromtimestamp(wall, UTC).isoformat(),
        }
        _logger.info("%s", json.dumps(record))


def _status(event: Event) -> str:
    """A call that its caller left, with an exception or without, did not fail."""
    is_left = event.outcome in (None, Outcome.CANCELLED) and not event.detail
    if is_left or event.detail in _LEAVING:
        return "cancelled"
    return "success" if event.outcome is Outcome.OK and not event.detail else "error"
