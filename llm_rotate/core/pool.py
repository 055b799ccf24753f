"""What passes between the engine and a store: who asks, who may go, what is new."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from .bucket import BucketSpec, Reservation, Resets, Tokens
from .keystate import FRESH, Change, KeyState
from .learned import Reading
from .limits import Room
from .outcome import Scope

LEASE_SECONDS = 60.0
RENEW_SECONDS = 20.0
FREE = Tokens()

Counts = Mapping[tuple[str, ...], Sequence[int]]
"""Name -> what was counted of it, in an order that the counter knows."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A key as one stage asks for it. ``subjects`` are the scopes it needs, by name; a
    subject that begins with ``local:`` never leaves this process. ``buckets``: the limits it
    must keep, the last of them what answers speak of; ``resets`` where one has a day.
    """

    index: int
    key_id: str
    subjects: tuple[str, ...]
    scopes: Mapping[Scope, str]
    buckets: tuple[BucketSpec, ...] = ()
    resets: Resets | None = None


@dataclass(slots=True, eq=False)
class Lease:
    """Leave to send one request. Held by one call, given back by ``settle`` exactly once.

    ``cost``: what was reserved of the candidate's buckets; ``reservations``: one for each.
    """

    id: str
    candidate: Candidate
    seen: tuple[KeyState, ...]
    trials: tuple[str, ...] = ()
    is_decided: bool = False
    is_settled: bool = False
    cost: Tokens = FREE
    reservations: tuple[Reservation, ...] = ()


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why a candidate may not go, and until when (inf: until somebody acts). ``is_trial``:
    another call is trying it, or holds its last slot, and may be done long before ``until``.

    ``is_full``: it has no room for this request, which has some at ``until``. Nobody
    has any before ``least`` (0.0: a smaller one has); ``why`` names the limit.
    ``is_too_large``: its limits can never hold the request.
    """

    index: int
    until: float
    subject: str
    state: KeyState = FRESH
    is_trial: bool = False
    is_full: bool = False
    is_too_large: bool = False
    least: float = 0.0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nobody of the window may go."""

    blocked: tuple[Blocked, ...]


@dataclass(frozen=True, slots=True)
class News:
    """A subject changed, or something of it was freed: it may be asked again at ``until``.

    ``is_room``: there is room again under a limit that somebody was turned away for.
    """

    subject: str
    until: float
    before: KeyState
    after: KeyState
    is_room: bool = False

    @property
    def is_sooner(self) -> bool:
        """A rest was cut short, by an operator or because it was taken back."""
        return self.after.until < self.before.until

    @property
    def is_freed(self) -> bool:
        """No state changed; a trial was given back."""
        return self.before is self.after


class StateStore(Protocol):
    """Who may go, and who must rest. All times are seconds on the caller's clock.

    - ``admit``: the first of the window that may go, atomically; takes the probation trials
      it needs (one at a time per subject) and reserves ``cost`` and a slot of its buckets.
      Trials and slots last LEASE_SECONDS unless renewed. ``patience_s``: how long a call whose
      turn it is in this process will wait; so long others must not take what a large request
      waits for. 0.0: it only looks. A call that waits asks again after ``looks_again_s`` at
      most, or others take it for gone.
    - ``decide`` frees the trials and applies the changes, ``settle`` does so too if nothing
      has, and ends the lease, correcting what it reserved to ``owed`` (None: nothing was
      sent); neither awaits, raises, or acts twice for a lease.
    - ``learn``: what the answer says of the limits, after ``settle`` if the answer is whole;
      without readings, that it was a refusal for going too fast.
    - ``rooms``: how the limits of the candidates stand, by the bucket's name.
    - ``is_fresh``: by the local view, may the lease's key still go?
    - ``count``: where this process's counts come from; ``counted``: those of all processes,
      None where nobody else counts, or nobody can be asked.
    - ``catch_up``: learns what other processes changed; whether there was anything.
    - ``watch``: while calls wait, news of others come by themselves.
    - ``flush``: returns when all that was changed here is where others see it.
    - ``listen``: ``heard`` is called after each change, from any thread, and must not call
      back into the store.
    """

    looks_again_s: float

    async def admit(
        self,
        candidates: Sequence[Candidate],
        now: float,
        cost: Tokens = FREE,
        patience_s: float = 0.0,
    ) -> Lease | Refused: ...
    def is_fresh(self, lease: Lease, now: float) -> bool: ...
    def decide(self, lease: Lease, changes: Sequence[Change], now: float) -> None: ...
    def settle(
        self, lease: Lease, changes: Sequence[Change], now: float, owed: Tokens | None = None
    ) -> None: ...
    def learn(
        self, lease: Lease, spec: BucketSpec, readings: Sequence[Reading], now: float
    ) -> None: ...
    async def rooms(
        self, candidates: Sequence[Candidate], now: float
    ) -> Mapping[str, Mapping[str, Room]]: ...
    def renew(self, leases: Sequence[Lease], now: float) -> None: ...
    def transition(self, changes: Sequence[Change], now: float) -> None: ...
    def state(self, subject: str) -> KeyState: ...
    def count(self, unsaid: Callable[[], Counts]) -> None: ...
    async def counted(self) -> Counts | None: ...
    async def catch_up(self) -> bool: ...
    async def flush(self) -> None: ...
    def watch(self, is_waiting: Callable[[], bool]) -> None: ...
    async def snapshot(self) -> Mapping[str, KeyState]: ...
    def listen(self, heard: Callable[[Sequence[News]], None]) -> None: ...
    def forget_leases(self) -> None: ...
    async def aclose(self) -> None: ...


@dataclass(slots=True)
class Record:
    """A key's recent past in one stage: moving means, step 0.2 (see strategies). ``tokens``: of
    its answers with their prompts; ``in_flight``: requests now under way, which is counted only
    for a strategy that has an attribute ``counts_in_flight``.
    """

    seconds: float = 0.0
    fault_share: float = 0.0
    samples: int = 0
    tokens: float = 0.0
    in_flight: int = 0


@dataclass(slots=True)
class Norm:
    """The stage's own moving means of ``seconds`` and ``tokens``, to hold a key's against."""

    seconds: float = 0.0
    samples: int = 0
    tokens: float = 0.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key stands: a bigger ``tier`` goes first; within a tier a key's share of the
    calls is proportional to 1 / ``stride``.
    """

    tier: int
    stride: float
