"""One amount per window, of requests or of tokens: a sliding ring and a smoothing bucket.

The ring guards the limit: what was taken lies in slots of a fixed width and is forgotten one
slot later than the window, so that no window of that length, wherever it begins, holds more
than the limit. The smoothing bucket spreads it: it holds some seconds of the rate, refills at
the rate, and is kept as one time, the instant at which it will be full.

Fields, for a store that keeps them elsewhere (all numbers; times are seconds on the bucket's
clock, amounts whole):

- ``ring[0 .. slots - 1]``: taken per slot; slot number k (time x per_second, rounded down)
  lies at k % slots. ``last``: number of the newest slot; ``total``: sum of the ring.
- ``full_at``: when the smoothing bucket is full; later than its size / rate from now is debt.
- ``full_until``: while it held the last request the ring was full until then; 0 it was not.
  What a bucket of requests saved up meanwhile is lost but for one: saved in full it would go
  as one burst, fill the ring, and so on every minute. (Tokens come in sizes and are uneven
  anyway; there it would cost 2 % of the limit.)
- ``left``, ``left_until``: what the provider said is left, less what was taken since; stands
  until then, or not at all if that is past.
- ``told``: the limit that the provider states, ``guess``: the one that its refusals suggest
  (inf: none). ``since``: requests that were
  admitted before it began to count; what they took is not in the ring.

Everything else follows from the stated limit: see ``shape``.
"""

from __future__ import annotations

import math

COARSE_SLOTS = 60  # of a window, where the limit is below FEW: what jitter shifts is 1 call
FINE_SLOTS = 120
FEW = 100.0
BURST_SHARE = 1 / 12  # of the window: 5 s of a minute's rate
FEWEST_REQUESTS = 3.0  # a smaller bucket of requests starves limits under 12 a minute
MOST_IN_A_SLOT = 2**32 - 1  # of what others are said to have taken: four bytes
GRACE_SECONDS = 1e-4  # many small floats added up must not hold back the last of a burst
REQUESTS = 0  # the kinds of meters, by index
TOKENS = 1
INPUT = 2
OUTPUT = 3
KINDS = (REQUESTS, TOKENS, INPUT, OUTPUT)


