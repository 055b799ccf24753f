"""From the bytes of an answer to what is in them, or to a verdict on what came instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..core.outcome import Outcome
from ..core.wire import Headers, Verdict
from ..types import ChatResponse
from .faults import Tongue, broken, judge, request_id
from .jsonio import loads
from .reading import as_dict


class Received(NamedTuple):
    """An answer as it came. ``wall``: when, in seconds since the epoch."""

    status: int
    headers: Headers
    body: bytes
    wall: float


def error_in(answer: object) -> object | None:
    """The error that a good status hides: an answer with a field of that name."""
    return answer if as_dict(answer).get("error") else None


def no_error(answer: object) -> None:
    """Where an answer shows only by what it lacks that it is none."""


def value_in(
    tongue: Tongue,
    got: Received,
    fault_in: Callable[[object], object | None] = error_in,
    *,
    pinned: bool = False,
) -> Any | Verdict[Any]:
    """The JSON value of a good answer; any other is judged. ``fault_in``: the error that a good
    status hides, or None. ``pinned``: as ``judge`` has it.
    """
    status, headers, body, wall = got
    if not 200 <= status < 300:
        return judge(tongue, status, headers, body, wall, pinned=pinned)
    try:
        answer = loads(body)
    except ValueError:
        return broken("the answer is not JSON", status, headers, body)
    fault = fault_in(answer)
    if fault is not None:
        return judge(tongue, status, headers, fault, wall, pinned=pinned)
    return answer


def chatted(response: ChatResponse, got: Received) -> Verdict[ChatResponse]:
    """A good answer to a chat. The provider's name for the call is in its headers, if at all."""
    response.request_id = request_id(got.headers) or response.request_id
    return Verdict(
        Outcome.OK, response, response.usage, status=got.status, request_id=response.request_id
    )
