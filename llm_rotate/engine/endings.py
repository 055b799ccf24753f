"""How a call ends badly: the exceptions, each saying which key, what happened, what to do."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from ..core.call import Visit
from ..core.keystate import KeyState, Kind
from ..core.limits import exceeded
from ..core.outcome import FAULTS, Outcome
from ..core.pool import FREE
from ..errors import (
    CapabilityError,
    DeadlineError,
    LMRotateError,
    NoAvailableKeyError,
    ProviderError,
    RequestTooLargeError,
)
from ..types import Attempt
from .judge import Judge
from .run import Run
from .stages import Stage

LISTED_KEYS = 10
# Seconds that a wait is longer than if it is to be told of: rests are news, limits are expected.
LONG_REST_SECONDS = 5.0
LONG_QUEUE_SECONDS = 90.0

ADVICE: Mapping[Outcome, str] = {
    Outcome.BAD_REQUEST: "The request is at fault: no key was punished, no other was tried.",
    Outcome.CONTENT_FILTERED: "The provider's policy refused the request; no key was punished.",
    Outcome.AUTH_FAILED: "Check the key's secret_ref, or `llm-rotate keys check`.",
    Outcome.TOO_LARGE_FOR_KEY: "Shorten the request, or add a key with a larger limit.",
    Outcome.TIMED_OUT: "Raise the timeouts{chain}.",
    Outcome.UNREACHABLE: "Check base_url, the network and any proxy.",
    Outcome.OVERLOADED: "Raise max_retries{chain}.",
    Outcome.SERVER_ERROR: "Raise max_retries{chain}.",
}
CHAIN = ", or let a fallback chain lead to another provider"
# Where every key rests for these, waiting alone mends nothing. {model}: as the caller named it.
MENDS: Mapping[Outcome, str] = {
    Outcome.MODEL_NOT_FOUND: "Check the model's name ({model!r}).",
    Outcome.AUTH_FAILED: "Mend the secret: `llm-rotate keys check` tries each key.",
    Outcome.SECRET_MISSING: "Give the keys their secrets: set what their secret_ref names, "
    "or change it.",
    Outcome.QUOTA_EXHAUSTED: "See the provider's billing, or add a key of another account.",
    Outcome.FORBIDDEN: "Let the key's account use {model!r}, or add a key that may.",
}


def check_deadline(run: Run, now: float, cause: BaseException | None = None) -> None:
    """Raises DeadlineError once the call's deadline has passed."""
    if now >= run.plan.deadline:
        raise deadline_error(run, cause)


def deadline_error(run: Run, cause: BaseException | None, text: str = "") -> DeadlineError:
    """``timeout=`` has passed; ``text``: what of the answer was handed out before."""
    done = f"answered to its end ({len(text)} characters had come)" if text else "answered"
    count = len(run.call.attempts)
    error = DeadlineError(
        f"'{run.plan.asked}' was not {done} within timeout={run.plan.timeout_s:g} s "
        f"({count} attempt{'' if count == 1 else 's'}). Nobody was blamed."
    )
    error.text = text
    error.__cause__ = cause
    return error


def provider_error(run: Run) -> LMRotateError:
    """The last attempt's failure as the exception of its row."""
    verdict, grant = run.last, run.last_grant
    if verdict is None or grant is None:
        return NoAvailableKeyError(f"no key was tried for '{run.plan.asked}'")
    row = FAULTS[verdict.outcome].error
    kind: type[ProviderError] = row if issubclass(row, ProviderError) else ProviderError
    said = " ".join(str(word) for word in (verdict.status, verdict.code) if word)
    text = (
        f"{grant.stage.provider.name} ({grant.key.key_id}, '{grant.stage.model}') "
        f"{said or str(verdict.outcome)}: {_sentence(verdict.message or 'no message')} "
        f"{_tried(run.call.attempts)}{_further(run, verdict.outcome)}"
    )
    error = kind(
        text.strip(),
        outcome=str(verdict.outcome),
        status=verdict.status,
        code=verdict.code,
        provider=grant.stage.provider.name,
        model=grant.stage.model,
        key_id=grant.key.key_id,
        request_id=verdict.request_id,
        body=verdict.body,
        retry_after_seconds=verdict.later_s,
    )
    error.__cause__ = verdict.error
    return error


def _further(run: Run, outcome: Outcome) -> str:
    return ADVICE.get(outcome, "").format(chain=CHAIN if run.plan.takes_chains else "")


