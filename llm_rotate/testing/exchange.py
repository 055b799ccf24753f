"""What passes between a door and the simulator: a request in, an answer with its timing out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol


class End(StrEnum):
    """What happens after an answer's last chunk.

    clean: the body is complete. cut: the connection is broken there. hang: nothing more
    comes until the client goes away.
    """

    CLEAN = "clean"
    CUT = "cut"
    HANG = "hang"


@dataclass(frozen=True, slots=True)
class SimRequest:
    """A request as a door has read it. Header names are lower-case; ``path`` may have a query."""

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes that leave together, ``delay`` seconds after what came before them."""

    data: bytes
    delay: float = 0.0


@dataclass(slots=True)
class Seen:
    """One request that the simulator saw, and how it was answered.

    ``at``: seconds on the door's clock. ``key``: the key id ("unknown-1" and so on for
    secrets that the simulator was never told, "" for none). ``headers`` lack the secret.
    ``body``: the parsed JSON, or the fields of a form; None if it was
    neither. ``status`` is 0 if the connection was
    broken without an answer. ``closed_early``: the client went away before the end.
    """

    at: float
    key: str
    provider: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: dict[str, Any] | None = field(default=None, repr=False)
    model: str = ""
    stream: bool = False
    status: int = 0
    upstream: str | None = None
    tokens: int = 0
    closed_early: bool = False


@dataclass(frozen=True, slots=True)
class SimAnswer:
    """What a door must do: wait ``delay`` seconds, send the head, then the chunks, then end.

    ``status`` 0 means that not even the head is sent. ``stream``: the length is not stated
    beforehand. A door calls ``Simulator.done`` once when the exchange is over.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    chunks: tuple[Chunk, ...] = field(repr=False)
    seen: Seen = field(repr=False)
    delay: float = 0.0
    stream: bool = False
    end: End = End.CLEAN


class App(Protocol):
    """What a door needs of the simulator."""

    def answer(self, request: SimRequest, now: float, wall: float) -> SimAnswer: ...
    def done(self, answer: SimAnswer, *, early: bool) -> None: ...
    def closed(self) -> None: ...
