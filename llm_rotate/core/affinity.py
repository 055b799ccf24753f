"""Which key is a conversation's home: the same in every process, with no state kept."""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b

RING_ABOVE_KEYS = 50
SPARSE_ABOVE_KEYS = 1000
# A digest gives eight points. Eight digests a key spread conversations evenly; above a thousand
# keys one is enough, because nobody looks at a single key there, and eight would take a second.
DIGESTS, DIGESTS_SPARSE = 8, 1
_POINTS = struct.Struct(">8Q")


def _hash(*words: str) -> int:
    return int.from_bytes(blake2b("\0".join(words).encode(), digest_size=8).digest(), "big")


def _points(key_id: str, digests: int) -> Iterator[int]:
    for number in range(digests):
        yield from _POINTS.unpack(blake2b(f"{key_id}\0{number}".encode()).digest())


@lru_cache(maxsize=32)
def homes_of(key_ids: tuple[str, ...]) -> Homes:
    """The homes of a set of keys, shared by all the stages that it serves."""
    return Homes(key_ids)


class Homes:
    """Orders keys for a conversation, the home first.

    Rendezvous hashing, which moves only a lost key's conversations; above 50 keys a sorted
    ring, because rendezvous costs a hash per key (46 us at 100 keys, 4.9 ms at 10,000).
    """

    def __init__(self, key_ids: Sequence[str]) -> None:
        self._key_ids = key_ids
        self._ring: list[tuple[int, int]] = []
        if len(key_ids) > RING_ABOVE_KEYS:
            digests = DIGESTS_SPARSE if len(key_ids) > SPARSE_ABOVE_KEYS else DIGESTS
            self._ring = sorted(
                (point, index)
                for index, key_id in enumerate(key_ids)
                for point in _points(key_id, digests)
            )

    def order(self, conversation: str) -> Iterator[int]:
        """Every key once, by index, in the order in which it should serve."""
        if self._ring:
            return self._walk(_hash(conversation))
        scores = [_hash(key_id, conversation) for key_id in self._key_ids]
        return iter(sorted(range(len(scores)), key=scores.__getitem__, reverse=True))

    def _walk(self, start: int) -> Iterator[int]:
        ring, seen = self._ring, set[int]()
        first = bisect_left(ring, (start, 0))
        for step in range(len(ring)):
            index = ring[(first + step) % len(ring)][1]
            if index not in seen:
                seen.add(index)
                yield index
