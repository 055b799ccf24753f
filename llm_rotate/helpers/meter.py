"""What a batch has cost so far."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ..types import Usage

COUNTED = tuple(field.name for field in fields(Usage) if field.name != "raw")


class Meter:
    """Adds up the tokens of the answers that were sent for."""

    def __init__(self) -> None:
        self._counts: dict[str, Any] = dict.fromkeys(COUNTED, 0)

    def __call__(self, outcome: Any) -> None:
        """Counts an answer. One that nothing was sent for, or an exception, has no usage here."""
        if isinstance(outcome, Exception) or not outcome.attempts:
            return
        usage, counts = outcome.usage, self._counts
        for name in COUNTED:
            counts[name] += getattr(usage, name)

    @property
    def usage(self) -> Usage:
        """All of it."""
        return Usage(**self._counts)
