"""Judges exceptions of vendors' SDKs and HTTP libraries, told by class names, never imported."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..core.outcome import Outcome
from ..core.wire import Headers, Verdict
from .faults import Tongue, judge
from .limit_headers import readings_in

# Where an exception must come from to be more than a namesake.
_HTTP = frozenset({"httpx", "httpx2", "httpcore", "httpcore2", "aiohttp", "requests", "urllib3"})
# What a class of those libraries means for the exchange; the most specific class decides.
_BROKEN = {
    "ConnectError": Outcome.UNREACHABLE,
    "ConnectTimeout": Outcome.UNREACHABLE,
    "PoolTimeout": Outcome.UNREACHABLE,
    "ProxyError": Outcome.UNREACHABLE,
    "UnsupportedProtocol": Outcome.UNREACHABLE,
    "ClientConnectorError": Outcome.UNREACHABLE,
    "ConnectionTimeoutError": Outcome.UNREACHABLE,
    "NewConnectionError": Outcome.UNREACHABLE,
    "TimeoutException": Outcome.TIMED_OUT,
    "ServerTimeoutError": Outcome.TIMED_OUT,
    "Timeout": Outcome.TIMED_OUT,
    "NetworkError": Outcome.SERVER_ERROR,
    "ProtocolError": Outcome.SERVER_ERROR,
    "DecodingError": Outcome.SERVER_ERROR,
    "ClientConnectionError": Outcome.SERVER_ERROR,
    "ClientPayloadError": Outcome.SERVER_ERROR,
    "ConnectionError": Outcome.SERVER_ERROR,
    "ChunkedEncodingError": Outcome.SERVER_ERROR,
}
# Classes that the generated SDKs share. A connection error hides what broke in its cause.
_SDK = {
    "APITimeoutError": Outcome.TIMED_OUT,
    "APIConnectionError": Outcome.SERVER_ERROR,
    "APIResponseValidationError": Outcome.SERVER_ERROR,
    "UnknownApiResponseError": Outcome.SERVER_ERROR,
}
# Classes that carry an answer: the SDKs', and those of the HTTP libraries.
_ANSWERED = frozenset({"APIStatusError", "APIError", "SDKError", "ApiError"})
_ANSWERED_HTTP = frozenset({"HTTPStatusError", "HTTPError", "ClientResponseError"})


def classify(tongue: Tongue, error: BaseException, wall: float) -> Verdict[Any] | None:
    """What ``error`` says of the exchange, or None if it is the caller's own.

    Its class decides, by name and, for HTTP libraries, by the package it is from; an answer
    in it is judged like any other. A connection broken at an unknown point may be billed.
    """
    verdict = _of_exchange(error) or _of_answer(tongue, error, wall)
    if verdict is not None:
        verdict.error = error
    return verdict


def _of_exchange(error: BaseException) -> Verdict[Any] | None:
    for place, name in _classes(error):
        outcome = _BROKEN.get(name) if place in _HTTP else _SDK.get(name)
        if outcome is None:
            continue
        cause = error.__cause__
        deeper = _of_exchange(cause) if cause is not None and name in _SDK else None
        return deeper or Verdict(outcome, message=_words(error))
    return None


def _of_answer(tongue: Tongue, error: BaseException, wall: float) -> Verdict[Any] | None:
    if not any(
        name in (_ANSWERED_HTTP if place in _HTTP else _ANSWERED) for place, name in _classes(error)
    ):
        return None
    response = getattr(error, "response", None)
    status = _first_int(
        getattr(error, "status_code", None),
        getattr(error, "status", None),
        getattr(response, "status_code", None),
        getattr(error, "code", None),
    )
    read = _headers(_field(response, "headers") or _field(error, "headers"))
    verdict = judge(tongue, status, read, _body(error, response), wall)
    verdict.readings = readings_in(tongue.limits, read, wall)
    verdict.message = verdict.message if verdict.body is not None else _words(error)
    return verdict


def _classes(error: BaseException) -> Iterable[tuple[str, str]]:
    """(top package, name) of the error's classes, the most specific first."""
    for cls in type(error).__mro__:
        yield str(cls.__module__).partition(".")[0], cls.__name__


def _first_int(*values: object) -> int | None:
    return next((value for value in values if type(value) is int), None)


def _body(error: BaseException, response: object) -> object:
    """The decoded body that the SDK kept, else the bytes, which a stream may not have read."""
    body = getattr(error, "body", None)
    if body is None:
        body = getattr(error, "details", None)  # google-genai's word for it
    if body is not None:
        return body.encode("utf-8", "replace") if isinstance(body, str) else body
    content = _field(response, "content")
    return content if isinstance(content, bytes) else None


def _field(holder: object, name: str) -> Any:
    """An attribute, None where there is none or it raises, as a body not read does."""
    try:
        return getattr(holder, name, None)
    except Exception:
        return None


def _headers(headers: Any) -> Headers | None:
    try:
        return Headers(
            [
                (str(name).encode("latin-1", "replace"), str(value).encode("latin-1", "replace"))
                for name, value in headers.items()
            ]
        )
    except Exception:
        return None


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
