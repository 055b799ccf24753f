"""From a verdict to what follows: states, counts, records, events. Never awaits or raises."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from ..core.bucket import Tokens
from ..core.estimate import Estimator
from ..core.keystate import Change
from ..core.learned import Reading, of_scope
from ..core.limits import owed
from ..core.outcome import FAULTS, Blame, Effect, Fault, Outcome
from ..core.pool import RENEW_SECONDS, News, StateStore
from ..core.redact import redact, redact_all, shows
from ..core.structured import parsed
from ..core.wire import Response, Verdict
from ..errors import LMRotateError
from ..types import Attempt, ChatResponse, Usage
from .bell import Bell
from .clock import Clock
from .consequences import Consequences, cleared
from .herald import Herald
from .holders import Holders
from .ledger import Ledger, Price
from .run import Grant, Run
from .stages import Stage

LAST_MOMENT = 253_402_300_799.0  # 9999-12-31T23:59:59Z, in seconds since the epoch
R = TypeVar("R", bound=Response)


@dataclass(frozen=True, slots=True)
class Books:
    """What is kept beside the states. ``watch``: a bucket's name, whose limits nobody stated,
    is to be counted from now on.
    """

    ledger: Ledger
    estimator: Estimator
    price: Price
    holders: Holders
    watch: Callable[[str], None]


class Judge:
    """Keeps the books of all calls of one pool. ``bell`` wakes who waits for a rest to end,
    ``room`` who waits for room under a limit.
    """

    def __init__(self, store: StateStore, clock: Clock, books: Books, herald: Herald) -> None:
        self.store = store
        self.bell = Bell()
        self.room = Bell()
        self.books = books
        self.ledger = books.ledger
        self.herald = herald
        self.live: dict[str, Grant] = {}
        self._consequences = Consequences(store)
        self._clock = clock
        self._renewing: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()

    def now(self) -> float:
        """Monotonic seconds."""
        return self._clock.now()

    def wall_at(self, at: float) -> datetime:
        """The moment of a monotonic time, as an aware datetime; the last there is, if later."""
        seconds = self._clock.wall() + at - self._clock.now()
        return datetime.fromtimestamp(min(seconds, LAST_MOMENT), UTC)

    def wall(self) -> float:
        """Seconds since the epoch."""
        return self._clock.wall()

    def forget(self) -> None:
        """After a fork: the calls in flight are the parent's."""
        self.live.clear()
        self.bell.forget()
        self.room.forget()
        self._renewing = weakref.WeakSet()

    # -- a lease's life

    def lent(self, grant: Grant) -> None:
        """The grant's request is about to be sent."""
        self.live[grant.lease.id] = grant
        loop = asyncio.get_running_loop()
        if loop not in self._renewing:
            self._renewing.add(loop)
            self._clock.call_later(RENEW_SECONDS, partial(self._renew, loop))
        if self.herald.listeners:
            self.herald.attempt_started(grant)

    def withdrawn(self, grant: Grant) -> None:
        """Nothing was sent: all is given back."""
        now = self._clock.now()
        self._end(grant, (), now)
        self.herald.withdrawn(grant, now - grant.started)

    def outdated(self, grant: Grant, verdict: Verdict[Any]) -> None:
        """The secret that was refused is not the key's any more: nobody is to blame, and the
        attempt goes again with the new one.
        """
        _hide_secrets(grant, verdict)
        now = self._clock.now()
        seconds, grant.started = now - grant.started, now
        grant.run.call.attempts.append(_attempt(grant, verdict, seconds))
        if self.herald.listeners:
            self.herald.attempt_ended(grant, verdict, seconds)
            self.herald.attempt_started(grant)

    def decide(self, grant: Grant) -> None:
        """The status line, or a stream's first event, is good: the trial is won."""
        if grant.lease.trials:
            now = self._clock.now()
            self.store.decide(grant.lease, cleared(grant.lease, now), now)

    def report(self, grant: Grant, verdict: Verdict[Any]) -> None:
        """The attempt ended. Acts once per lease."""
        if grant.lease.is_settled:
            return
        now = self._clock.now()
        if verdict.outcome is not Outcome.OK:
            _hide_secrets(grant, verdict)
        if verdict.outcome is Outcome.AUTH_FAILED:
            grant.key.forget()
        fault = FAULTS[verdict.outcome]
        owed = self._owed(grant, verdict, fault) if grant.lease.candidate.buckets else None
        self._end(grant, self._consequences.of(grant, verdict, now), now, owed)
        if verdict.readings or (
            verdict.outcome is Outcome.RATE_LIMITED and verdict.later_s is None
        ):
            self.heed(grant, verdict.readings, now)
        self._count(grant, verdict, fault, now)
        if self.herald.listeners:
            self.herald.attempt_ended(grant, verdict, now - grant.started)

    def _end(
        self, grant: Grant, changes: Sequence[Change], now: float, owed: Tokens | None = None
    ) -> None:
        self.live.pop(grant.lease.id, None)
        grant.stage.ended(grant.lease.candidate.index)
        self.store.settle(grant.lease, changes, now, owed)

    def _owed(self, grant: Grant, verdict: Verdict[Any], fault: Fault) -> Tokens | None:
        """What the attempt took of its limits, by the usage if it came back."""
        usage, stage, used = verdict.used, grant.stage, None
        if usage is not None and usage.total_tokens:
            free = 0 if stage.provider.judging_dialect.counts_cached else usage.cached_tokens
            dollars = self._price(stage, usage) if stage.counts_dollars else 0.0
            used = Tokens(usage.prompt_tokens - free, usage.completion_tokens, dollars)
            self.books.estimator.note(stage.model or "", grant.visit.units, used)
        return owed(fault.billing, grant.lease.cost, used)

    def cost(self, stage: Stage, units: float, max_tokens: int | None) -> Tokens:
        """What a request is likely to take; ``units`` as the estimator measured its prompt."""
        cost = self.books.estimator.estimate(stage.model or "", units, max_tokens)
        if not stage.counts_dollars:
            return cost
        usage = Usage(cost.input, cost.output, cost.input + cost.output)
        return Tokens(cost.input, cost.output, self._price(stage, usage))

    def _price(self, stage: Stage, usage: Usage) -> float:
        return self.books.price(stage.provider.name, stage.model or "", usage) or 0.0

    def heed(self, grant: Grant, readings: Sequence[Reading], now: float) -> None:
        """An answer speaks of rate limits, or refuses for them without a word."""
        key = grant.key
        spec = key.quotas.told_of(key.key_id, grant.stage.model)
        buckets = grant.lease.candidate.buckets
        if not buckets or buckets[-1] is not spec:
            self.books.watch(spec.name)
        provider = grant.stage.provider
        if provider.header_scope != "auto":
            day_seconds = provider.resets(now)[0] - now
            readings = of_scope(readings, provider.header_scope, spec.window_seconds, day_seconds)
        self.store.learn(grant.lease, spec, readings, now)

    def _count(self, grant: Grant, verdict: Verdict[Any], fault: Fault, now: float) -> None:
        stage, seconds = grant.stage, now - grant.started
        index = grant.lease.candidate.index
        tally = stage.tallies.get(index)
        if tally is None:
            tally = self.ledger.tally(stage.provider.name, grant.key.key_id, stage.model)
            stage.tallies[index] = tally
        if fault.effect is Effect.CLEAR:
            self.ledger.answered(tally, verdict.used)
            first = grant.first_s if grant.first_s is not None else seconds
            stage.note(index, False, first, verdict.used.total_tokens if verdict.used else 0)
        elif fault.blame is not Blame.CALLER:
            self.ledger.failed(tally)
            if fault.blame is Blame.PROVIDER:
                stage.note(index, True, seconds)
        grant.run.call.attempts.append(_attempt(grant, verdict, seconds))

    # -- renewal: one timer in each loop while calls are in flight, for a loop may end before others

    def _renew(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self.live:
            self._renewing.discard(loop)
            return
        self.store.renew([grant.lease for grant in list(self.live.values())], self._clock.now())
        self._clock.call_later(RENEW_SECONDS, partial(self._renew, loop))

    # -- news

    def tell(self, news: Sequence[News], now: float) -> None:
        """The store changed: wakes who waits, tells who listens."""
        # Who waited for a trial's end looks again, also when the trial was lost.
        states = [each for each in news if not each.is_room]
        if any(each.until <= now or each.is_sooner or each.is_freed for each in states):
            self.bell.ring()
            self.room.ring()
        elif len(states) < len(news):
            self.room.ring()
        self.herald.states_changed(news)

    def call_failed(self, run: Run, error: BaseException) -> None:
        """The call ends with an exception."""
        if isinstance(error, LMRotateError):
            error.attempts = tuple(run.call.attempts)
        self.herald.call_ended(run, None, error)

    def call_left(self, run: Run) -> None:
        """The caller went away with the answer half read, or gave a lent key back."""
        self.herald.call_ended(run, None, None)

    def answered(self, run: Run, verdict: Verdict[R]) -> R:
        """The call ends well: its answer, with what the pool knows of it."""
        response, grant = verdict.value, run.last_grant
        if response is None or grant is None:
            raise AssertionError("an ok verdict carries its answer")
        if response.request_id is not None:
            response.request_id = redact(response.request_id, grant.sent_secret)
        response.provider = grant.stage.provider.name
        response.key_id = grant.key.spec.key_id
        response.upstream = response.upstream or grant.stage.upstream
        response.attempts = tuple(run.call.attempts)
        response.latency_ms = (self._clock.now() - run.started) * 1000.0
        if verdict.kept is not None:
            self.books.holders.note(verdict.kept, response.key_id)
        if isinstance(response, ChatResponse) and response.parsed is None:
            response.parsed = parsed(run.plan.response_format, response.content)
        self.herald.call_ended(run, response, None)
        return response


def _hide_secrets(grant: Grant, verdict: Verdict[Any]) -> None:
    secret = grant.sent_secret
    verdict.message = redact(verdict.message, secret)
    verdict.body = redact_all(verdict.body, secret)
    verdict.code = redact(verdict.code, secret) if verdict.code else None
    verdict.request_id = redact(verdict.request_id, secret) if verdict.request_id else None
    if verdict.error is not None and shows(verdict.error, secret):
        verdict.error = None


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
