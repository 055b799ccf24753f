"""The HTTP seam: send a built request once; get status and headers, then bytes; close."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ...core.outcome import Outcome
from ...core.wire import Headers, HttpRequest


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. ``first_byte``: from the written request to the answer's headers;
    ``first_event``: the same for a stream, to its first event; ``idle``: between two reads
    of a body.
    """

    connect: float = 10.0
    first_byte: float = 600.0
    first_event: float = 120.0
    idle: float = 60.0


class TransportError(Exception):
    """The exchange failed: unreachable, timed_out or server_error (broken after writing); from a
    vendor's SDK also bad_request.

    ``__cause__`` is what the HTTP library or the system raised, if it raised.
    """

    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome


class Withdrawn(Exception):  # noqa: N818 - no error: the pool changed its mind
    """``go`` said no in the step that would have written: nothing was sent."""


class Answer(Protocol):
    """An answer whose headers have come. The connection goes back to the pool by itself
    after the last byte; ``discard`` (sync, idempotent, at any time) closes it for good.
    """

    status: int
    headers: Headers

    async def read(self, timeout_s: float) -> bytes:
        """The whole body. ``timeout_s`` bounds each wait for bytes."""
        ...

    async def next(self, timeout_s: float) -> bytes:
        """The next bytes of the body as they come; b"" at its end."""
        ...

    def discard(self) -> None: ...


class Transport(Protocol):
    """Belongs to one event loop. ``go`` is asked in the very step that writes the request.

    ``limit_s`` bounds the whole exchange, body included, by one timer that aborts the
    socket. Raises TransportError, Withdrawn or CancelledError, and the LMRotateError of an
    upload that cannot be read, nothing else; whichever it is, no connection is left behind.
    """

    async def send(
        self,
        request: HttpRequest,
        timeouts: Timeouts,
        go: Callable[[], bool],
        limit_s: float | None = None,
    ) -> Answer: ...

    async def aclose(self) -> None: ...

    def abort(self) -> None:
        """Closes every socket at once, without a running loop if need be."""
        ...
