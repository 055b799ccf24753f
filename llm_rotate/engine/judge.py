"""From a verdict to what it changes: states, counts, records, events. Never awaits or raises."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ..core.events import Event, EventKind, Listener
from ..core.keystate import Change, Kind, Refusal, refused, succeeded
from ..core.outage import Outages, Refused, provider_rest, taken_back
from ..core.outcome import FAULTS, Blame, Effect, Fault, Outcome, Scope
from ..core.pool import RENEW_SECONDS, Lease, News, StateStore
from ..core.redact import redact, redact_all
from ..core.wire import Verdict
from ..errors import LMRotateError
from ..types import Attempt, ChatResponse
from .bell import Bell
from .clock import Clock
from .ledger import Ledger
from .run import Grant, Run
from .stages import Stage
from .usage_log import UsageLog

_log = logging.getLogger("llm_rotate")
OUTAGE_LIKE = (Outcome.AUTH_FAILED, Outcome.FORBIDDEN)
_SUCCESS: Verdict[Any] = Verdict(Outcome.OK)


class Judge:
    """Keeps the books of all calls of one pool."""

    def __init__(self, store: StateStore, clock: Clock, ledger: Ledger, log: UsageLog) -> None:
        self.store = store
        self.bell = Bell()
        self.ledger = ledger
        self.listeners: list[Listener] = []
        self.live: dict[int, Grant] = {}
        self._clock = clock
        self._log = log
        self._renewal_until = 0.0
        self._counting = threading.Lock()

    def now(self) -> float:
        """Monotonic seconds."""
        return self._clock.now()

    def wall_at(self, at: float) -> datetime:
        """The moment of a monotonic time, as an aware datetime."""
        seconds = self._clock.wall() + at - self._clock.now()
        return datetime.fromtimestamp(seconds, UTC)

    def wall(self) -> float:
        """Seconds since the epoch."""
        return self._clock.wall()

    def forget(self) -> None:
        """After a fork: the calls in flight are the parent's."""
        self.live.clear()
        self.bell.forget()
        self._renewal_until = 0.0
        self._counting = threading.Lock()

    # -- a lease's life

    def lent(self, grant: Grant) -> None:
        """The grant's request is about to be sent."""
        self.live[grant.lease.id] = grant
        if grant.started >= self._renewal_until:
            self._renew()
        if self.listeners:
            self._emit(EventKind.ATTEMPT_STARTED, grant)

    def withdrawn(self, grant: Grant) -> None:
        """Nothing was sent: all is given back."""
        self._end(grant, (), self._clock.now())

    def decide(self, grant: Grant) -> None:
        """The status line, or a stream's first event, is good: the trial is won."""
        if grant.lease.trials:
            now = self._clock.now()
            changes = self._changes(grant, _SUCCESS, FAULTS[Outcome.OK], now)
            self.store.decide(grant.lease, changes, now)

    def report(self, grant: Grant, verdict: Verdict[Any]) -> None:
        """The attempt ended. Acts once per lease."""
        if grant.lease.is_settled:
            return
        fault, now = FAULTS[verdict.outcome], self._clock.now()
        if verdict.outcome is not Outcome.OK:
            self._hide_secrets(grant, verdict)
        self._end(grant, self._changes(grant, verdict, fault, now), now)
        self._count(grant, verdict, fault, now)
        if self.listeners:
            self._emit(
                EventKind.ATTEMPT_ENDED,
                grant,
                outcome=verdict.outcome,
                seconds=now - grant.started,
                usage=verdict.used,
                detail=verdict.message,
            )

    def _end(self, grant: Grant, changes: Sequence[Change], now: float) -> None:
        self.store.settle(grant.lease, changes, now)
        self.live.pop(grant.lease.id, None)

    def _hide_secrets(self, grant: Grant, verdict: Verdict[Any]) -> None:
        secret = grant.key.secret
        verdict.message = redact(verdict.message, secret)
        verdict.body = redact_all(verdict.body, secret)
        if verdict.outcome is Outcome.AUTH_FAILED:
            grant.key.ready = None  # a secret changed on disk is read again at the next use

    # -- states

    def _changes(
        self, grant: Grant, verdict: Verdict[Any], fault: Fault, now: float
    ) -> Sequence[Change]:
        if fault.effect is Effect.CLEAR:
            return _cleared(grant.lease, now)
        if fault.effect is Effect.NONE:
            return ()
        change = self._refusal(grant, verdict, fault)
        if verdict.outcome in OUTAGE_LIKE and not verdict.key_sign:
            return self._maybe_outage(grant, verdict, change)
        return (change,)

    def _refusal(self, grant: Grant, verdict: Verdict[Any], fault: Fault) -> Change:
        candidate = grant.lease.candidate
        subject = candidate.scopes.get(fault.scope) or candidate.scopes[Scope.KEY]
        seen = grant.lease.seen[candidate.subjects.index(subject)]
        reason = _reason(grant, verdict)
        refusal = Refusal(verdict.outcome, verdict.later_s, verdict.status, reason)
        policy = grant.stage.provider.policy
        return Change(
            subject,
            seen.version,
            refused(seen, refusal, self._clock.now(), policy),
            refusal,
            policy,
        )

    def _maybe_outage(
        self, grant: Grant, verdict: Verdict[Any], change: Change
    ) -> Sequence[Change]:
        """A refusal that may be the provider's own: if it is, no key pays for it."""
        stage, now = grant.stage, self._clock.now()
        provider = stage.provider
        outages = provider.outages.setdefault(stage.model or "", Outages())
        signature = (str(verdict.outcome), verdict.status, verdict.code)
        state = self.store.state(provider.subject)
        if state.kind is not Kind.ACTIVE and outages.signature == signature:
            if provider.subject in grant.lease.trials:
                return (provider_rest(provider.subject, state, now, change.new.reason),)
            return ()
        before = grant.lease.seen[grant.lease.candidate.subjects.index(change.subject)]
        seen = Refused(now, grant.key.key_id, signature, taken_back(change, before))
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
            if self.store.state(f"key:{key_id}").kind is Kind.DISABLED
        }

    # -- counts

    def _count(self, grant: Grant, verdict: Verdict[Any], fault: Fault, now: float) -> None:
        stage, seconds = grant.stage, now - grant.started
        index = grant.lease.candidate.index
        tally = stage.tallies.get(index)
        if tally is None:
            tally = self.ledger.tally(stage.provider.name, grant.key.key_id, stage.model)
            stage.tallies[index] = tally
        if fault.effect is Effect.CLEAR:
            with self._counting:
                tally.answered(verdict.used)
            stage.provider.last_success_at = now
            stage.note(index, False, grant.first_s if grant.first_s is not None else seconds)
        elif fault.blame is not Blame.CALLER:
            with self._counting:
                tally.failures += 1
            if fault.blame is Blame.PROVIDER:
                stage.note(index, True, seconds)
        grant.run.call.attempts.append(_attempt(grant, verdict, seconds))

    # -- renewal: one timer for all calls in flight, none when there are none

    def _renew(self) -> None:
        now = self._clock.now()
        if not self.live:
            self._renewal_until = 0.0
            return
        self.store.renew([grant.lease for grant in list(self.live.values())], now)
        self._renewal_until = now + 2 * RENEW_SECONDS
        self._clock.call_later(RENEW_SECONDS, self._renew)

    # -- news

    def tell(self, news: Sequence[News], now: float) -> None:
        """The store changed: wakes who waits, tells who listens."""
        # Who waited for a trial's end looks again, also when the trial was lost.
        if any(each.until <= now or each.before is each.after for each in news):
            self.bell.ring()
        for each in news:
            if each.before is not each.after:
                _log.info("%s: %s %s", each.subject, each.after.kind, each.after.reason)
                for_all = Event(
                    now,
                    EventKind.STATE_CHANGED,
                    key_id=_key_of(each.subject),
                    subject=each.subject,
                    outcome=each.after.outcome,
                    state=each.after,
                    detail=each.after.reason,
                )
                self.publish(for_all)

    def waiting(self, run: Run, seconds: float) -> None:
        """The call is about to sleep."""
        if self.listeners:
            self.publish(self._of_call(EventKind.WAITING, run, seconds=seconds))

    def left(self, run: Run, stage: Stage) -> None:
        """The call leaves a stage without an answer."""
        if self.listeners:
            self.publish(
                self._of_call(
                    EventKind.STAGE_LEFT, run, provider=stage.provider.name, model=stage.model or ""
                )
            )

    def call_failed(self, run: Run, error: BaseException) -> None:
        """The call ends with an exception."""
        if isinstance(error, LMRotateError):
            error.attempts = tuple(run.call.attempts)
        self._call_ended(run, None, error)

    def answered(self, run: Run, verdict: Verdict[ChatResponse]) -> ChatResponse:
        """The call ends well: its answer, with what the pool knows of it."""
        response, grant = verdict.value, run.last_grant
        if response is None or grant is None:
            raise AssertionError("an ok verdict carries its answer")
        response.provider = grant.stage.provider.name
        response.key_id = grant.key.spec.key_id
        response.upstream = response.upstream or grant.stage.upstream
        response.attempts = tuple(run.call.attempts)
        response.latency_ms = (self._clock.now() - run.started) * 1000.0
        self._call_ended(run, response, None)
        return response

    def _call_ended(
        self, run: Run, response: ChatResponse | None, error: BaseException | None
    ) -> None:
        if not (self.listeners or self._log.is_wanted()):
            return
        attempts = tuple(run.call.attempts)
        last = attempts[-1] if attempts else Attempt("", run.plan.asked, None, "none")
        event = self._of_call(
            EventKind.CALL_ENDED,
            run,
            provider=last.provider,
            model=response.model if response else last.model,
            key_id=last.key_id,
            attempt=len(attempts),
            outcome=Outcome(last.outcome) if last.outcome in _OUTCOMES else None,
            seconds=self._clock.now() - run.started,
            usage=response.usage if response else None,
            is_stream=run.plan.is_stream,
            attempts=attempts,
            detail=type(error).__name__ if error else "",
        )
        self.publish(event)
        auth = run.last_grant.key.spec.auth_method if run.last_grant else "api_key"
        self._log.write(event, auth, self._clock.wall())

    def _emit(self, kind: EventKind, grant: Grant, **more: Any) -> None:
        self.publish(
            self._of_call(
                kind,
                grant.run,
                attempt=grant.number,
                provider=grant.stage.provider.name,
                model=grant.stage.model or "",
                key_id=grant.key.key_id,
                **more,
            )
        )

    def _of_call(self, kind: EventKind, run: Run, **more: Any) -> Event:
        return Event(self._clock.now(), kind, run.id, **{"model": run.plan.asked, **more})

    def publish(self, event: Event) -> None:
        """Tells every listener; what a listener raises is logged and kept from the call."""
        for listener in list(self.listeners):
            try:
                listener(event)
            except Exception:
                _log.exception("a listener failed on %s", event.kind)


