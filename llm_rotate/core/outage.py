"""Tells an outage from bad keys: every key refused alike, all at once, with no success."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
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
    """Watches one provider's refusals of one model. Times are monotonic seconds.

    Holds one kind of refusal at a time, oldest first: another kind begins anew.
    """

    def __init__(self) -> None:
        self._refused: dict[str, Refused] = {}
        self._signature: Signature | None = None

    def note(
        self,
        refused: Refused,
        everyone: AbstractSet[str],
        is_disabled: Callable[[str], bool],
        last_success_at: float,
    ) -> list[Change]:
        """Adds a refusal; the rests to take back if that makes it an outage, else nothing.

        ``everyone``: the keys that the provider has for the model, of which the disabled ones
        do not count.
        """
        if refused.signature != self._signature:
            self._refused.clear()
            self._signature = refused.signature
        self._refused.pop(refused.key_id, None)
        self._refused[refused.key_id] = refused
        self._drop_before(max(refused.at - WINDOW_SECONDS, last_success_at))
        alike = self._refused
        if len(alike) < FEWEST_KEYS or len(everyone) < FEWEST_KEYS:
            return []
        if not all(key_id in alike or is_disabled(key_id) for key_id in everyone):
            return []
        undone = [past.undo for past in alike.values()]
        self._refused = {}
        return undone

    def _drop_before(self, since: float) -> None:
        while self._refused:
            oldest = next(iter(self._refused))
            if self._refused[oldest].at >= since:
                return
            del self._refused[oldest]


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