def _sentence(words: str) -> str:
    return words if words.endswith((".", "!", "?")) else f"{words}."


def _tried(attempts: Sequence[Attempt]) -> str:
    """What else was tried: a chain's last provider is not the whole story."""
    if len(attempts) < 2:
        return ""
    counts = Counter(f"{attempt.provider} {attempt.outcome}" for attempt in attempts)
    told = ", ".join(f"{what} x{count}" for what, count in counts.items())
    return f"{len(attempts)} attempts: {told}. "


def cannot_carry(run: Run) -> CapabilityError:
    """No stage's dialect can carry the request."""
    return CapabilityError("; ".join(dict.fromkeys(run.refusals)))


def over(run: Run, judge: Judge) -> LMRotateError:
    """The passes are over: retries used up, or no key left."""
    outcomes = {attempt.outcome for attempt in run.call.attempts}
    too_large = outcomes == {str(Outcome.TOO_LARGE_FOR_KEY)}
    if run.call.ends_with_fault or too_large:
        return provider_error(run)
    if not outcomes and is_too_large(run):
        return _too_large(run)
    error = no_key(run, judge)
    if run.last is not None:
        error.__cause__ = provider_error(run)
    return error


def is_too_large(run: Run) -> bool:
    """Whether no key of any stage can ever hold the request."""
    pairs = zip(run.plan.stages, run.call.visits, strict=True)
    return all(visit.is_closed or len(visit.barred) == len(stage.keys) for stage, visit in pairs)


def _too_large(run: Run) -> RequestTooLargeError:
    """Nothing was sent: the limits that the configuration states cannot hold the request."""
    stage, cost = run.plan.stages[0], run.call.visits[0].cost or FREE
    most = stage.candidate(0).buckets
    limit = next((name for spec in most if (name := exceeded(spec, cost))), "limit")
    return RequestTooLargeError(
        f"'{run.plan.asked}': the request is estimated at {cost.input} tokens of prompt and "
        f"{cost.output} of answer, more than any key's limit holds ({stage.keys[0].key_id}: "
        f"{limit}). Nothing was sent. {ADVICE[Outcome.TOO_LARGE_FOR_KEY]}",
        outcome=str(Outcome.TOO_LARGE_FOR_KEY),
        provider=stage.provider.name,
        model=stage.model,
    )


def no_key(run: Run, judge: Judge) -> NoAvailableKeyError:
    """Every key that could serve rests: until when, and why each."""
    now = judge.now()
    found = _in_the_way(run, judge, now)
    reasons = {each.key_id: each.why for each in found}
    first = min(found, key=lambda each: each.until)
    is_back = now < first.until < math.inf
    back = f"; the first is back in {first.until - now:.0f} s ({first.key_id})" if is_back else ""
    providers = ", ".join(dict.fromkeys(stage.provider.name for stage in run.plan.stages))
    lines = [
        f"no key of {providers} can serve {run.plan.asked!r} now{back}.",
        *(f"  {key_id}  {why}" for key_id, why in islice(reasons.items(), LISTED_KEYS)),
    ]
    if len(reasons) > LISTED_KEYS:
        lines.append(f"  and {len(reasons) - LISTED_KEYS} more keys")
    lines.append(f"  {_advice(run, found, now)}")
    return NoAvailableKeyError(
        "\n".join(lines),
        earliest_retry_at=judge.wall_at(first.until) if is_back else None,
        reasons=reasons,
    )


def long_wait(run: Run, judge: Judge, seconds: float) -> str | None:
    """What is to be told of a wait that begins: which keys, why, how long. None for a short one."""
    found = [each for each in _in_the_way(run, judge, judge.now()) if each.until < math.inf]
    is_usual = any(each.is_full for each in found)
    if not found or seconds <= (LONG_QUEUE_SECONDS if is_usual else LONG_REST_SECONDS):
        return None
    told = [f"{each.key_id} {each.why}" for each in found[:LISTED_KEYS]]
    if len(found) > LISTED_KEYS:
        told.append(f"and {len(found) - LISTED_KEYS} more keys")
    return f"{run.plan.asked!r} waits {seconds:.0f} s for a key: {'; '.join(told)}"


@dataclass(frozen=True, slots=True)
class _Obstacle:
    """Why a key cannot serve; ``until``: inf when time alone does not end it."""

    key_id: str
    until: float
    why: str
    is_disabled: bool = False
    mend: str | None = None
    is_full: bool = False


