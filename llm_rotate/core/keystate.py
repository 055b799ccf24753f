"""The health machine: what a key (or a scope of it) becomes after an outcome.

A state is a kind and a time; read after that time, a rest is PROBATION, so no timer needs a
writer. Every change raises the version, and a change that was judged from an older version
is judged again against the state that stands: many failures at once are one failure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from .outcome import FAULTS, Effect, Outcome
from .policy import Policy

LONGEST_BACKOFF_SECONDS = 3600.0
SAME_DEADLINE_SECONDS = 1.0


class Kind(StrEnum):
    """The five states. Only an operator, a changed entry or a changed secret ends DISABLED."""

    ACTIVE = "active"
    COOLDOWN = "cooldown"
    QUARANTINE = "quarantine"
    PROBATION = "probation"
    DISABLED = "disabled"


HARDNESS: Mapping[Kind, int] = {
    Kind.ACTIVE: 0,
    Kind.PROBATION: 0,
    Kind.COOLDOWN: 1,
    Kind.QUARANTINE: 2,
    Kind.DISABLED: 3,
}


@dataclass(frozen=True, slots=True)
class KeyState:
    """Times are seconds on the engine's monotonic clock.

    ``failures``: failures in a row, a herd of them counted once. ``strikes``: those of them
    that were auth_failed, unbroken. ``failed_trials``: trials lost since the last success.
    """

    kind: Kind = Kind.ACTIVE
    until: float = 0.0
    since: float = 0.0
    version: int = 0
    failures: int = 0
    strikes: int = 0
    failed_trials: int = 0
    outcome: Outcome | None = None
    status: int | None = None
    reason: str = ""

    def kind_at(self, now: float) -> Kind:
        """The kind as it reads at ``now``: a rest that is over is PROBATION."""
        if self.until <= now and self.kind in (Kind.COOLDOWN, Kind.QUARANTINE):
            return Kind.PROBATION
        return self.kind

    def resting_at(self, now: float) -> bool:
        return HARDNESS[self.kind] > 0 and self.until > now


FRESH = KeyState()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A failure as the health machine hears of it. ``later_s``: seconds, as stated."""

    outcome: Outcome
    later_s: float | None = None
    status: int | None = None
    reason: str = ""


def succeeded(state: KeyState, now: float) -> KeyState:
    """The state after a success: a probation ends, runs of failures are over."""
    if state.resting_at(now) or (state.kind is Kind.ACTIVE and not state.failures):
        return state
    return KeyState(since=now, version=state.version + 1)


def refused(state: KeyState, refusal: Refusal, now: float, policy: Policy) -> KeyState:
    """The state after a failure that is this scope's own."""
    effect = FAULTS[refusal.outcome].effect
    strikes = state.strikes + 1 if effect is Effect.STRIKE else 0
    is_trial = state.kind_at(now) is Kind.PROBATION
    failed_trials = state.failed_trials + is_trial
    if strikes >= policy.max_consecutive_failures:
        kind, until = Kind.DISABLED, math.inf
    else:
        kind = Kind.COOLDOWN if effect is Effect.COOLDOWN and not is_trial else Kind.QUARANTINE
        until = now + _rest_seconds(effect, refusal.later_s, policy, failed_trials * is_trial)
    return KeyState(
        kind=kind,
        until=until,
        since=now,
        version=state.version + 1,
        failures=state.failures + 1,
        strikes=strikes,
        failed_trials=failed_trials,
        outcome=refusal.outcome,
        status=refusal.status,
        reason=refusal.reason,
    )


def _rest_seconds(
    effect: Effect, later_s: float | None, policy: Policy, failed_trials: int
) -> float:
    heeds_stated = failed_trials > 0 or effect in (Effect.COOLDOWN, Effect.EXHAUST)
    if later_s is not None and heeds_stated:
        return later_s
    own = policy.cooldown_seconds if effect is Effect.COOLDOWN else policy.quarantine_seconds
    if not failed_trials:
        return own
    # ldexp would overflow past 1,023 lost trials; 40 doublings are over the hour anyway.
    return min(own * 2.0 ** min(failed_trials, 40), max(own, LONGEST_BACKOFF_SECONDS))


def after(
    state: KeyState, outcome: Outcome, now: float, policy: Policy, later_s: float | None = None
) -> KeyState:
    """The state after ``outcome``; the same object when nothing changes."""
    effect = FAULTS[outcome].effect
    if effect is Effect.CLEAR:
        return succeeded(state, now)
    if effect is Effect.NONE:
        return state
    return refused(state, Refusal(outcome, later_s), now, policy)


def merge(current: KeyState, proposed: KeyState) -> KeyState | None:
    """Two rests that were judged from the same state. None: ``proposed`` says nothing new.

    A second failure of the same kind is not counted, but a deadline later by more than a
    second, or a harder kind, holds; so do its words, unless the rest that stands is harder.
    """
    is_later = proposed.until > current.until + SAME_DEADLINE_SECONDS
    is_harder = HARDNESS[proposed.kind] > HARDNESS[current.kind]
    if not (is_later or is_harder):
        return None
    return replace(
        current if HARDNESS[current.kind] > HARDNESS[proposed.kind] else proposed,
        until=max(current.until, proposed.until),
        since=current.since,
        version=current.version + 1,
        failures=current.failures + (is_harder and proposed.outcome is not current.outcome),
        strikes=proposed.strikes if is_harder else current.strikes,
        failed_trials=current.failed_trials,
    )


@dataclass(frozen=True, slots=True)
class Change:
    """A wish to change one subject's state.

    ``seen`` is the version it was judged from; None is an operator, whatever the version.
    ``refusal`` and ``policy`` are there so that it can be judged again.
    """

    subject: str
    seen: int | None
    new: KeyState
    refusal: Refusal | None = None
    policy: Policy | None = None

    def upon(self, current: KeyState, now: float) -> KeyState | None:
        """What ``current`` becomes by it; None: nothing.

        A success, or a rest taken back, that comes too late changes nothing: it must not
        lift a rest that began after its request was sent.
        """
        if self.seen is None:
            return replace(self.new, version=current.version + 1)
        if self.seen == current.version:
            return self.new
        if self.refusal is None or self.policy is None:
            return None
        if HARDNESS[current.kind]:  # also a rest that is over: it may have been of no length
            return merge(current, self.new)
        return refused(current, self.refusal, now, self.policy)
