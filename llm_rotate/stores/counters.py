"""Counts of many processes, added up at the server."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress

from ..core.pool import Counts

SAY_SECONDS = 1.0
COUNTS = 5  # of each name, as in tally.lua


def _nothing() -> Counts:
    return {}


class Counters:
    """What this process counted is said about once a second. One message at a time is on its
    way, with a number: said twice, it counts once.
    """

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._unsaid: Callable[[], Counts] = _nothing
        self._number = 0
        self._message: list[str] = []
        self._is_sent = False
        self._due_at = 0.0
        self.is_urgent = False

    def of(self, unsaid: Callable[[], Counts]) -> None:
        """Where the counts come from: what was counted since it was last asked, by name."""
        self._unsaid = unsaid

    def began(self, worker: str) -> None:
        """After a fork: the child has a name of its own, and the parent says what it owes."""
        unsaid = self._unsaid
        self.__init__(worker)  # type: ignore[misc]  # as new, the same object
        self._unsaid = unsaid

    def hurry(self) -> None:
        """What there is to say need not wait for its second."""
        self._message = self._message or self._next()
        self.is_urgent = bool(self._message)

    def take(self, now: float) -> list[str] | None:
        """What there is to say, if it is time."""
        if self._is_sent or (now < self._due_at and not self.is_urgent):
            return None
        if not self._message:
            self._message = self._next()
        self.is_urgent = False
        self._due_at = now + SAY_SECONDS
        if not self._message:
            return None
        self._is_sent = True
        return self._message

    def _next(self) -> list[str]:
        said = [
            word
            for name, counts in self._unsaid().items()
            for word in (json.dumps(name), *(str(count) for count in counts))
        ]
        if not said:
            return []
        self._number += 1
        return [self._worker, str(self._number), *said]

    def heard(self, message: list[str]) -> None:
        """The server has counted it."""
        if message is self._message:  # it may have gone twice, and the next be on its way
            self._message, self._is_sent = [], False

    def again(self) -> None:
        """What was given out may not have been heard: it goes before anything counts as well."""
        self._is_sent = False
        self.is_urgent = bool(self._message)


def counts_of(reply: Sequence[bytes]) -> Counts:
    """All counts of all processes: a field is a name and which count of it."""
    found: dict[tuple[str, ...], list[int]] = {}
    for field, count in zip(reply[::2], reply[1::2], strict=True):
        with suppress(ValueError, TypeError, IndexError):  # who knows who wrote it
            provider, key_id, model, place = json.loads(field)
            found.setdefault((provider, key_id, model), [0] * COUNTS)[place] = int(count)
    return found
