"""One call's bookkeeping: what was refused, what is a retry, when a stage is left. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from ..types import Attempt
from .bucket import Tokens
from .pool import Blocked

BACKOFF_FIRST_SECONDS = 0.5
BACKOFF_LONGEST_SECONDS = 30.0
NONE: frozenset[int] = frozenset()


@dataclass(slots=True)
class Visit:
    """One stage of one call.

    All sets are of keys, by index. ``refused``: in this pass; ``earlier``: refused in a pass
    before, or met a provider's fault in any; ``barred``: the request is too large for them;
    ``faulted``: met a fault since the stage's keys were last all tried. ``faults``: those of
    this pass. ``after_fault``: the stage's last request met one. ``not_before``: the time that
    the provider stated with it, on the engine's clock, if it did. ``full``: had no room in
    this pass. ``units``, ``cost``: the request as its limits count it, once it is measured.
    """

    is_last: bool
    refused: AbstractSet[int] = NONE
    earlier: AbstractSet[int] = NONE
    barred: AbstractSet[int] = NONE
    faulted: AbstractSet[int] = NONE
    faults: int = 0
    after_fault: bool = False
    not_before: float | None = None
    is_closed: bool = False
    full: Mapping[int, Blocked] | None = None
    units: float = 0.0
    cost: Tokens | None = None

    def is_early(self, now: float) -> bool:
        """Whether the time that the provider stated has not come."""
        return self.not_before is not None and now < self.not_before

    def begin_pass(self) -> None:
        """A new pass: what was refused may be asked again, as a retry."""
        self.earlier = self.earlier | self.refused
        self.refused = set(self.barred)
        self.full = None
        self.faulted = NONE
        self.faults = 0

    def turned_away(self, barriers: Sequence[Blocked]) -> AbstractSet[int]:
        """Notes the keys without room for the request; returns them."""
        full = {each.index: each for each in barriers if each.is_full}
        if full:
            self.full = {**(self.full or {}), **full}
            for index, barrier in full.items():
                if barrier.is_too_large:
                    self.bar(index)
        return full.keys()

    def bar(self, index: int) -> None:
        """The request is too large for the key."""
        self.refused = _with(self.refused, index)
        self.barred = _with(self.barred, index)


class Call:
    """Counts retries and judges when to go on. ``max_retries``: for the whole call."""

    __slots__ = ("attempts", "ends_with_fault", "max_retries", "retries", "sent_in_pass", "visits")

    def __init__(self, stages: int, max_retries: int) -> None:
        self.visits = [Visit(is_last=i == stages - 1) for i in range(stages)]
        self.max_retries = max_retries
        self.retries = 0
        self.attempts: list[Attempt] = []
        self.sent_in_pass = False
        self.ends_with_fault = False

    @property
    def may_retry(self) -> bool:
        """Whether a retry is left."""
        return self.retries < self.max_retries

    def begin_pass(self) -> None:
        """All stages are visited again."""
        self.sent_in_pass = False
        for visit in self.visits:
            visit.begin_pass()

    def excluded(self, visit: Visit) -> AbstractSet[int]:
        """Keys that must not be asked now: each is refused at most once per stage and pass,
        and without a retry left none is asked twice in the call.
        """
        return visit.refused if self.may_retry else visit.refused | visit.earlier

    def excluded_next(self, visit: Visit) -> AbstractSet[int]:
        """Keys that a further pass must not ask."""
        return visit.barred if self.may_retry else visit.refused | visit.earlier

    def is_open(self, visit: Visit) -> bool:
        """Whether the stage may get one more request; its first is always free."""
        return not visit.is_closed and (self.may_retry or not visit.after_fault)

    def count(self, visit: Visit, index: int) -> None:
        """A request was sent: a retry if it came right after a provider's fault in its stage,
        or went to a key that has failed in this call before.
        """
        self.sent_in_pass = True
        if visit.after_fault or index in visit.earlier:
            self.retries += 1

    def refused(self, visit: Visit, index: int, is_barred: bool) -> None:
        """The key refused. ``is_barred``: it will whenever it is asked."""
        self.ends_with_fault = visit.after_fault = False
        visit.refused = _with(visit.refused, index)
        if is_barred:
            visit.barred = _with(visit.barred, index)

    def faulted(self, visit: Visit, index: int) -> bool:
        """The provider failed. Whether the stage may be tried once more in this pass: one
        that has a next is left at its second fault.
        """
        self.ends_with_fault = True
        visit.faults += 1
        visit.faulted = _with(visit.faulted, index)
        visit.earlier = _with(visit.earlier, index)
        visit.after_fault = True
        return self.may_retry and (visit.is_last or visit.faults < 2)

    def backoff_limit(self) -> float:
        """Seconds that full jitter draws from: 0.5 x 2^n, at most 30."""
        return float(
            min(BACKOFF_LONGEST_SECONDS, BACKOFF_FIRST_SECONDS * 2 ** min(self.retries, 6))
        )


def _with(seen: AbstractSet[int], index: int) -> AbstractSet[int]:
    """Adds in place, once there is a place: most calls never need one."""
    if isinstance(seen, set):
        seen.add(index)
        return seen
    return {index}
