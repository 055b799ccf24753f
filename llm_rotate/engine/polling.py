"""Answers that a provider works on after it has taken the request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ..core.outcome import FAULTS, Blame, Outcome
from ..core.wire import HttpRequest, Ready, Verdict
from .run import Grant

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 15.0
GROWTH = 1.5
MOST_FAULTS = 5  # in a row; the work goes on meanwhile, so one says little

Poll = Callable[[Ready], HttpRequest]


async def until_done(
    verdict: Verdict[Any], ask: Callable[[Poll], Awaitable[Verdict[Any]]], grant: Grant
) -> Verdict[Any]:
    """Asks the key that took the request until its answer is there, or the deadline has come.
    Refusals and faults of single questions are borne: the answer is paid for.
    """
    poll, pause, faults = verdict.poll, FIRST_PAUSE_SECONDS, 0
    while poll is not None:
        if not await _slept(grant, max(pause, verdict.later_s or 0.0)):
            return Verdict(Outcome.TIMED_OUT, message="the answer was not ready by the deadline")
        verdict = await ask(poll)
        if verdict.outcome is Outcome.OK:
            poll, faults = verdict.poll, 0
        elif _is_final(verdict) or faults == MOST_FAULTS:
            break
        else:
            faults += 1
        pause = min(pause * GROWTH, LONGEST_PAUSE_SECONDS)
    return verdict


def _is_final(verdict: Verdict[Any]) -> bool:
    if verdict.status == 200:  # the answer itself is that it failed
        return True
    if verdict.outcome in (Outcome.RATE_LIMITED, Outcome.SECRET_MISSING):
        return False
    return FAULTS[verdict.outcome].blame is not Blame.PROVIDER


async def _slept(grant: Grant, seconds: float) -> bool:
    """Whether there was time for it."""
    limit = grant.limit_s
    await grant.clock.sleep(seconds if limit is None else max(0.0, min(seconds, limit)))
    return limit is None or limit > seconds