_OUTCOMES = frozenset(Outcome)


def _cleared(lease: Lease, now: float) -> Sequence[Change]:
    """What a success changes: nothing at all for a key in good health."""
    if not any(seen.version for seen in lease.seen):
        return ()
    return [
        Change(subject, seen.version, better)
        for subject, seen in zip(lease.candidate.subjects, lease.seen, strict=True)
        if (better := succeeded(seen, now)) is not seen
    ]


def _key_of(subject: str) -> str | None:
    name = subject.removeprefix("local:")
    return name.removeprefix("key:").split("|")[0] if name.startswith("key:") else None


def _reason(grant: Grant, verdict: Verdict[Any]) -> str:
    if verdict.outcome is Outcome.SECRET_MISSING:
        return verdict.message
    words = [str(verdict.status or ""), verdict.code or str(verdict.outcome)]
    if verdict.later_s is not None:
        words.append(f"(back in {verdict.later_s:g} s, it said)")
    if verdict.outcome is Outcome.AUTH_FAILED:
        words.append(f"- is {grant.key.shown_ref} right?")
    return " ".join(word for word in words if word)


def _attempt(grant: Grant, verdict: Verdict[Any], seconds: float) -> Attempt:
    stage = grant.stage
    return Attempt(
        stage.provider.name,
        stage.model or "",
        grant.key.key_id,
        str(verdict.outcome),
        verdict.status,
        verdict.code,
        verdict.message,
        seconds,
        stage.upstream,
    )
