"""What a batch has cost so far."""

from __future__ import annotations

from typing import Any

from ..types import Usage


class Meter:
    """Adds up the tokens of the answers that were sent for."""

    def __init__(self) -> None:
        self._prompt = self._completion = self._total = self._cached = self._reasoning = 0

    def __call__(self, outcome: Any) -> None:
        """Counts an answer. One that nothing was sent for, or an exception, has no usage here."""
        if isinstance(outcome, Exception) or not outcome.attempts:
            return
        usage: Usage = outcome.usage
        self._prompt += usage.prompt_tokens
        self._completion += usage.completion_tokens
        self._total += usage.total_tokens
        self._cached += usage.cached_tokens
        self._reasoning += usage.reasoning_tokens

    @property
    def usage(self) -> Usage:
        """All of it."""
        return Usage(self._prompt, self._completion, self._total, self._cached, self._reasoning)
