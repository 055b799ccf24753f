"""How many rows may be under way at a time: a number, or as many as get most done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

from ..core.outcome import Outcome
from ..errors import ConfigurationError

MaxParallel = int | Literal["auto"]
FIRST, MOST = 16, 512  # rows; below the connections that a pool opens
FULL = 0.9  # of the limit: rows under way that tell of it
LEAP, STEP, NUDGE = 2.0, 1.4, 1.25  # from one level to the next
# A level is kept when its rate is so many times the one before: doubling must bring something,
# a step up as well, and a step down may cost next to nothing.
PAYS_TO_LEAP, PAYS_TO_RISE, COSTS_NOTHING = 1.04, 1.02, 0.99
STEEP = 1.5  # a leap that brings less than this is the last one
BACK = 0.7  # after a refusal for too many requests
SHORT, LONG = 6, 24  # rows that tell of a level, at least: on the way up, and at rest
LONGEST_CALM = 16  # levels between two tries, when none has helped
STRAIN = frozenset({str(Outcome.RATE_LIMITED), str(Outcome.OVERLOADED)})


class Width(Protocol):
    """``limit`` is asked again and again.

    ``began`` gives a mark that comes back with the row's end; ``under_way`` counts the row
    itself. ``ended`` hears the answer, or the exception.
    """

    @property
    def limit(self) -> int: ...
    def began(self, under_way: int) -> Any: ...
    def ended(self, mark: Any, outcome: Any) -> None: ...


class Fixed:
    """Always the same number."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def began(self, under_way: int) -> None:
        """Nothing to learn."""

    def ended(self, mark: Any, outcome: Any) -> None:
        """Nothing to learn."""


class Mark(NamedTuple):
    """A row that began."""

    level: int
    began: float
    was_full: bool


class Kept(NamedTuple):
    """A level that was kept: its limit, and rows a second."""

    limit: int
    rate: float


class Auto:
    """Feels for the number of rows at a time at which most of them get done.

    A level is a stretch with one limit; its rate is the limit by the mean seconds of the rows
    that began in it, waiting for keys included, so that a pool at its limits looks as a server
    at its own. Only a full window tells of its limit: rows count that found or left it so, those
    that filled it among them, as another round would cost a short batch more than they err.
    It doubles while that pays, then goes on in smaller steps; at rest it tries a
    step up or down now and then, less often when neither helps. A row that met a 429 or an
    overload takes the limit back at once. ``now``: seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.limit = FIRST
        self._now = now
        self._under_way = 0
        self._level = 0
        self._rows = 0
        self._seconds = 0.0
        self._kept: Kept | None = None
        self._last_rate = 0.0
        self._judge = self._rising
        self._factor = LEAP
        self._is_up = True
        self._calm = self._left = 1

    def began(self, under_way: int) -> Mark:
        """Whether the row found a full window."""
        self._under_way = under_way
        return Mark(self._level, self._now(), self._is_full())

    def ended(self, mark: Mark, outcome: Any) -> None:
        """Judges the level when enough of its rows have ended."""
        is_full = mark.was_full or self._is_full()
        self._under_way -= 1
        if mark.level != self._level or not is_full:
            return
        attempts = getattr(outcome, "attempts", ())
        if any(each.outcome in STRAIN for each in attempts):
            self._judge = self._resting
            self._go_to(self.limit * BACK)
        elif attempts and not isinstance(outcome, Exception):
            self._rows += 1
            self._seconds += self._now() - mark.began
            if self._rows >= self._needed():
                self._judge(self.limit * self._rows / max(self._seconds, 1e-9))

    def _is_full(self) -> bool:
        return self._under_way >= FULL * self.limit

    def _needed(self) -> float:
        if self._judge == self._rising:
            return max(SHORT, self.limit / 2 if self._factor == LEAP else self.limit)
        return max(LONG, 2 * self.limit)

    def _go_to(self, limit: float) -> None:
        """A new level."""
        self.limit = min(MOST, max(1, round(limit)))
        self._level += 1
        self._rows, self._seconds = 0, 0.0

    def _rising(self, rate: float) -> None:
        kept = self._kept
        if kept is not None and rate < kept.rate * PAYS_TO_LEAP:
            self._judge = self._resting
            self._go_to(kept.limit)
            return
        if kept is not None and rate < kept.rate * STEEP:
            self._factor = STEP
        self._kept = Kept(self.limit, rate)
        if self.limit == MOST:
            self._judge = self._resting
        self._go_to(self.limit * self._factor)

    def _resting(self, rate: float) -> None:
        # One level may have met a pause: a limit's end, a key that rested.
        self._kept = Kept(self.limit, max(rate, self._last_rate))
        self._last_rate = rate
        self._left -= 1
        if self._left > 0:
            self._go_to(self.limit)
            return
        goal = self._goal()
        if 1 <= goal <= MOST:
            self._judge = self._trying
            self._go_to(goal)
        else:
            self._is_up = not self._is_up
            self._go_to(self.limit)

    def _goal(self) -> float:
        """One step on, by one row at least."""
        if self._is_up:
            return max(self.limit + 1, self.limit * NUDGE)
        return min(self.limit - 1, self.limit / NUDGE)

    def _trying(self, rate: float) -> None:
        limit, before = self._kept or Kept(self.limit, rate)
        self._judge = self._resting
        if rate > before * (PAYS_TO_RISE if self._is_up else COSTS_NOTHING):
            self._calm = self._left = 1
            self._go_to(self.limit)
        else:
            self._is_up = not self._is_up
            self._calm = min(LONGEST_CALM, 2 * self._calm)
            self._left = self._calm // 2
            self._go_to(limit)


def width_of(max_parallel_requests: object, now: Callable[[], float]) -> Width:
    """The width as a caller says it. Raises ConfigurationError."""
    given = max_parallel_requests
    if given == "auto":
        return Auto(now)
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise ConfigurationError(
            f'max_parallel_requests must be "auto" or a number from 1 up, not {given!r}'
        )
    return Fixed(given)
