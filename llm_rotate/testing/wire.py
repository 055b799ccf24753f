"""What the simulator's wire formats share: the protocol they follow, events, small helpers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Protocol

from .script import Body, Refusal, Room
from .words import Asked, Reply

HeaderList = list[tuple[str, str]]
SSE = "text/event-stream; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Call:
    """A request on its way to an answer.

    ``number`` counts all requests of the simulator and makes ids; ``wall`` is in seconds
    since the epoch; ``key`` is the key's id; ``secret`` is only for answers that are told to
    show it. ``is_bearer``: it came as a bearer token.
    """

    number: int
    wall: float
    provider: str
    model: str
    body: Mapping[str, Any]
    stream: bool = False
    upstream: str | None = None
    key: str = ""
    secret: str = field(default="", repr=False)
    is_bearer: bool = False

    def id(self, prefix: str, length: int = 24) -> str:
        """An id like a provider's: the same for the same request number."""
        digest = blake2b(f"{prefix}{self.number}".encode(), digest_size=16).hexdigest()
        return prefix + digest[:length]


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream. ``content``: it carries text, reasoning or a tool call."""

    data: bytes
    content: bool = False


class Wire(Protocol):
    """How one wire format reads requests and spells answers and refusals.

    ``stream_type``: the content type of its streams. ``error_headers``: those that tell what
    an error is, beside its body.
    """

    stream_type: str

    def invalid(self, call: Call, headers: Mapping[str, str]) -> str | None:
        """What a provider would refuse with status 400, or None."""
        ...

    def asked(self, call: Call) -> Asked: ...
    def whole(self, call: Call, asked: Asked, reply: Reply) -> Body: ...
    def events(self, call: Call, asked: Asked, reply: Reply) -> Sequence[Event]: ...
    def error(self, call: Call, refusal: Refusal) -> tuple[int, dict[str, Any]]: ...
    def error_headers(self, refusal: Refusal) -> HeaderList: ...
    def error_event(self, call: Call) -> bytes: ...
    def limit_headers(self, call: Call, room: Room) -> HeaderList: ...
    def id_header(self, call: Call) -> tuple[str, str]: ...


def sse(data: Mapping[str, Any], event: str | None = None) -> bytes:
    """A server-sent event with JSON in it."""
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def worded(message: str, call: Call, refusal: Refusal) -> str:
    """An error table's message about this call."""
    return message.format(
        model=call.model,
        retry_after=seconds(refusal.retry_after or 0),
        detail=refusal.detail,
        secret=call.secret,
    )


def seconds(value: float) -> str:
    """Seconds for a header, rounded up to a millisecond: who waits so long has waited enough."""
    rounded = math.ceil(round(value * 1000, 6)) / 1000
    return str(int(rounded)) if rounded == int(rounded) else str(rounded)
