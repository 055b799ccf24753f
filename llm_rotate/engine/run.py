"""One call on its way through the pool, as values."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..core.call import Call, Visit
from ..core.pool import Lease, StateStore
from ..core.wire import Verdict
from . import aws
from .clock import Clock
from .queue import Place
from .stages import PoolKey, Stage


@dataclass(slots=True, eq=False)
class Plan:
    """What a call may do. ``timeout_s`` as it was given, ``deadline`` the same as a time, inf for
    none; ``max_wait_s``: seconds that all its waits together may last. ``asked``: the model as
    the caller named it. ``is_pinned``: the caller named the provider, so no chain applies.
    ``takes_chains``: it is a call that a chain could lead on, were there one.
    ``response_format``: as the caller asked for it.
    """

    asked: str
    stages: Sequence[Stage]
    max_retries: int
    max_wait_s: float
    timeout_s: float | None = None
    deadline: float = math.inf
    affinity: str | None = None
    is_stream: bool = False
    is_pinned: bool = False
    takes_chains: bool = False
    response_format: Any = None


@dataclass(slots=True, eq=False)
class Grant:
    """Leave to make one attempt. ``first_s``: seconds to a stream's first chunk. ``secret``:
    what the attempt was, or is to be, sent with.
    """

    stage: Stage
    visit: Visit
    lease: Lease
    key: PoolKey
    run: Run
    store: StateStore
    clock: Clock
    started: float
    first_s: float | None = None
    secret: str | None = field(default=None, repr=False)

    @property
    def number(self) -> int:
        """Which attempt of its call it is, from 1."""
        return len(self.run.call.attempts) + 1

    @property
    def limit_s(self) -> float | None:
        """Seconds to the deadline; None without one."""
        deadline = self.run.plan.deadline
        return None if deadline == math.inf else deadline - self.clock.now()

    @property
    def sent_secret(self) -> str | None:
        """What of the secret the request showed, so that the answer may echo it."""
        secret = self.secret or self.key.secret
        is_signed = self.key.endpoint.auth == "sigv4"
        return aws.session_token(secret) if secret and is_signed else secret

    def go(self) -> bool:
        """Asked in the very step that writes: may the key still go?"""
        return self.store.is_fresh(self.lease, self.clock.now())


@dataclass(slots=True, eq=False)
class Run:
    """One call on its way. ``earliest``: when a key that it may still ask can go;
    ``is_hoping``: that may be sooner, as another call holds what it waits for. ``place``: in
    the queue of its route. ``told_until``: the log knows that it waits till then.
    """

    id: int
    plan: Plan
    call: Call
    started: float
    waited_s: float = 0.0
    earliest: float = math.inf
    last: Verdict[Any] | None = None
    last_grant: Grant | None = None
    refusals: list[str] = field(default_factory=list)
    place: Place | None = None
    is_hoping: bool = False
    told_until: float = -math.inf


class Exchange(Protocol):
    """What an attempt is: an HTTP chat, a stream up to its first chunk, a loan.

    ``prepare`` raises CapabilityError for a stage that cannot carry the request. Calling it
    makes one attempt and never raises for a provider's fault; a verdict that is ``held``
    is reported later by whoever holds it. ``size``: of its prompt, as the estimator measures
    it, and the output tokens it asks for at most.
    """

    def prepare(self, stage: Stage) -> None: ...
    def size(self, stage: Stage) -> tuple[float, int | None]: ...
    def __call__(self, grant: Grant) -> Awaitable[Verdict[Any]]: ...
