"""How long a key rests, and how long a call waits: the numbers of one provider."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """``cooldown_seconds``: a rate limit's rest where the provider states none.
    ``quarantine_seconds``: the rest after a harder fault. ``max_consecutive_failures``:
    refusals of the secret in a row before the key is disabled.
    """

    cooldown_seconds: float
    quarantine_seconds: float
    max_consecutive_failures: int


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Seconds. ``first_event`` is a stream's ``first_byte``; ``idle`` is between two reads of
    a body; ``deadline`` bounds the whole call, None for no bound.
    """

    connect: float
    first_byte: float
    first_event: float
    idle: float
    deadline: float | None
