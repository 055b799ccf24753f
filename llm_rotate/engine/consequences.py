"""From a verdict to changes of state: which scope pays, and whether it is an outage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core.keystate import Change, Kind, Refusal, refused, succeeded
from ..core.outage import Outages, Refused, provider_rest, taken_back
from ..core.outcome import FAULTS, Effect, Outcome, Scope
from ..core.pool import Lease, StateStore
from ..core.wire import Verdict
from .run import Grant
from .stages import Stage

OUTAGE_LIKE = (Outcome.AUTH_FAILED, Outcome.FORBIDDEN)


class Consequences:
    """What an attempt's end changes. Reads states, writes none."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    def of(self, grant: Grant, verdict: Verdict[Any], now: float) -> Sequence[Change]:
        """The changes that ``verdict`` asks for."""
        effect = FAULTS[verdict.outcome].effect
        if effect is Effect.CLEAR:
            return cleared(grant.lease, now)
        if effect is Effect.NONE:
            return ()
        change = _refusal(grant, verdict, now)
        if verdict.outcome in OUTAGE_LIKE and not verdict.key_sign:
            return self._maybe_outage(grant, verdict, change, now)
        return (change,)

    def _maybe_outage(
        self, grant: Grant, verdict: Verdict[Any], change: Change, now: float
    ) -> Sequence[Change]:
        """A refusal that may be the provider's own: if it is, no key pays for it."""
        stage, provider = grant.stage, grant.stage.provider
        outages = provider.outages.setdefault(stage.model or "", Outages())
        signature = (str(verdict.outcome), verdict.status, verdict.code)
        state = self._store.state(provider.subject)
        if state.kind is not Kind.ACTIVE and outages.signature == signature:
            if provider.subject in grant.lease.trials:
                return (provider_rest(provider.subject, state, now, change.new.reason),)
            return ()
        before = grant.lease.seen[grant.lease.candidate.subjects.index(change.subject)]
        stands = self._store.state(change.subject)
        after = change.upon(stands, now) or stands  # of a herd, a later one may have moved it
        undo = taken_back(change.subject, before, after.version)
        seen = Refused(now, grant.key.key_id, signature, undo)
        alive = stage.everyone - self._disabled(stage)
        undone = outages.note(seen, alive, len(alive), provider.last_success_at)
        if not undone:
            return (change,)
        rest = provider_rest(provider.subject, state, now, change.new.reason)
        return (change, *undone, rest)

    def _disabled(self, stage: Stage) -> set[str]:
        return {
            key_id
            for key_id in stage.everyone
            if self._store.state(f"key:{key_id}").kind is Kind.DISABLED
        }


def cleared(lease: Lease, now: float) -> Sequence[Change]:
    """What a success changes: nothing at all for a key in good health."""
    if not any(seen.version for seen in lease.seen):
        return ()
    return [
        Change(subject, seen.version, better)
        for subject, seen in zip(lease.candidate.subjects, lease.seen, strict=True)
        if (better := succeeded(seen, now)) is not seen
    ]


def _refusal(grant: Grant, verdict: Verdict[Any], now: float) -> Change:
    candidate = grant.lease.candidate
    scope = FAULTS[verdict.outcome].scope
    subject = candidate.scopes.get(scope) or candidate.scopes[Scope.KEY]
    seen = grant.lease.seen[candidate.subjects.index(subject)]
    refusal = Refusal(verdict.outcome, verdict.later_s, verdict.status, _reason(grant, verdict))
    policy = grant.stage.provider.policy
    new = refused(seen, refusal, now, policy)
    return Change(subject, seen.version, new, refusal, policy)


def _reason(grant: Grant, verdict: Verdict[Any]) -> str:
    if verdict.outcome is Outcome.SECRET_MISSING:
        return verdict.message
    words = [str(verdict.status or ""), verdict.code or str(verdict.outcome)]
    if verdict.later_s is not None:
        words.append(f"(back in {verdict.later_s:g} s, it said)")
    if verdict.outcome is Outcome.AUTH_FAILED:
        words.append(f"- is {grant.key.shown_ref} right?")
    return " ".join(word for word in words if word)
