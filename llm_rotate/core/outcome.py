"""How an attempt can end, and the fault table: whom that blames and what follows.

Blame decides: a key is punished for its own faults only. The table is data; the loop, the
health machine and the exceptions read it, and nothing else knows what an outcome means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from .. import errors


class Outcome(StrEnum):
    """How one attempt ended."""

    # Enum hashes in Python, three times per call; the string's own hash is as good.
    __hash__ = str.__hash__

    OK = "ok"
    RATE_LIMITED = "rate_limited"
    QUOTA_EXHAUSTED = "quota_exhausted"
    AUTH_FAILED = "auth_failed"
    FORBIDDEN = "forbidden"
    MODEL_NOT_FOUND = "model_not_found"
    BAD_REQUEST = "bad_request"
    CONTENT_FILTERED = "content_filtered"
    UPSTREAM_FAILED = "upstream_failed"
    SECRET_MISSING = "secret_missing"  # noqa: S105 - the name of an outcome
    TOO_LARGE_FOR_KEY = "too_large_for_key"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server_error"
    TIMED_OUT = "timed_out"
    UNREACHABLE = "unreachable"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"


class Blame(StrEnum):
    """Whose fault it is."""

    NOBODY = "nobody"
    KEY = "key"
    REQUEST = "request"
    PROVIDER = "provider"
    CALLER = "caller"


class Scope(StrEnum):
    """What rests. ``quota`` and ``quota_model`` are the quota group's where the key belongs to
    one, else the key's own.
    """

    NONE = "none"
    KEY = "key"
    KEY_MODEL = "key_model"
    QUOTA = "quota"
    QUOTA_MODEL = "quota_model"
    ROUTE = "route"
    LOCAL = "local"


class Effect(StrEnum):
    """What happens to the scope's state.

    cooldown: COOLDOWN until the stated time, else cooldown_seconds. exhaust: QUARANTINE until
    the stated time, else quarantine_seconds. quarantine: for quarantine_seconds whatever is
    stated. strike: the same, and DISABLED after max_consecutive_failures of them in a row.
    """

    NONE = "none"
    CLEAR = "clear"
    COOLDOWN = "cooldown"
    EXHAUST = "exhaust"
    QUARANTINE = "quarantine"
    STRIKE = "strike"


class Next(StrEnum):
    """What the call does."""

    RETURN = "return"
    RAISE = "raise"
    ROTATE = "rotate"
    RETRY = "retry"
    PROPAGATE = "propagate"


class Billing(StrEnum):
    """What became of the reservation."""

    USED = "used"
    REFUSED = "refused"
    UNSENT = "unsent"
    PERHAPS = "perhaps"


@dataclass(frozen=True, slots=True)
class Fault:
    """One row; ``error`` is what is raised when the outcome ends a call."""

    blame: Blame
    scope: Scope
    effect: Effect
    call: Next
    billing: Billing
    error: type[errors.LMRotateError]


FAULTS: Mapping[Outcome, Fault] = {
    Outcome.OK: Fault(
        Blame.NOBODY, Scope.NONE, Effect.CLEAR, Next.RETURN, Billing.USED, errors.LMRotateError
    ),
    Outcome.RATE_LIMITED: Fault(
        Blame.KEY,
        Scope.QUOTA_MODEL,
        Effect.COOLDOWN,
        Next.ROTATE,
        Billing.REFUSED,
        errors.RateLimitedError,
    ),
    Outcome.QUOTA_EXHAUSTED: Fault(
        Blame.KEY,
        Scope.QUOTA,
        Effect.EXHAUST,
        Next.ROTATE,
        Billing.REFUSED,
        errors.QuotaExhaustedError,
    ),
    Outcome.AUTH_FAILED: Fault(
        Blame.KEY,
        Scope.KEY,
        Effect.STRIKE,
        Next.ROTATE,
        Billing.REFUSED,
        errors.AuthenticationError,
    ),
    Outcome.FORBIDDEN: Fault(
        Blame.KEY,
        Scope.KEY_MODEL,
        Effect.QUARANTINE,
        Next.ROTATE,
        Billing.REFUSED,
        errors.ForbiddenError,
    ),
    Outcome.MODEL_NOT_FOUND: Fault(
        Blame.KEY,
        Scope.KEY_MODEL,
        Effect.QUARANTINE,
        Next.ROTATE,
        Billing.REFUSED,
        errors.ModelNotFoundError,
    ),
    Outcome.BAD_REQUEST: Fault(
        Blame.REQUEST,
        Scope.NONE,
        Effect.NONE,
        Next.RAISE,
        Billing.REFUSED,
        errors.BadRequestError,
    ),
    Outcome.CONTENT_FILTERED: Fault(
        Blame.REQUEST,
        Scope.NONE,
        Effect.NONE,
        Next.RAISE,
        Billing.REFUSED,
        errors.ContentFilteredError,
    ),
    Outcome.UPSTREAM_FAILED: Fault(
        Blame.KEY,
        Scope.ROUTE,
        Effect.COOLDOWN,
        Next.ROTATE,
        Billing.REFUSED,
        errors.UpstreamFailedError,
    ),
    Outcome.SECRET_MISSING: Fault(
        Blame.KEY,
        Scope.LOCAL,
        Effect.QUARANTINE,
        Next.ROTATE,
        Billing.UNSENT,
        errors.SecretMissingError,
    ),
    Outcome.TOO_LARGE_FOR_KEY: Fault(
        Blame.REQUEST,
        Scope.NONE,
        Effect.NONE,
        Next.ROTATE,
        Billing.REFUSED,
        errors.RequestTooLargeError,
    ),
    Outcome.OVERLOADED: Fault(
        Blame.PROVIDER,
        Scope.NONE,
        Effect.NONE,
        Next.RETRY,
        Billing.REFUSED,
        errors.OverloadedError,
    ),
    Outcome.SERVER_ERROR: Fault(
        Blame.PROVIDER, Scope.NONE, Effect.NONE, Next.RETRY, Billing.PERHAPS, errors.ServerError
    ),
    Outcome.TIMED_OUT: Fault(
        Blame.PROVIDER, Scope.NONE, Effect.NONE, Next.RETRY, Billing.PERHAPS, errors.TimedOutError
    ),
    Outcome.UNREACHABLE: Fault(
        Blame.PROVIDER, Scope.NONE, Effect.NONE, Next.RETRY, Billing.UNSENT, errors.UnreachableError
    ),
    Outcome.INTERRUPTED: Fault(
        Blame.PROVIDER,
        Scope.NONE,
        Effect.NONE,
        Next.RAISE,
        Billing.PERHAPS,
        errors.StreamInterruptedError,
    ),
    Outcome.CANCELLED: Fault(
        Blame.CALLER, Scope.NONE, Effect.NONE, Next.PROPAGATE, Billing.PERHAPS, errors.DeadlineError
    ),
}