def _in_the_way(run: Run, judge: Judge, now: float) -> list[_Obstacle]:
    pairs = zip(run.plan.stages, run.call.visits, strict=True)
    return [each for pair in pairs for each in _obstacles(*pair, run, judge, now)]


def _obstacles(stage: Stage, visit: Visit, run: Run, judge: Judge, now: float) -> list[_Obstacle]:
    state, found = judge.store.state, []
    for index, key in enumerate(stage.keys):
        states = [(state(subject), subject) for subject in stage.candidate(index).subjects]
        rests = [pair for pair in states if pair[0].resting_at(now)]
        if rests:
            worst, subject = max(rests, key=lambda pair: pair[0].until)
            disabled = worst.kind is Kind.DISABLED
            why = describe(worst, now, subject)
            mend = MENDS.get(worst.outcome or Outcome.OK)
            found.append(_Obstacle(key.key_id, worst.until, why, disabled, mend))
        elif index in visit.barred:
            found.append(_Obstacle(key.key_id, math.inf, "the request is larger than its limit"))
        elif (full := stage.fullness(index, (visit.full or {}).get(index), now)) is not None:
            why = f"full {full.until - now:.0f} s more: {full.why}"
            found.append(_Obstacle(key.key_id, full.until, why, is_full=True))
        elif index in visit.refused or index in visit.earlier:
            found.append(_Obstacle(key.key_id, math.inf, "failed in this call"))
        elif any(each.kind_at(now) is Kind.PROBATION for each, _ in states):
            found.append(_Obstacle(key.key_id, math.inf, "probation: another call is trying it"))
        else:
            why = "not tried" if run.call.may_retry else "not tried: no retry was left"
            found.append(_Obstacle(key.key_id, math.inf, why))
    return found


def describe(state: KeyState, now: float, subject: str = "") -> str:
    """A resting state in words: what, how long, why."""
    whose = "its provider rests: " if subject.startswith("provider:") else ""
    if state.kind is Kind.DISABLED:
        return f"{whose}disabled until it is enabled: {state.reason}"
    return f"{whose}{state.kind} {max(0.0, state.until - now):.0f} s more: {state.reason}"


def _advice(run: Run, found: Sequence[_Obstacle], now: float) -> str:
    """What would have helped, by what stood in the way."""
    if all(each.mend for each in found):
        return _mends(run, found)
    plan, until = run.plan, _worth_waiting(run, found)
    steps, seconds = [], until - now
    if until > plan.deadline and seconds < math.inf:
        steps.append(f"pass a timeout over {seconds:.0f} s")
    elif plan.max_wait_s - run.waited_s < seconds < 3600:
        steps.append(f"pass max_wait_seconds={math.ceil(seconds + run.waited_s) + 1} to wait")
    elif run.call.attempts and not run.call.may_retry:
        steps.append(f"raise max_retries (it is {run.call.max_retries})")
    if (disabled := _disabled(found)) is not None:
        steps.append(f"mend a disabled key and call lm.keys.enable('{disabled}')")
    steps.append("add a key")
    if plan.takes_chains and plan.is_pinned:
        steps.append("leave provider= out, so that a fallback chain applies")
    elif plan.takes_chains and len(plan.stages) == 1:
        steps.append(f"give '{plan.stages[0].provider.name}' a fallback chain")
    advice = ", ".join(steps[:-1]) + (", or " if len(steps) > 1 else "") + steps[-1] + "."
    return advice[0].upper() + advice[1:]


def _mends(run: Run, found: Sequence[_Obstacle]) -> str:
    """What the provider said last, and what there is to mend."""
    mends = dict.fromkeys(each.mend for each in found if each.mend)
    words = [mend.format(model=run.plan.asked) for mend in mends]
    if (disabled := _disabled(found)) is not None:
        words.append(f"Then call lm.keys.enable('{disabled}').")
    return _said(run) + " ".join(words)


def _said(run: Run) -> str:
    """The last answer's own words, as a line."""
    verdict, grant = run.last, run.last_grant
    if verdict is None or grant is None or verdict.status is None or not verdict.message:
        return ""
    return f"{grant.stage.provider.name} said: {_sentence(verdict.message)}\n  "


def _disabled(found: Sequence[_Obstacle]) -> str | None:
    return next((each.key_id for each in found if each.is_disabled), None)


def _worth_waiting(run: Run, found: Sequence[_Obstacle]) -> float:
    """When the first key is back that needs no mending; inf where time brings none."""
    ends = [each.until for each in found if not each.mend]
    return run.earliest if len(ends) == len(found) else min(ends, default=math.inf)