class Meter:
    """``kind``: what is counted. ``stated``: the configured limit, inf for none; ``burst``:
    the configured size of the smoothing bucket, None for the usual one.
    """

    __slots__ = (
        "_burst",
        "_stated",
        "burst",
        "full_at",
        "full_until",
        "guess",
        "kind",
        "last",
        "left",
        "left_until",
        "limit",
        "pace",
        "per_second",
        "ring",
        "share",
        "since",
        "slots",
        "told",
        "total",
        "window",
    )

    def __init__(
        self, kind: int, stated: float, burst: float | None, window: float, since: int
    ) -> None:
        self.kind = kind
        self.since = since
        self.told = self.guess = math.inf
        self.share = 1.0
        self.total = self.last = 0
        self.full_at = self.full_until = self.left = self.left_until = 0.0
        self.shape(stated, burst, window)

    def shape(self, stated: float, burst: float | None, window: float) -> None:
        """Sets the configured limit; an empty ring of the width that suits it."""
        self._stated, self._burst, self.window = stated, burst, window
        slots = COARSE_SLOTS if stated < FEW else FINE_SLOTS
        self.per_second = slots / window
        self.slots = slots + 1
        self.ring = [0] * self.slots
        self.total = 0
        self.rate()

    def reshape(self, stated: float, burst: float | None, window: float, now: float) -> None:
        """The same for a meter in use: what was taken moves along, to no earlier a time."""
        self._advance(int(now * self.per_second))
        taken = [
            (slot + 1, self.ring[slot % self.slots])
            for slot in range(self.last - self.slots + 1, self.last + 1)
        ]
        was_per_second = self.per_second
        self.shape(stated, burst, window)
        self.last = int(now * self.per_second)
        for end, amount in taken:
            slot = min(math.ceil(end / was_per_second * self.per_second) - 1, self.last)
            if self.last - self.slots < slot:
                self.ring[slot % self.slots] += amount
                self.total += amount

    def rate(self) -> None:
        """Sets what follows from the least of the stated, the told and the guessed limit, of
        which ``share`` is this meter's own.
        """
        limit = self.limit = min(self._stated, self.told, self.guess) * self.share
        fewest = FEWEST_REQUESTS if self.kind == REQUESTS else 1.0
        usual = max(limit * BURST_SHARE, fewest)
        self.burst = min(usual if self._burst is None else self._burst, limit)
        self.pace = self.window / limit

    @property
    def is_learned(self) -> bool:
        """The limit is lower than the configuration says."""
        return min(self.told, self.guess) < self._stated

    def free_at(self, amount: int, now: float) -> float:
        """When ``amount`` may be taken: not after ``now`` if it may go, inf if never."""
        free = self.left_until if self.left_until > now and amount > self.left else now
        limit = self.limit
        if limit == math.inf:
            return free
        slot = int(now * self.per_second)
        if slot != self.last:
            self._advance(slot)
        if self.total + amount > limit:
            room = self._room_at(amount)
            free = max(free, room)
        due = self.full_at - GRACE_SECONDS
        spare = self.burst - amount
        if spare > 0:
            due -= spare * self.pace
        return max(free, due)

    def take(self, amount: int, now: float) -> None:
        """Counts ``amount``; whether it fits was asked in the same step."""
        slot = int(now * self.per_second)
        if slot != self.last:
            self._advance(slot)
        self.ring[slot % self.slots] += amount
        self.total += amount
        full_at = max(now, self.full_at)
        if self.full_until:
            full_at = max(full_at, self.full_until + (self.burst - amount) * self.pace)
            self.full_until = 0.0
        self.full_at = full_at + amount * self.pace
        if self.kind == REQUESTS and self.total + amount > self.limit:
            self.full_until = self._room_at(amount)
        if self.left_until > now:
            self.left -= amount

    def correct(self, more: int, at: float, now: float) -> None:
        """What was taken at ``at`` was ``more`` (or less) than was said."""
        slot = int(now * self.per_second)
        if slot != self.last:
            self._advance(slot)
        slot = int(at * self.per_second)
        if self.last - self.slots < slot <= self.last:
            place = slot % self.slots
            held = self.ring[place]
            self.ring[place] = kept = max(0, held + more)
            self.total += kept - held
        if more < 0:
            self.full_until = 0.0
        full_at = (self.full_at if self.full_at > now or more < 0 else now) + more * self.pace
        # A window earns the whole limit: more debt than that would outlast the ring.
        self.full_at = min(full_at, now + self.window)
        if self.left_until > now:
            self.left -= more

    def taken(self, now: float) -> int:
        """What the ring holds: taken in the last window, and up to one slot before it."""
        slot = int(now * self.per_second)
        if slot != self.last:
            self._advance(slot)
        return self.total

    def note_left(self, left: float, now: float) -> None:
        """The provider counts more than the ring does: others took it, at ``now`` at the latest."""
        others = math.ceil(self.limit - self.taken(now) - math.floor(max(left, 0.0)))
        place = self.last % self.slots
        others = min(others, MOST_IN_A_SLOT - self.ring[place])
        if others > 0:
            self.ring[place] += others
            self.total += others

    def _advance(self, slot: int) -> None:
        """Forgets the slots that are over. Time never goes back here: the bucket sees to it."""
        if self.total:
            ring, slots = self.ring, self.slots
            for number in range(max(self.last, slot - slots) + 1, slot + 1):
                place = number % slots
                if ring[place]:
                    self.total -= ring[place]
                    ring[place] = 0
        self.last = slot

    def _room_at(self, amount: int) -> float:
        """When enough of the ring is forgotten for ``amount``. Inf if it is over the stated
        limit; if it is only over a learned one, which may be mistaken, it needs an empty ring.
        """
        if amount > self._stated:
            return math.inf
        over = self.total + min(amount, self.limit) - self.limit
        number = self.last - self.slots
        while over > 0 and number < self.last:
            number += 1
            over -= self.ring[number % self.slots]
        return (number + self.slots) / self.per_second
