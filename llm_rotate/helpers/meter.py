"""What a batch has cost so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from ..types import Usage

COUNTED = tuple(field.name for field in fields(Usage) if field.name != "raw")
Price = Callable[[str, str, Usage], float | None]


class Meter:
    """Adds up the tokens of the answers that were sent for; their ``cost`` in USD too, where
    a ``price`` is given. ``now``: seconds.
    """

    def __init__(
        self, price: Price | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._counts: dict[str, Any] = dict.fromkeys(COUNTED, 0)
        self._price = price
        self.now = now
        self.cost: float | None = None

    def __call__(self, outcome: Any) -> None:
        """Counts an answer. One that nothing was sent for, or an exception, has no usage here."""
        if isinstance(outcome, Exception) or not getattr(outcome, "attempts", ()):
            return
        usage, counts = outcome.usage, self._counts
        for name in COUNTED:
            counts[name] += getattr(usage, name)
        if self._price is not None:
            dollars = self._price(outcome.provider, outcome.model, usage)
            if dollars is not None:
                self.cost = dollars + (self.cost or 0.0)

    @property
    def tokens(self) -> int:
        """All of them."""
        return int(self._counts["total_tokens"])

    @property
    def usage(self) -> Usage:
        """All of it."""
        return Usage(**self._counts)
