"""Judges botocore's exceptions, told by their classes' names; botocore is never imported."""

from __future__ import annotations

from typing import Any

from ..core.outcome import Outcome
from ..core.wire import Headers, Verdict
from . import sdk_errors
from .faults import BEDROCK, judge
from .reading import as_dict

# What botocore's own classes mean for the exchange; the most specific class decides.
_BROKEN = {
    "EndpointConnectionError": Outcome.UNREACHABLE,
    "ConnectTimeoutError": Outcome.UNREACHABLE,
    "ProxyConnectionError": Outcome.UNREACHABLE,
    "SSLError": Outcome.UNREACHABLE,
    "ReadTimeoutError": Outcome.TIMED_OUT,
    "HTTPClientError": Outcome.SERVER_ERROR,
    "ConnectionError": Outcome.SERVER_ERROR,
    "ResponseParserError": Outcome.SERVER_ERROR,
    "ChecksumMismatch": Outcome.SERVER_ERROR,
}


def classify(error: BaseException, wall: float) -> Verdict[Any] | None:
    """What ``error`` says of the exchange, or None if it is the caller's own."""
    verdict = _of_botocore(error, wall)
    if verdict is None:
        return sdk_errors.classify(BEDROCK, error, wall)
    verdict.error = error
    return verdict


def _of_botocore(error: BaseException, wall: float) -> Verdict[Any] | None:
    for cls in type(error).__mro__:
        if str(cls.__module__).partition(".")[0] != "botocore":
            continue
        if cls.__name__ == "ClientError":
            return _of_answer(getattr(error, "response", None), wall)
        if cls.__name__ in _BROKEN:
            return Verdict(_BROKEN[cls.__name__], message=str(error) or cls.__name__)
    return None


def _of_answer(response: object, wall: float) -> Verdict[Any]:
    """A ClientError's parsed answer; one from inside a stream has no status."""
    said, about = as_dict(response), as_dict(as_dict(response).get("ResponseMetadata"))
    told, status = as_dict(said.get("Error")), about.get("HTTPStatusCode")
    headers = Headers(
        [
            (str(name).encode("latin-1", "replace"), str(value).encode("latin-1", "replace"))
            for name, value in as_dict(about.get("HTTPHeaders")).items()
        ]
    )
    body = {"code": told.get("Code"), "message": told.get("Message")}
    return judge(BEDROCK, status if type(status) is int else None, headers, body, wall)
