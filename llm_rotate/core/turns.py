"""Whose turn it is: one index for every strategy.

Each tier is a heap of (virtual time, sequence, key). Taking a turn adds the key's stride to
its virtual time, so shares are proportional to 1 / stride and exact. Keys that rest are out
of the heaps and lie by wake time in another; entries that no longer hold are dropped when
they surface. Nothing is proportional to the number of keys.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Sequence
from heapq import heapify, heappop, heappush, heapreplace

from .pool import Norm, Place, Record

STEP = 0.2
STALE = 4  # times as many entries as keys, and a heap is swept


class Turns:
    """The order of one stage's keys. Not thread-safe: its owner holds a lock.

    ``place`` gives a key's tier and stride from its index, record and the stage's norm;
    ``served`` what each key has served before, of anything: ties go to the least of it.
    ``counts_in_flight``: places follow from how many turns of a key have not ended.
    """

    def __init__(
        self,
        size: int,
        place: Callable[[int, Record, Norm], Place],
        served: Sequence[float] = (),
        *,
        counts_in_flight: bool = False,
    ) -> None:
        self._place = place
        self._counts_in_flight = counts_in_flight
        self._norm = Norm()
        self._records = [Record() for _ in range(size)]
        self._places = [place(i, self._records[i], self._norm) for i in range(size)]
        self._times = [0.0] * size
        first = sorted(range(size), key=served.__getitem__) if served else range(size)
        self._entries = [0] * size
        for sequence, index in enumerate(first):
            self._entries[index] = sequence
        self._until = [0.0] * size
        self._sequence = size
        self._wakes: list[tuple[float, int]] = []
        self._tiers: dict[int, list[tuple[float, int, int]]] = {}
        for index, spot in enumerate(self._places):
            self._tiers.setdefault(spot.tier, []).append((0.0, self._entries[index], index))
        for heap in self._tiers.values():
            heapify(heap)
        self._present = dict.fromkeys(self._tiers, 0.0)
        self._order = sorted(self._tiers, reverse=True)

    def window(self, now: float, n: int, skip: Container[int] = ()) -> list[int]:
        """Up to ``n`` keys that are ready, best first, none of ``skip``."""
        self.wake_due(now)
        found: list[int] = []
        for tier in self._order:
            self._draw(self._tiers[tier], n, skip, found)
            if len(found) >= n:
                break
        return found

    def _draw(
        self, heap: list[tuple[float, int, int]], n: int, skip: Container[int], found: list[int]
    ) -> None:
        entries = self._entries
        drawn = []
        while heap and len(found) < n:
            top = heap[0]
            if entries[top[2]] != top[1]:
                heappop(heap)
                continue
            if top[2] not in skip:
                found.append(top[2])
                if len(found) == n:
                    break
            drawn.append(heappop(heap))
        for entry in drawn:
            heappush(heap, entry)

    def charge(self, index: int) -> None:
        """The key took its turn."""
        spot = self._places[index]
        started = self._times[index]
        self._present[spot.tier] = max(started, self._present[spot.tier])
        self._times[index] = started + spot.stride
        if self._until[index] == 0.0:
            heap = self._tiers[spot.tier]
            # The best key is charged most often: one step of the heap instead of two.
            enter = heapreplace if heap[0][1] == self._entries[index] else heappush
            enter(heap, self._entry(index))
        if self._counts_in_flight:
            self._records[index].in_flight += 1
            self._replace(index)

    def ended(self, index: int) -> None:
        """A turn of the key is over, however it went."""
        self._records[index].in_flight -= 1
        self._replace(index)

    def rest(self, index: int, until: float) -> None:
        """Takes the key out until ``until`` (inf: until it is woken)."""
        self._until[index] = until
        self._entries[index] = -1
        if until < math.inf:
            heappush(self._wakes, (until, index))

    def wake(self, index: int) -> None:
        """Brings the key back, at the tier's present time: it gets no burst for its rest."""
        if self._until[index] == 0.0:
            return
        self._until[index] = 0.0
        self._times[index] = max(self._times[index], self._present_of(self._places[index].tier))
        self._records[index].fault_share = 0.0
        self._replace(index)
        self._enter(index)

    def _present_of(self, tier: int) -> float:
        """The tier's own time: that of the last turn, or of its best key if a turn was taken out
        of order (a conversation's, at its home).
        """
        heap = self._tiers[tier]
        while heap and self._entries[heap[0][2]] != heap[0][1]:
            heappop(heap)
        present = self._present[tier]
        return min(present, heap[0][0]) if heap else present

    def earliest(self, skip: Container[int] = ()) -> float:
        """When the first resting key not in ``skip`` wakes; inf if none will."""
        wakes, until = self._wakes, self._until
        while wakes and until[wakes[0][1]] != wakes[0][0]:
            heappop(wakes)
        if wakes and wakes[0][1] not in skip:
            return wakes[0][0]
        return min((u for i, u in enumerate(until) if u and i not in skip), default=math.inf)

    def until(self, index: int) -> float:
        """Until when the key rests; 0 when it is ready."""
        return self._until[index]

    def tiers(self) -> Iterable[int]:
        """Each key's tier, by index."""
        return (spot.tier for spot in self._places)

    def note(self, index: int, is_fault: bool, seconds: float, tokens: float = 0.0) -> None:
        """An attempt of the key ended: a provider's fault, or an answer after ``seconds`` that
        took so many ``tokens``.
        """
        record = self._records[index]
        record.fault_share += STEP * (is_fault - record.fault_share)
        if not is_fault:
            record.seconds = _moved(record.seconds, seconds, record.samples)
            self._norm.seconds = _moved(self._norm.seconds, seconds, self._norm.samples)
            record.tokens = _moved(record.tokens, tokens, record.samples)
            self._norm.tokens = _moved(self._norm.tokens, tokens, self._norm.samples)
            record.samples += 1
            self._norm.samples += 1
        self._replace(index)

    def _replace(self, index: int) -> None:
        spot = self._place(index, self._records[index], self._norm)
        moved = spot.tier != self._places[index].tier
        self._places[index] = spot
        if moved:
            self._open(spot.tier)
            self._times[index] = max(self._times[index], self._present[spot.tier])
            if self._until[index] == 0.0:
                self._enter(index)

    def _open(self, tier: int) -> None:
        if tier not in self._tiers:
            self._tiers[tier] = []
            self._present[tier] = 0.0
            self._order = sorted(self._tiers, reverse=True)

    def _enter(self, index: int) -> None:
        heap = self._tiers[self._places[index].tier]
        heappush(heap, self._entry(index))
        if len(heap) > STALE * len(self._entries):  # of a tier that keys pass through, unasked
            heap[:] = [each for each in heap if self._entries[each[2]] == each[1]]
            heapify(heap)

    def _entry(self, index: int) -> tuple[float, int, int]:
        self._sequence += 1
        self._entries[index] = self._sequence
        return self._times[index], self._sequence, index

    def wake_due(self, now: float) -> None:
        """Brings back the keys whose rest is over."""
        wakes, until = self._wakes, self._until
        while wakes and wakes[0][0] <= now:
            due, index = heappop(wakes)
            if until[index] == due:
                self.wake(index)


def _moved(mean: float, value: float, samples: int) -> float:
    return mean + (value - mean) * (STEP if samples else 1.0)
