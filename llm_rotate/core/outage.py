"""Tells an outage from bad keys: every key refused alike, all at once, with no success."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace

from .keystate import Change, KeyState, Kind

WINDOW_SECONDS = 5.0
FEWEST_KEYS = 3
FIRST_REST_SECONDS = 1.0
LONGEST_REST_SECONDS = 60.0

Signature = tuple[str, int | None, str | None]


@dataclass(frozen=True, slots=True)
class Refused:
    """One refusal that may turn out to be the provider's. ``undo`` takes its rest back."""

    at: float
    key_id: str
    signature: Signature
    undo: Change


class Outages:
    """Watches one provider and model. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._refused: dict[str, Refused] = {}
        self.signature: Signature | None = None

    def note(
        self, refused: Refused, everyone: Container[str], count: int, last_success_at: float
    ) -> list[Change]:
        """Adds a refusal; the rests to take back if that makes it an outage, else nothing.

        ``everyone`` are the ``count`` keys that the provider has for the model.
        """
        if count < FEWEST_KEYS:
            return []
        self._refused[refused.key_id] = refused
        since = max(refused.at - WINDOW_SECONDS, last_success_at)
        alike = [
            past
            for past in self._refused.values()
            if past.at >= since and past.signature == refused.signature and past.key_id in everyone
        ]
        if len(alike) < count:
            return []
        self._refused.clear()
        self.signature = refused.signature
        return [past.undo for past in alike]


def taken_back(subject: str, before: KeyState, version: int) -> Change:
    """The change that restores ``before``, if nothing has happened since ``version``."""
    return Change(subject, version, replace(before, version=version + 1))


def provider_rest(subject: str, state: KeyState, now: float, reason: str) -> Change:
    """The provider rests: 1 s, doubling with each failed probe, at most 60 s."""
    seconds = min(LONGEST_REST_SECONDS, FIRST_REST_SECONDS * 2.0 ** min(state.failed_trials, 6))
    rest = KeyState(
        kind=Kind.COOLDOWN,
        until=now + seconds,
        since=now,
        version=state.version + 1,
        failures=state.failures + 1,
        failed_trials=state.failed_trials + 1,
        reason=reason,
    )
    return Change(subject, state.version, rest)
