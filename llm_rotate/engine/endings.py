"""How a call ends badly: the exceptions, each saying which key, what happened, what to do."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..core.keystate import KeyState, Kind
from ..core.outcome import FAULTS, Outcome
from ..core.pool import Candidate
from ..errors import (
    CapabilityError,
    DeadlineError,
    LMRotateError,
    NoAvailableKeyError,
    ProviderError,
)
from .judge import Judge
from .run import Run

LISTED_KEYS = 10

ADVICE: Mapping[Outcome, str] = {
    Outcome.BAD_REQUEST: "The request is at fault: no key was punished, no other was tried.",
    Outcome.CONTENT_FILTERED: "The provider's policy refused the request; no key was punished.",
    Outcome.AUTH_FAILED: "Check the key's secret_ref, or `llm-rotate keys check`.",
    Outcome.TOO_LARGE_FOR_KEY: "Shorten the request, or add a key with a larger limit.",
    Outcome.TIMED_OUT: "Raise the provider's timeouts, or give it a fallback chain.",
    Outcome.UNREACHABLE: "Check base_url, the network and any proxy.",
    Outcome.OVERLOADED: "Raise max_retries, or give the provider a fallback chain.",
    Outcome.SERVER_ERROR: "Raise max_retries, or give the provider a fallback chain.",
}


def check_deadline(run: Run, now: float, cause: BaseException | None = None) -> None:
    """Raises DeadlineError once the call's deadline has passed."""
    if now >= run.plan.deadline:
        raise deadline_error(run, cause)


def deadline_error(run: Run, cause: BaseException | None) -> DeadlineError:
    """``timeout=`` has passed."""
    seconds = run.plan.deadline - run.started
    error = DeadlineError(
        f"'{run.plan.asked}' was not answered within timeout={seconds:g} s "
        f"({len(run.call.attempts)} attempts). Nobody was blamed."
    )
    error.attempts = tuple(run.call.attempts)
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
        f"{said or str(verdict.outcome)}: {verdict.message or 'no message'} "
        f"{ADVICE.get(verdict.outcome, '')}"
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
        attempts=tuple(run.call.attempts),
    )
    error.__cause__ = verdict.error
    return error


def cannot_carry(run: Run) -> CapabilityError:
    """No stage's dialect can carry the request."""
    return CapabilityError("; ".join(dict.fromkeys(run.refusals)))


def over(run: Run, judge: Judge) -> LMRotateError:
    """The passes are over: retries used up, or no key left."""
    outcomes = {attempt.outcome for attempt in run.call.attempts}
    too_large = outcomes == {str(Outcome.TOO_LARGE_FOR_KEY)}
    if run.call.ends_with_fault or too_large:
        return provider_error(run)
    error = no_key(run, judge)
    if run.last is not None:
        error.__cause__ = provider_error(run)
    return error


def no_key(run: Run, judge: Judge) -> NoAvailableKeyError:
    """Every key that could serve rests: until when, and why each."""
    now = judge.now()
    reasons, earliest, first = _reasons(run, judge, now)
    providers = ", ".join(dict.fromkeys(stage.provider.name for stage in run.plan.stages))
    back = f"; the first is back in {earliest - now:.0f} s ({first})" if first else ""
    lines = [
        f"no key of {providers} can serve '{run.plan.asked}' now{back}.",
        *(f"  {key_id}  {why}" for key_id, why in list(reasons.items())[:LISTED_KEYS]),
    ]
    if len(reasons) > LISTED_KEYS:
        lines.append(f"  and {len(reasons) - LISTED_KEYS} more keys")
    lines.append(_advice(run, earliest - now))
    at = judge.wall_at(earliest) if earliest < math.inf else None
    return NoAvailableKeyError(
        "\n".join(lines),
        earliest_retry_at=at,
        reasons=reasons,
        attempts=tuple(run.call.attempts),
    )


def _reasons(run: Run, judge: Judge, now: float) -> tuple[dict[str, str], float, str]:
    reasons: dict[str, str] = {}
    earliest, first = math.inf, ""
    for stage in run.plan.stages:
        for each in stage.candidates:
            until, why = _why(each, judge, now)
            reasons[each.key_id] = why
            if now < until < earliest:
                earliest, first = until, each.key_id
    return reasons, earliest, first


def _why(candidate: Candidate, judge: Judge, now: float) -> tuple[float, str]:
    states = [(judge.store.state(subject), subject) for subject in candidate.subjects]
    resting = [pair for pair in states if pair[0].resting_at(now)]
    if resting:
        state, subject = max(resting, key=lambda pair: pair[0].until)
        return state.until, describe(state, now, subject)
    if any(state.kind_at(now) is Kind.PROBATION for state, _ in states):
        return now, "probation: another call is trying it"
    return now, "refused this request"


def describe(state: KeyState, now: float, subject: str = "") -> str:
    """A resting state in words: what, how long, why."""
    whose = "its provider rests: " if subject.startswith("provider:") else ""
    if state.kind is Kind.DISABLED:
        return f"{whose}disabled until it is enabled: {state.reason}"
    return f"{whose}{state.kind} {max(0.0, state.until - now):.0f} s more: {state.reason}"


def _advice(run: Run, seconds: float) -> str:
    wait = f"Pass max_wait_seconds={math.ceil(seconds) + 1} to wait, " if seconds < 3600 else ""
    provider = run.plan.stages[0].provider.name
    chain = f", or give '{provider}' a fallback chain" if len(run.plan.stages) == 1 else ""
    advice = f"{wait}add a key{chain}."
    return f"  {advice[0].upper()}{advice[1:]}"
