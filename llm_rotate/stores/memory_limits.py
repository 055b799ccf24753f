"""The buckets of one process. Whoever calls holds the store's lock."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..core.bucket import Bucket, BucketSpec, Reservation, Tokens
from ..core.keystate import FRESH
from ..core.learned import Reading, learn, observe
from ..core.limits import (
    Room,
    renew,
    reserve,
    rooms,
    settle,
    tightest,
    turn_day,
    wait_seconds,
    words,
)
from ..core.pool import FREE, LEASE_SECONDS, Blocked, Candidate, Lease, News

SWEEP_OVER = 4096
FORGET_SECONDS = 25 * 3600.0  # after the longest day nothing of it counts any more
SMALLEST = FREE


def room_news(name: str, now: float) -> News:
    """There is room in a bucket for who was turned away."""
    return News(name, now, FRESH, FRESH, is_room=True)


class Buckets:
    """What was taken of every limit, by the name of its scope. ``share``: the part of each
    limit that is this process's own.
    """

    def __init__(self) -> None:
        self.share = 1.0
        self._buckets: dict[str, Bucket] = {}
        self._wanted: set[str] = set()

    def barrier(self, candidate: Candidate, cost: Tokens, now: float) -> Blocked | None:
        """Why the candidate has no room for ``cost``; None: it has."""
        if candidate.resets is not None:
            self._turn_days(candidate, now)
        worst, name = 0.0, None
        for spec in candidate.buckets:
            bucket = self._bucket(spec, now)
            wait = wait_seconds(bucket, spec, cost, now)
            if wait > worst:
                worst, name = wait, spec
        return None if name is None else self._blocked(candidate, name, cost, now)

    def whole(self, now: float) -> list[News]:
        """The limits are shared again: who was turned away by a part of them asks anew."""
        self.share = 1.0
        wanted, self._wanted = self._wanted, set()
        return [room_news(name, now) for name in sorted(wanted)]

    def reserve(self, lease: Lease, cost: Tokens, now: float) -> None:
        """Takes ``cost`` of every bucket."""
        self._turn_days(lease.candidate, now)  # a server may have lent it: nobody asked here
        lease.cost = cost
        lease.reservations = tuple(
            [
                reserve(self._bucket(spec, now), spec, lease.id, cost, now, LEASE_SECONDS)
                for spec in lease.candidate.buckets
            ]
        )

    def settle(self, lease: Lease, owed: Tokens | None, now: float) -> list[News]:
        """Corrects what was taken. News where that makes room for who was turned away."""
        news = []
        gives = owed is None or owed.input < lease.cost.input or owed.output < lease.cost.output
        for spec, reservation in zip(lease.candidate.buckets, lease.reservations, strict=True):
            name = spec.name
            bucket = self._buckets[name]
            settle(bucket, reservation, owed, now)
            if name in self._wanted and (gives or bucket.spec.max_concurrency is not None):
                self._wanted.discard(name)
                news.append(room_news(name, now))
        return news

    def renew(self, lease: Lease, now: float) -> None:
        """Keeps the lease's slots."""
        for spec, reservation in zip(lease.candidate.buckets, lease.reservations, strict=False):
            renew(self._buckets[spec.name], reservation, now, LEASE_SECONDS)

    def learn(
        self, lease: Lease, spec: BucketSpec, readings: Sequence[Reading], now: float
    ) -> None:
        """Heeds an answer. Where nothing was counted for it, counting begins."""
        bucket = self._bucket(spec, now)
        reservation = self._reserved(lease, spec, bucket, now)
        if readings:
            observe(bucket, reservation, readings, now)
        else:
            learn(bucket, spec, reservation, now)

    def rooms(
        self, candidates: Sequence[Candidate], now: float
    ) -> Mapping[str, Mapping[str, Room]]:
        """How the limits stand, by the bucket's name."""
        found = {}
        for candidate in candidates:
            if candidate.resets is not None:
                self._turn_days(candidate, now)
            for spec in candidate.buckets:
                bucket = self._bucket(spec, now)
                if bucket.spec is not spec:
                    bucket.refit(spec, now)
                found[spec.name] = rooms(bucket, spec, now)
        return found

    def forget_leases(self) -> None:
        """After a fork: the slots are held by the parent's calls."""
        for bucket in self._buckets.values():
            bucket.leases.clear()
        self._wanted.clear()

    def _bucket(self, spec: BucketSpec, now: float) -> Bucket:
        bucket = self._buckets.get(spec.name) or self._made(spec, now)
        if bucket.share != self.share:  # also where a server lends: a part's pace would not do
            bucket.divide(self.share)
        return bucket

    def _made(self, spec: BucketSpec, now: float) -> Bucket:
        """Model names come from callers, so buckets must not add up for ever."""
        if len(self._buckets) >= SWEEP_OVER and not len(self._buckets) % SWEEP_OVER:
            kept = self._buckets.items()
            self._buckets = {
                name: bucket
                for name, bucket in kept
                if "|" not in name or bucket.at + FORGET_SECONDS > now
            }
        return self._buckets.setdefault(spec.name, Bucket(spec))

    def _turn_days(self, candidate: Candidate, now: float) -> None:
        days = candidate.resets
        if days is None:
            return
        for spec in candidate.buckets:
            if spec.has_day:
                bucket = self._bucket(spec, now)
                if now >= bucket.day_ends:
                    turn_day(bucket, (spec.resets or days)(now), now)

    def _blocked(self, candidate: Candidate, spec: BucketSpec, cost: Tokens, now: float) -> Blocked:
        buckets = [(self._buckets[each.name], each) for each in candidate.buckets]
        waits = [wait_seconds(bucket, each, cost, now) for bucket, each in buckets]
        least = [wait_seconds(bucket, each, SMALLEST, now) for bucket, each in buckets]
        self._wanted.update(
            each.name for each, wait in zip(candidate.buckets, waits, strict=True) if wait
        )
        limit = tightest(self._buckets[spec.name], spec, cost, now) or ""
        until = now + max(waits)
        too_large = until == math.inf
        return Blocked(
            candidate.index,
            until,
            spec.name,
            # Of a part of a limit it is not known: who shares it may be back at any time.
            is_trial=(limit == "max_concurrency" or self.share < 1.0) and not too_large,
            is_full=True,
            is_too_large=too_large,
            least=now + max(least) if any(least) else 0.0,
            why=words(limit, rooms(self._buckets[spec.name], spec, now).get(limit)),
        )

    @staticmethod
    def _reserved(lease: Lease, spec: BucketSpec, bucket: Bucket, now: float) -> Reservation:
        pairs = zip(lease.candidate.buckets, lease.reservations, strict=False)
        for each, reservation in pairs:
            if each.name == spec.name:
                return reservation
        mark = bucket.admitted
        at = bucket.tick(now)
        return Reservation(
            lease.id, at, FREE, mark, bucket.day_ends, bucket.generation, is_settled=True
        )
