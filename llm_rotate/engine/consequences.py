"""From a verdict to changes of state: which scope pays, and whether it is an outage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..core.keystate import Change, Kind, Refusal, refused, succeeded
from ..core.outage import Outages, Refused, Signature, provider_rest, taken_back
from ..core.outcome import FAULTS, Effect, Outcome, Scope
from ..core.pool import Lease, StateStore
from ..core.wire import Verdict
from .run import Grant

WATCHED_MODELS = 256
OUTAGE_LIKE = (Outcome.AUTH_FAILED, Outcome.FORBIDDEN)


@dataclass(slots=True, eq=False)
class Past:
    """What is remembered of one provider. ``signature``: how it refused every key when it was
    last taken for an outage; ``watched``: refusals by model.
    """

    last_success_at: float = -math.inf
    signature: Signature | None = None
    watched: dict[str, Outages] = field(default_factory=dict)

    def of(self, model: str) -> Outages:
        if len(self.watched) > WATCHED_MODELS:  # names come from callers: it must not add up
            self.watched.clear()
        return self.watched.setdefault(model, Outages())


class Consequences:
    """What an attempt's end changes. Reads states, writes none."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._past: dict[str, Past] = {}

    def of(self, grant: Grant, verdict: Verdict[Any], now: float) -> Sequence[Change]:
        """The changes that ``verdict`` asks for."""
        effect = FAULTS[verdict.outcome].effect
        if effect is Effect.CLEAR:
            self.past(grant.stage.provider.name).last_success_at = now
            return cleared(grant.lease, now)
        if effect is Effect.NONE:
            return ()
        change = _refusal(grant, verdict, now)
        if verdict.outcome in OUTAGE_LIKE and not verdict.key_sign:
            return self._maybe_outage(grant, verdict, change, now)
        return (change,)

    def past(self, name: str) -> Past:
        """What is remembered of the provider ``name``, over reloads too."""
        found = self._past.get(name)
        if found is None:
            found = self._past.setdefault(name, Past())
        return found

    def _maybe_outage(
        self, grant: Grant, verdict: Verdict[Any], change: Change, now: float
    ) -> Sequence[Change]:
        """A refusal that may be the provider's own: if it is, no key pays for it."""
        stage, subject = grant.stage, grant.stage.provider.subject
        past = self.past(grant.stage.provider.name)
        signature = (str(verdict.outcome), verdict.status, verdict.code)
        state = self._store.state(subject)
        if state.kind is not Kind.ACTIVE and past.signature == signature:
            if subject in grant.lease.trials:
                return (provider_rest(subject, state, now, change.new.reason),)
            return ()
        undo = self._undo(grant, change, now)
        seen = Refused(now, grant.key.key_id, signature, undo)
        watched = past.of(stage.model or "")
        undone = watched.note(seen, stage.everyone, self._is_disabled, past.last_success_at)
        if not undone:
            return (change,)
        past.signature = signature
        return (change, *undone, provider_rest(subject, state, now, change.new.reason))

    def _undo(self, grant: Grant, change: Change, now: float) -> Change:
        lease = grant.lease
        before = lease.seen[lease.candidate.subjects.index(change.subject)]
        stands = self._store.state(change.subject)
        after = change.upon(stands, now) or stands  # of a herd, a later one may have moved it
        return taken_back(change.subject, replace(before, since=now), after.version)

    def _is_disabled(self, key_id: str) -> bool:
        return self._store.state(f"key:{key_id}").kind is Kind.DISABLED


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
    if verdict.is_of_model and scope is Scope.QUOTA:
        scope = Scope.QUOTA_MODEL
    if verdict.is_daily:
        verdict.later_s = grant.stage.provider.resets(now)[0] - now
    subject = candidate.scopes.get(scope) or candidate.scopes[Scope.KEY]
    seen = grant.lease.seen[candidate.subjects.index(subject)]
    refusal = Refusal(verdict.outcome, verdict.later_s, verdict.status, _reason(grant, verdict))
    policy = grant.stage.provider.policy
    new = refused(seen, refusal, now, policy)
    return Change(subject, seen.version, new, refusal, policy)


def _reason(grant: Grant, verdict: Verdict[Any]) -> str:
    if verdict.outcome is Outcome.SECRET_MISSING:
        return verdict.message
    told = " ".join(str(word) for word in (verdict.status, verdict.code or verdict.outcome) if word)
    if verdict.later_s is not None:
        told += f", Retry-After {verdict.later_s:g}"
    if verdict.outcome is Outcome.AUTH_FAILED:
        told += f". Is {grant.key.shown_ref} right?"
    return told
