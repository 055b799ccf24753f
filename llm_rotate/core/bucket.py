"""What is limited, and what was taken of it. ``limits`` says what may go.

Fields of a bucket, for a store that keeps them elsewhere (all numbers; times are seconds on
the bucket's clock, amounts whole but for dollars):

- up to four meters, by kind: requests, tokens, input, output (see ``meter``);
- ``at``: the newest time seen; ``ahead``: how far the bucket's clock is ahead of the store's;
- ``day_ends`` (on the store's clock), ``day_requests``, ``day_tokens``, ``day_dollars``: taken
  until that instant;
- ``leases``: lease id -> when it expires; kept only where ``max_concurrency`` is set, and
  counted by its size, never by a counter;
- ``admitted``: requests, input and output tokens ever reserved; ``open``, ``opened_before``,
  ``generation``: requests reserved and not settled, of this window and of the one before it,
  and this window's number (what is never settled is forgotten with its generation);
- ``guess_from``, ``guessed_at``, ``guess_mark``: see ``learned``.

A reservation is one record per lease and bucket: at, input, output, dollars, mark, day_ends,
generation. Whoever removes it settles; a second time there is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from .meter import KINDS, REQUESTS, Meter

BACK_FOR_GOOD = 2.0  # windows: a clock that is further back was set; any less, it is late

LeaseId = int | str

Resets = Callable[[float], tuple[float, float]]
"""now -> the next two ends of a day, as times of the same clock."""


class Tokens(NamedTuple):
    """What one request takes. ``dollars``: its price, 0.0 where none is known."""

    input: int = 0
    output: int = 0
    dollars: float = 0.0


@dataclass(frozen=True, slots=True)
class BucketSpec:
    """The limits of one scope, by its ``name``; None is no limit. Built once per reload.

    ``rpm``, ``tpm``, ``input_tpm``, ``output_tpm``: per window of ``window_seconds``. ``rpd``,
    ``tpd``, ``max_cost_per_day`` (dollars): until the reset that ``turn_day`` is told.
    ``request_burst``, ``token_burst``: how much may go at once, at most the limit.
    ``learns``: requests are counted without a limit too, so that refusals can teach one.
    ``resets``: its days, where those of the asking key's provider are not everybody's.
    """

    name: str
    rpm: int | None = None
    tpm: int | None = None
    input_tpm: int | None = None
    output_tpm: int | None = None
    rpd: int | None = None
    tpd: int | None = None
    max_cost_per_day: float | None = None
    max_concurrency: int | None = None
    request_burst: int | None = None
    token_burst: int | None = None
    window_seconds: float = 60.0
    learns: bool = False
    resets: Resets | None = field(default=None, repr=False, compare=False)
    has_day: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        daily = (self.rpd, self.tpd, self.max_cost_per_day)
        object.__setattr__(self, "has_day", any(limit is not None for limit in daily))

    def stated(self, kind: int) -> float:
        """The limit of a kind of meter; inf where there is none."""
        limit = (self.rpm, self.tpm, self.input_tpm, self.output_tpm)[kind]
        return math.inf if limit is None else float(limit)

    def burst(self, kind: int) -> int | None:
        """The configured size of a kind's smoothing bucket."""
        return self.request_burst if kind == REQUESTS else self.token_burst


@dataclass(slots=True, eq=False)
class Reservation:
    """What one lease took of one bucket. ``mark``: the bucket's ``admitted`` after it."""

    lease_id: LeaseId
    at: float
    cost: Tokens
    mark: tuple[int, int, int]
    day_ends: float
    generation: int
    is_settled: bool = False


class Bucket:
    """What was taken of one spec's limits. Not thread-safe: its store holds a lock."""

    __slots__ = (
        "admitted",
        "ahead",
        "at",
        "day_dollars",
        "day_ends",
        "day_requests",
        "day_tokens",
        "generation",
        "guess_from",
        "guess_mark",
        "guessed_at",
        "leases",
        "meters",
        "open",
        "opened_before",
        "share",
        "spec",
    )

    def __init__(self, spec: BucketSpec) -> None:
        self.spec = spec
        self.at = self.ahead = 0.0
        self.day_ends = self.day_dollars = 0.0
        self.day_requests = self.day_tokens = 0
        self.leases: dict[LeaseId, float] = {}
        self.admitted = (0, 0, 0)
        self.open = self.opened_before = self.generation = 0
        self.guess_from = self.guessed_at = math.inf
        self.guess_mark = 0
        self.share = 1.0
        self.meters: list[Meter] = []
        self._need_meters()

    def meter(self, kind: int) -> Meter:
        """The meter of a kind; where there is none, one that counts from now on."""
        for meter in self.meters:
            if meter.kind == kind:
                return meter
        spec = self.spec
        made = Meter(
            kind, spec.stated(kind), spec.burst(kind), spec.window_seconds, self.admitted[0]
        )
        made.share = self.share
        made.rate()
        self.meters.append(made)
        return made

    def refit(self, spec: BucketSpec, now: float) -> None:
        """The limits changed by a reload: what was taken stays taken."""
        self.tick(now)
        self.spec = spec
        for meter in self.meters:
            kind = meter.kind
            meter.reshape(spec.stated(kind), spec.burst(kind), spec.window_seconds, self.at)
        self._need_meters()

    def divide(self, share: float) -> None:
        """Only this part of each limit is its own: others use the rest, unseen."""
        self.share = share
        for meter in self.meters:
            meter.share = share
            meter.rate()

    def _need_meters(self) -> None:
        for kind in KINDS:
            if self.spec.stated(kind) < math.inf or (kind == REQUESTS and self.spec.learns):
                self.meter(kind)

    def tick(self, now: float) -> float:
        """The bucket's time at ``now``. It never goes back: while a clock is late it stands
        still, and when one was set back it goes on from where it was.
        """
        at = now + self.ahead
        if at < self.at:
            if self.at - at > BACK_FOR_GOOD * self.spec.window_seconds:
                self.ahead += self.at - at
            return self.at
        self.at = at
        generation = int(at / self.spec.window_seconds)
        if generation != self.generation:
            self.opened_before = self.open if generation == self.generation + 1 else 0
            self.open = 0
            self.generation = generation
        return at
