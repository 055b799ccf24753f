"""Faults by chance, the same for the same seed and order of requests."""

from __future__ import annotations

import random
from collections.abc import Callable

from .script import Plan, Refusal, Visit


class Faults:
    """A line of a script that spoils ``share`` of the requests that come to it."""

    def __init__(self, share: float, seed: int, retry_after: float) -> None:
        self._share = share
        self._die = random.Random(seed)
        self._retry_after = retry_after
        self._kinds: tuple[Callable[[Plan], None], ...] = (
            self._limit,
            _status(500),
            _status(503),
            _drop,
        )

    def edit(self, plan: Plan, visit: Visit) -> None:  # noqa: ARG002  a Line sees the visit
        if self._die.random() < self._share:
            self._die.choice(self._kinds)(plan)

    def _limit(self, plan: Plan) -> None:
        plan.refusal = Refusal("rate_limited", retry_after=self._retry_after)


def _status(status: int) -> Callable[[Plan], None]:
    def fail(plan: Plan) -> None:
        plan.refusal = Refusal("status", status=status)

    return fail


def _drop(plan: Plan) -> None:
    plan.dropped = True
