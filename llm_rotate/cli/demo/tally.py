"""What the demo counts, from the pool's own events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

from ...core.events import Event, EventKind
from ...core.outcome import FAULTS, Blame, Outcome


@dataclass(slots=True)
class KeyCounts:
    """Requests of one key that have ended. ``refused``: by the key's fault, as with 401 or
    429; ``failed``: by the provider's, as with 503.
    """

    requests: int = 0
    answered: int = 0
    refused: int = 0
    failed: int = 0

    def count(self, outcome: Outcome) -> None:
        self.requests += 1
        if outcome is Outcome.OK:
            self.answered += 1
        elif FAULTS[outcome].blame is Blame.KEY:
            self.refused += 1
        else:
            self.failed += 1


@dataclass(slots=True)
class Tally:
    """A listener. ``attempts``: requests that the calls' own records list; ``own_seconds``:
    of each call that never waited, its length less that of its requests.
    """

    keys: dict[str, KeyCounts]
    calls: int = 0
    attempts: int = 0
    rotations: int = 0
    own_seconds: list[float] = field(default_factory=list)
    _waited: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, key_ids: Iterable[str]) -> Tally:
        return cls({key_id: KeyCounts() for key_id in key_ids})

    def __call__(self, event: Event) -> None:
        if event.kind is EventKind.ATTEMPT_ENDED and event.key_id and event.outcome:
            self.keys[event.key_id].count(event.outcome)
        elif event.kind is EventKind.WAITING:
            self._waited.add(event.call)
        elif event.kind is EventKind.CALL_ENDED:
            self._call_ended(event)

    def _call_ended(self, event: Event) -> None:
        self.calls += 1
        self.attempts += len(event.attempts)
        self.rotations += sum(a.key_id != b.key_id for a, b in pairwise(event.attempts))
        if event.call in self._waited:
            self._waited.discard(event.call)
        elif event.seconds is not None:
            self.own_seconds.append(event.seconds - sum(a.seconds for a in event.attempts))

    @property
    def own_microseconds(self) -> float:
        """The median of ``own_seconds``, in microseconds."""
        return median(self.own_seconds) * 1e6 if self.own_seconds else 0.0
