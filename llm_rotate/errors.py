"""The exceptions, one tree::

    LMRotateError
    |- ConfigurationError      (also ValueError)    the registry or an argument is wrong
    |- CapabilityError                              no dialect of the route can carry the request
    |- DeadlineError           (also TimeoutError)  timeout= passed
    |- StoreError                                   the shared store failed and was told to raise
    |- NoAvailableKeyError                          every key that could serve rests
    |- PoolClosedError                              close() ended the call
    |- BatchError                                   a batch could not go on; holds what is done
    `- ProviderError                                a provider's answer ended the call
       |- BadRequestError          |- RateLimitedError      |- OverloadedError
       |- ContentFilteredError     |- QuotaExhaustedError   |- ServerError
       |- AuthenticationError      |- UpstreamFailedError   |- TimedOutError
       |- ForbiddenError           |- SecretMissingError    |- UnreachableError
       |- ModelNotFoundError       |- RequestTooLargeError  `- StreamInterruptedError

Every one can be pickled, and none holds a secret. Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .types import Attempt


class LMRotateError(Exception):
    """Every error of this package. ``attempts``: what was sent before it, oldest first."""

    attempts: tuple[Attempt, ...] = ()


class ConfigurationError(LMRotateError, ValueError):
    """The registry, a file or an argument is wrong; the message says where and what to do.

    ``problems``: what is wrong with a configuration, one line each; the message has them all.
    """

    problems: tuple[str, ...] = ()


class CapabilityError(LMRotateError):
    """No provider of the route can carry what was asked; names what and who."""


class DeadlineError(LMRotateError, TimeoutError):
    """The call's ``timeout=`` passed. Nobody is blamed for it; ``text`` is what of a stream had
    come.
    """

    text: str = ""


class StoreError(LMRotateError):
    """The shared store failed, and ``on_store_failure`` is "raise"."""


class NoAvailableKeyError(LMRotateError):
    """No key can serve the call now.

    ``earliest_retry_at``: when the first one is back (aware datetime, UTC), or None if none
    will by itself. ``reasons``: key_id -> why it cannot.
    """

    earliest_retry_at: datetime | None
    reasons: dict[str, str]

    def __init__(
        self,
        message: str,
        *,
        earliest_retry_at: datetime | None = None,
        reasons: Mapping[str, str] | None = None,
        attempts: tuple[Attempt, ...] = (),
    ) -> None:
        super().__init__(message)
        self.earliest_retry_at = earliest_retry_at
        self.reasons = dict(reasons or {})
        self.attempts = attempts


class PoolClosedError(LMRotateError):
    """The pool was closed while the call was under way: it may have been billed."""


class BatchError(LMRotateError):
    """A batch could not go on: its inputs raised or the pool was closed (``__cause__``), or
    on_result kept raising.

    ``batch``: the BatchResult of the rows that were done before.
    """

    def __init__(self, message: str, batch: Any = None) -> None:
        super().__init__(message)
        self.batch = batch


class ProviderError(LMRotateError):
    """A provider's answer, or its silence, ended the call.

    ``outcome`` is its row of the fault table, ``status`` the HTTP status if one came,
    ``code`` the provider's machine-readable code, ``body`` its error body with secrets taken
    out, ``retry_after_seconds`` the time it stated. ``__cause__`` is the SDK's or the
    transport's exception where there was one.
    """

    def __init__(  # noqa: PLR0913 - what an answer can tell, all by name
        self,
        message: str,
        *,
        outcome: str = "",
        status: int | None = None,
        code: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        key_id: str | None = None,
        request_id: str | None = None,
        body: Any = None,
        retry_after_seconds: float | None = None,
        attempts: tuple[Attempt, ...] = (),
    ) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.status = status
        self.code = code
        self.provider = provider
        self.model = model
        self.key_id = key_id
        self.request_id = request_id
        self.body = body
        self.retry_after_seconds = retry_after_seconds
        self.attempts = attempts


class BadRequestError(ProviderError):
    """The request is wrong (400, 413, 422): mend it; no other key would take it."""


class ContentFilteredError(ProviderError):
    """The provider's policy refused the request."""


class AuthenticationError(ProviderError):
    """The key is wrong, expired or revoked, or its account is on hold."""


class ForbiddenError(ProviderError):
    """The key may not use this model or endpoint."""


class ModelNotFoundError(ProviderError):
    """The provider does not know the model, or not for this key."""


class RateLimitedError(ProviderError):
    """Too many requests or tokens for this key, for now."""


class QuotaExhaustedError(ProviderError):
    """The key's money or daily quota is used up."""


class UpstreamFailedError(ProviderError):
    """A broker's pinned upstream failed; its other routes may work."""


class SecretMissingError(ProviderError):
    """The key's secret could not be read; nothing was sent."""


class RequestTooLargeError(ProviderError):
    """The request alone is larger than the tokens a minute of every key."""


class OverloadedError(ProviderError):
    """The provider has no capacity now (503, 529)."""


class ServerError(ProviderError):
    """The provider failed, sent nonsense, or broke the connection; it may have billed."""


class TimedOutError(ProviderError):
    """No answer in time; the provider may have billed."""


class UnreachableError(ProviderError):
    """No connection to the provider; nothing was sent."""


class StreamInterruptedError(ProviderError):
    """The stream broke after text was handed out; ``text`` is what had come."""

    text: str = ""
