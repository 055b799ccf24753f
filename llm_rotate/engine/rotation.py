"""THE loop: lease a key, do one attempt, judge, record, go on. Nothing else loops over keys."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from ..core.call import BACKOFF_LONGEST_SECONDS, NONE, Call, Visit
from ..core.keystate import KeyState
from ..core.limits import exceeded
from ..core.outcome import FAULTS, Effect, Next, Outcome
from ..core.pool import FREE, LEASE_SECONDS, Lease
from ..core.wire import Verdict
from ..errors import CapabilityError
from ..types import Attempt
from . import endings
from .clock import Clock
from .credentials import has_new_secret
from .judge import Judge
from .queue import Place, Queue
from .revival import Revival
from .run import Exchange, Grant, Plan, Run
from .stages import Stage
from .transport.seam import Withdrawn

WIDE_WINDOW = 8
# What a call without a limit to its waiting waits for in any case.
PATIENCE_SECONDS = 60.0
# A standstill is told of, but not by every call that it meets.
QUIET_SECONDS = 5.0
HOPELESS = frozenset({Effect.QUARANTINE, Effect.STRIKE})


class Rotation:
    """Runs calls over the stages of their plans. The one owner of retries."""

    def __init__(self, judge: Judge, revival: Revival, clock: Clock, rng: random.Random) -> None:
        self._judge = judge
        self._revival = revival
        self._store = judge.store
        self._herald = judge.herald
        self._clock = clock
        self._rng = rng
        self._ids = itertools.count(1)
        self._quiet_until = -math.inf

    async def run(self, plan: Plan, exchange: Exchange) -> tuple[Verdict[Any], Run]:
        """The verdict of the attempt that ended the call well; otherwise raises."""
        call = Call(len(plan.stages), plan.max_retries)
        run = Run(next(self._ids), plan, call, self._clock.now())
        try:
            if self._revival.is_due:
                await self._revival.look()
            if plan.stages[0].queue.places:
                await self._behind(run, exchange)
            while True:
                epochs = self._judge.bell.epoch, self._judge.room.epoch
                for stage, visit in zip(plan.stages, call.visits, strict=True):
                    verdict = await self._visit(run, stage, visit, exchange)
                    if verdict is not None:
                        return verdict, run
                await self._before_next_pass(run, epochs)
                call.begin_pass()
        except BaseException as error:
            self._leave_queue(run)
            self._judge.call_failed(run, error)
            raise

    async def _visit(
        self, run: Run, stage: Stage, visit: Visit, exchange: Exchange
    ) -> Verdict[Any] | None:
        """Attempts at one stage until an answer, or None when the stage is left."""
        if not self._can_carry(run, stage, visit, exchange):
            return None
        if stage.is_limited and visit.cost is None:
            self._measure(stage, visit, exchange)
        while run.call.is_open(visit):
            grant = await self._lease(run, stage, visit)
            if grant is None:
                break
            verdict = await self._attempt(grant, exchange)
            if verdict is None:
                continue
            index = grant.lease.candidate.index
            match FAULTS[verdict.outcome].call:
                case Next.RETURN:
                    return verdict
                case Next.ROTATE:
                    too_large = verdict.outcome is Outcome.TOO_LARGE_FOR_KEY
                    run.call.refused(visit, index, too_large)
                case Next.RETRY:
                    self._heed(run, visit, verdict.later_s)
                    if not (run.call.faulted(visit, index) and await self._back_off(run, visit)):
                        break
                case _:
                    raise endings.provider_error(run)
        self._herald.stage_left(run, stage)
        return None

    def _can_carry(self, run: Run, stage: Stage, visit: Visit, exchange: Exchange) -> bool:
        if visit.is_early(self._clock.now()) or not run.call.is_open(visit):
            return False
        try:
            exchange.prepare(stage)
        except CapabilityError as error:
            visit.is_closed = True
            run.refusals.append(str(error))
            skipped = Attempt(
                stage.provider.name, stage.model or "", None, "skipped", message=str(error)
            )
            run.call.attempts.append(skipped)
            return False
        return True

    async def _lease(self, run: Run, stage: Stage, visit: Visit) -> Grant | None:
        excluded = run.call.excluded(visit)
        untried = excluded | visit.faulted if visit.faulted else excluded
        lease = await self._admit(run, stage, visit, untried)
        if lease is None and visit.faulted:
            visit.faulted = NONE
            lease = await self._admit(run, stage, visit, excluded)
        if lease is None:
            return None
        if run.place is not None:
            self._leave_queue(run)
        return self._grant(run, stage, visit, lease)

    async def _admit(
        self, run: Run, stage: Stage, visit: Visit, skip: AbstractSet[int]
    ) -> Lease | None:
        is_waiting = run.place is not None
        size, asked, cost = WIDE_WINDOW if is_waiting else 1, 0, visit.cost or FREE
        while True:
            now, epoch = self._clock.now(), stage.epoch
            patience = self._latest(run, now) - now if is_waiting else 0.0
            endings.check_deadline(run, now)
            candidates = stage.window(now, size, skip, run.plan.affinity)
            if not candidates and stage.full:
                # Put aside because others were turned away: this call hears its own time.
                candidates = stage.put_aside(now, WIDE_WINDOW - asked, skip)
                asked += len(candidates)
            if not candidates:
                return None
            answer = await self._store.admit(candidates, now, cost, patience)
            if isinstance(answer, Lease):
                stage.charge(answer.candidate.index)
                return answer
            stage.blocked(answer.blocked, epoch)
            skip = skip | visit.turned_away(answer.blocked)
            size = WIDE_WINDOW

    def _grant(self, run: Run, stage: Stage, visit: Visit, lease: Lease) -> Grant:
        key = stage.keys[lease.candidate.index]
        clock = self._clock
        return Grant(stage, visit, lease, key, run, self._store, clock, clock.now())

    async def _attempt(self, grant: Grant, exchange: Exchange) -> Verdict[Any] | None:
        """One attempt, judged and recorded. None: the key went to rest before the write."""
        try:
            self._judge.lent(grant)
            verdict = await exchange(grant)
            if verdict.outcome is Outcome.AUTH_FAILED and await has_new_secret(grant):
                self._judge.outdated(grant, verdict)
                verdict = await exchange(grant)
        except Withdrawn:
            self._judge.withdrawn(grant)
            return None
        except BaseException as error:
            self._judge.report(grant, Verdict(Outcome.CANCELLED, error=error))
            raise
        run = grant.run
        run.last_grant = grant
        run.call.count(grant.visit, grant.lease.candidate.index)
        if verdict.held:
            return verdict
        if verdict.outcome is Outcome.TIMED_OUT and self._clock.now() >= run.plan.deadline:
            verdict.outcome = Outcome.CANCELLED
        self._judge.report(grant, verdict)
        if verdict.outcome is not Outcome.OK:
            run.last = verdict
            endings.check_deadline(run, self._clock.now(), verdict.error)
        return verdict

    def _heed(self, run: Run, visit: Visit, stated_s: float | None) -> None:
        """A time stated with a fault replaces the back-off; one too long ends the stage."""
        if stated_s is None:
            visit.not_before = None
            return
        visit.not_before = self._clock.now() + stated_s
        if stated_s > BACKOFF_LONGEST_SECONDS or visit.not_before >= run.plan.deadline:
            visit.is_closed = True

    async def _back_off(self, run: Run, visit: Visit) -> bool:
        """Sleeps before a retry. False: the stage is over, or the deadline would pass first."""
        if visit.is_closed:
            return False
        now = self._clock.now()
        if visit.not_before is None:
            seconds = self._rng.uniform(0.0, run.call.backoff_limit())
        else:
            seconds = max(0.0, visit.not_before - now)
        if now + seconds >= run.plan.deadline:
            return False
        self._herald.waiting(run, seconds)
        await self._clock.sleep(seconds)
        return True

    # -- waiting

    def _measure(self, stage: Stage, visit: Visit, exchange: Exchange) -> None:
        """What the request takes of the stage's limits, and whom it is too large for."""
        visit.units, most = exchange.size(stage)
        visit.cost = cost = self._judge.cost(stage, visit.units, most)
        if exceeded(stage.smallest, cost):
            for index in range(len(stage.keys)):
                if any(exceeded(spec, cost) for spec in stage.candidate(index).buckets):
                    visit.bar(index)

    def _leave_queue(self, run: Run) -> None:
        if run.place is not None:
            run.plan.stages[0].queue.leave(run.place)
            run.place = None

    async def _behind(self, run: Run, exchange: Exchange) -> None:
        """Calls of the same route wait for room: a new one joins behind them."""
        for stage, visit in zip(run.plan.stages, run.call.visits, strict=True):
            self._measure(stage, visit, exchange)
        if endings.is_too_large(run):
            raise endings.over(run, self._judge)
        await self._wait(run, 0.0, (self._judge.bell.epoch, self._judge.room.epoch))

    async def _wait(self, run: Run, seconds: float, epochs: tuple[int, int]) -> None:
        """Until the earliest key may go; in the queue where the route has limits. ``epochs``:
        of the two bells, before the call last looked.
        """
        began, plan = self._clock.now(), run.plan
        if not any(stage.is_limited for stage in plan.stages):
            self._tell(run, seconds)
            await self._judge.bell.wait(self._clock, seconds, epochs[0])
        else:
            queue = plan.stages[0].queue
            if run.place is None:
                run.place = queue.join(run.id, run.call.visits[0].cost or FREE)
            if queue.is_first(run.place):
                queue.free_at = 0.0 if run.is_hoping else run.earliest
                self._tell(run, seconds)
                if seconds <= LEASE_SECONDS:  # so long it is kept for the call
                    seconds = min(seconds, self._store.looks_again_s)
                await self._judge.room.wait(self._clock, seconds, epochs[1])
            else:
                await self._wait_for_turn(run, queue, run.place)
        run.waited_s += self._clock.now() - began

    def _tell(self, run: Run, seconds: float) -> None:
        """Listeners hear of every wait; the log of a long one, once from each call."""
        self._herald.waiting(run, seconds)
        now = self._clock.now()
        if seconds <= endings.LONG_REST_SECONDS or now < max(self._quiet_until, run.told_until):
            return
        if (told := endings.long_wait(run, self._judge, seconds)) is not None:
            self._quiet_until = now + QUIET_SECONDS
            run.told_until = now + seconds
            self._herald.warn(told)

    async def _wait_for_turn(self, run: Run, queue: Queue, place: Place) -> None:
        now = self._clock.now()
        latest = self._latest(run, now)
        run.earliest = queue.foreseen(place, now, _pace(run.plan.stages))
        if run.earliest > latest or now >= latest:
            raise endings.over(run, self._judge)
        self._herald.waiting(run, run.earliest - now)
        if not await queue.turn(place, self._clock, latest - now):
            raise endings.over(run, self._judge)

    def _latest(self, run: Run, now: float) -> float:
        return min(now + run.plan.max_wait_s - run.waited_s, run.plan.deadline)

    async def _before_next_pass(self, run: Run, epochs: tuple[int, int]) -> None:
        """Backs off, or waits for the earliest key; raises when neither is to be."""
        call = run.call
        if run.refusals and not call.sent_in_pass and all(v.is_closed for v in call.visits):
            raise endings.cannot_carry(run)
        now = self._clock.now()
        left_early = [v for v in call.visits if call.is_open(v) and (v.faults or v.is_early(now))]
        if left_early and call.may_retry:
            if await self._back_off(run, min(left_early, key=lambda v: v.not_before or 0.0)):
                return
            raise endings.over(run, self._judge)
        if endings.is_too_large(run):
            raise endings.over(run, self._judge)
        seconds = self._wait_seconds(run)
        if seconds != 0.0 and await self._store.catch_up():
            seconds = self._wait_seconds(run)
        if seconds is None:
            raise endings.over(run, self._judge)
        if seconds > 0.0:
            await self._wait(run, seconds, epochs)

    def _wait_seconds(self, run: Run) -> float | None:
        """How long until a key may go, if that is allowed. None: not within the limits."""
        now = self._clock.now()
        latest = self._latest(run, now)
        earliest, run.is_hoping = math.inf, False
        for stage, visit in zip(run.plan.stages, run.call.visits, strict=True):
            if not run.call.is_open(visit):
                continue
            skip = run.call.excluded_next(visit)
            full = [each for i, each in (visit.full or {}).items() if i not in skip]
            is_trying = stage.is_trying(skip) or any(each.is_trial for each in full)
            earliest = min([earliest, *(each.until for each in full)])
            earliest = min(earliest, stage.earliest(now, skip | (visit.full or {}).keys()))
            if is_trying and now < latest:
                run.is_hoping = True
                earliest = min(earliest, latest, now + self._store.looks_again_s)
        if latest == math.inf and now + PATIENCE_SECONDS < earliest < math.inf:
            earliest = self._mended_at(run, now)
        run.earliest = earliest
        if earliest > latest or earliest == math.inf:
            return None
        return max(0.0, earliest - now)

    def _mended_at(self, run: Run, now: float) -> float:
        """When time brings a key back. A call that waits without limit does not wait for one
        whose secret or permission is wrong: that it may be tried again later mends nothing.
        """
        found = math.inf
        for stage, visit in zip(run.plan.stages, run.call.visits, strict=True):
            skip = run.call.excluded_next(visit)
            for index in range(len(stage.keys)) if run.call.is_open(visit) else ():
                states = map(self._store.state, stage.candidate(index).subjects)
                rests = [state for state in states if state.resting_at(now)]
                if index not in skip and not any(map(_is_hopeless, rests)):
                    full = stage.fullness(index, (visit.full or {}).get(index), now)
                    ends = [state.until for state in rests] + ([full.until] if full else [])
                    found = min(found, max(ends, default=now))
        return found


def _is_hopeless(state: KeyState) -> bool:
    """A wrong secret or permission; money that was still used up when it was asked for again."""
    if state.outcome is Outcome.QUOTA_EXHAUSTED:
        return state.failed_trials > 0
    return state.outcome is not None and FAULTS[state.outcome].effect in HOPELESS


def _pace(stages: Sequence[Stage]) -> tuple[float, float]:
    """Requests and tokens a second that a route serves."""
    paces = [stage.pace for stage in stages]
    return sum(requests for requests, _ in paces), sum(tokens for _, tokens in paces)
