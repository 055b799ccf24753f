"""State of one process, in plain dicts."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence

from ..core.bucket import BucketSpec, Tokens
from ..core.keystate import FRESH, Change, KeyState, Kind
from ..core.learned import Reading
from ..core.limits import Room
from ..core.pool import FREE, LEASE_SECONDS, Blocked, Candidate, Counts, Lease, News, Refused
from .memory_limits import Buckets

SWEEP_EVERY = 1000


class MemoryStore:
    """The StateStore of one process. Never suspends; safe between threads.

    Only subjects that have something to say are kept, so a pool in good health costs a few
    failed dict look-ups per admission, whatever its size.
    """

    forgets_s = 3600.0
    looks_again_s = LEASE_SECONDS  # nobody else takes anything

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._states: dict[str, KeyState] = {}
        self._trials: dict[str, tuple[str, float]] = {}
        self._buckets = Buckets()
        self._ids = itertools.count(1)
        self._listeners: list[Callable[[Sequence[News]], None]] = []
        self._changed = 0

    async def admit(
        self,
        candidates: Sequence[Candidate],
        now: float,
        cost: Tokens = FREE,
        patience_s: float = 0.0,  # noqa: ARG002 - in one process a queue keeps the order
    ) -> Lease | Refused:
        """The first candidate that may go, as a Lease; else why each may not."""
        blocked = []
        with self._lock:
            for candidate in candidates:
                barrier, seen, trials = self._look(candidate, now)
                if barrier is None and candidate.buckets:
                    barrier = self._buckets.barrier(candidate, cost, now)
                if barrier is None:
                    lease = self._lend(candidate, seen, trials, now)
                    if candidate.buckets:
                        self._buckets.reserve(lease, cost, now)
                    return lease
                blocked.append(barrier)
        return Refused(tuple(blocked))

    def _look(
        self, candidate: Candidate, now: float
    ) -> tuple[Blocked | None, tuple[KeyState, ...], tuple[str, ...]]:
        states = self._states
        if not states:  # all are in good health
            return None, (FRESH,) * len(candidate.subjects), ()
        seen = tuple([states.get(subject, FRESH) for subject in candidate.subjects])
        worst: Blocked | None = None
        trials: tuple[str, ...] = ()
        for subject, state in zip(candidate.subjects, seen, strict=True):
            if state is FRESH or state.kind is Kind.ACTIVE:
                continue
            rests = state.resting_at(now)
            until = state.until if rests else self._trial_until(subject, now)
            if until > now and (worst is None or until > worst.until):
                worst = Blocked(candidate.index, until, subject, state, is_trial=not rests)
            trials += (subject,)
        return worst, seen, trials

    def _trial_until(self, subject: str, now: float) -> float:
        return self._trials.get(subject, ("", now))[1]

    def _lend(
        self, candidate: Candidate, seen: tuple[KeyState, ...], trials: tuple[str, ...], now: float
    ) -> Lease:
        lease = Lease(str(next(self._ids)), candidate, seen, trials)
        self._hold(lease, now)
        return lease

    def _hold(self, lease: Lease, now: float) -> None:
        for subject in lease.trials:
            self._trials[subject] = (lease.id, now + LEASE_SECONDS)

    def is_fresh(self, lease: Lease, now: float) -> bool:
        """Whether no scope of the lease's key has gone to rest since it was lent."""
        states = self._states
        for subject, seen in zip(lease.candidate.subjects, lease.seen, strict=True):
            state = states.get(subject, FRESH)
            if state is seen or state.kind is Kind.ACTIVE:
                continue
            # A rest that came and went since leaves a trial, which is another call's to take.
            if state.resting_at(now) or subject not in lease.trials:
                return False
        return True

    def decide(self, lease: Lease, changes: Sequence[Change], now: float) -> None:
        """Frees the lease's trials and applies the changes; the slot stays."""
        if lease.is_decided:
            return
        lease.is_decided = True
        if lease.trials or changes:
            with self._lock:
                news = self._change(changes, now) + self._free_trials(lease, now)
            self._tell(news)

    def settle(
        self, lease: Lease, changes: Sequence[Change], now: float, owed: Tokens | None = None
    ) -> None:
        """Ends the lease. What was decided before is not decided again, but a failure that
        only the body showed still counts.
        """
        if lease.is_settled:
            return
        lease.is_settled = True
        if lease.reservations:
            with self._lock:
                room = self._buckets.settle(lease, owed, now)
            self._tell(room)
        if not lease.is_decided:
            self.decide(lease, changes, now)
        elif any(change.refusal for change in changes):
            self.transition(changes, now)

    def learn(
        self, lease: Lease, spec: BucketSpec, readings: Sequence[Reading], now: float
    ) -> None:
        """Heeds what the answer to the lease's request says of the limits of ``spec``."""
        with self._lock:
            self._buckets.learn(lease, spec, readings, now)

    async def rooms(
        self, candidates: Sequence[Candidate], now: float
    ) -> Mapping[str, Mapping[str, Room]]:
        """How the limits stand, by the bucket's name."""
        with self._lock:
            return self._buckets.rooms(candidates, now)

    def renew(self, leases: Sequence[Lease], now: float) -> None:
        """Extends the trials and the slots of leases that are still held."""
        with self._lock:
            for lease in leases:
                self._buckets.renew(lease, now)
                for subject in lease.trials:
                    if not lease.is_decided and self._holds(lease, subject):
                        self._trials[subject] = (lease.id, now + LEASE_SECONDS)

    def transition(self, changes: Sequence[Change], now: float) -> None:
        """Applies changes that no lease stands behind."""
        with self._lock:
            news = self._change(changes, now)
        self._tell(news)

    def state(self, subject: str) -> KeyState:
        """The state of one subject as this process knows it."""
        return self._states.get(subject, FRESH)

    def count(self, unsaid: Callable[[], Counts]) -> None:
        """Nobody else counts."""

    async def counted(self) -> Counts | None:
        """Nobody else counts."""
        return None

    async def catch_up(self) -> bool:
        """Nobody else changes anything."""
        return False

    async def flush(self) -> None:
        """Nothing is ever on its way."""

    def watch(self, is_waiting: Callable[[], bool]) -> None:
        """There are no news but one's own."""

    async def snapshot(self) -> Mapping[str, KeyState]:
        """All states that are not as new."""
        with self._lock:
            return dict(self._states)

    def listen(self, heard: Callable[[Sequence[News]], None]) -> None:
        """Calls ``heard`` after each change and each freed trial."""
        self._listeners.append(heard)

    def forget_leases(self) -> None:
        """After a fork: the calls that hold trials live in the parent."""
        self._lock = threading.RLock()
        self._trials.clear()
        self._buckets.forget_leases()

    async def aclose(self) -> None:
        """Nothing to close."""

    def _change(self, changes: Sequence[Change], now: float) -> list[News]:
        news = []
        for change in changes:
            current = self._states.get(change.subject, FRESH)
            new = change.upon(current, now)
            if new is not None and new is not current:
                self._states[change.subject] = new
                self._changed += 1
                if change.seen is None:
                    self._trials.pop(change.subject, None)
                news.append(News(change.subject, new.until, current, new))
        self._sweep_if_due(now)
        return news

    def _sweep_if_due(self, now: float) -> None:
        """Model names come from callers, so their scopes must not add up for ever: one that has
        had nothing to say for so long is as new again.
        """
        if self._changed < SWEEP_EVERY:
            return
        self._changed = 0
        self._states = {
            subject: state
            for subject, state in self._states.items()
            if "|" not in subject or max(state.until, state.since) + self.forgets_s > now
        }

    def _free_trials(self, lease: Lease, now: float) -> list[News]:
        news = []
        for subject in lease.trials:
            if self._holds(lease, subject):
                del self._trials[subject]
                state = self._states.get(subject, FRESH)
                news.append(News(subject, max(now, state.until), state, state))
        return news

    def _holds(self, lease: Lease, subject: str) -> bool:
        return self._trials.get(subject, ("", 0.0))[0] == lease.id

    def _tell(self, news: Sequence[News]) -> None:
        if news:
            for heard in self._listeners:
                heard(news)
