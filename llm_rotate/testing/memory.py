"""Door two: the simulator behind the engine's HTTP seam, without sockets."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from math import inf
from urllib.parse import urlsplit

from ..core.outcome import Outcome
from ..core.wire import Headers, HttpRequest, Upload
from ..engine.transport.seam import Timeouts, TransportError, Withdrawn
from .clock import FakeLoop
from .exchange import App, End, SimAnswer, SimRequest
from .routes import base_path

_HOST = "http://simulator.invalid"  # never looked up: nothing leaves the process


def memory_url(provider: str) -> str:
    """The base URL of ``provider`` behind a memory transport, as a registry expects it."""
    return _HOST + base_path(provider)


class MemoryTransport:
    """A transport whose other end is a simulator; times are those of the running loop.

    ``connect_s``: seconds that each connection takes, may be changed at any time (inf:
    nobody answers). ``open``: answers that were neither read to the end nor discarded;
    ``discarded``: those given up before their end.
    """

    def __init__(self, app: App, *, connect_s: float = 0.0) -> None:
        self.connect_s = connect_s
        self.discarded = 0
        self._app = app
        self._open: set[MemoryAnswer] = set()
        self._closed = False

    @property
    def open(self) -> int:
        return len(self._open)

    async def send(
        self,
        request: HttpRequest,
        timeouts: Timeouts,
        go: Callable[[], bool],
        limit_s: float | None = None,
    ) -> MemoryAnswer:
        """Raises TransportError (unreachable, timed_out, server_error) or Withdrawn."""
        loop = asyncio.get_running_loop()
        until = inf if limit_s is None else loop.time() + limit_s
        await self._connect(timeouts.connect, until - loop.time())
        if not go():
            raise Withdrawn
        seen = self._app.answer(_sim_request(request), loop.time(), _wall(loop))
        answer = MemoryAnswer(self, seen, until)
        self._open.add(answer)
        await answer.head(timeouts.first_event if request.stream else timeouts.first_byte)
        return answer

    async def aclose(self) -> None:
        self.abort()

    def abort(self) -> None:
        """Breaks every open answer."""
        self._closed = True
        for answer in tuple(self._open):
            answer.discard()

    async def _connect(self, timeout_s: float, left_s: float) -> None:
        if self._closed:
            raise TransportError(Outcome.UNREACHABLE, "this transport is closed")
        await asyncio.sleep(min(self.connect_s, timeout_s, left_s))
        if left_s <= min(self.connect_s, timeout_s):
            raise TransportError(Outcome.TIMED_OUT, "no connection in time")
        if timeout_s <= self.connect_s:
            raise TransportError(Outcome.UNREACHABLE, "no connection in time")

    def ended(self, answer: MemoryAnswer, *, early: bool) -> None:
        """An answer's exchange is over, once; ``early``: it was given up."""
        self._open.discard(answer)
        self.discarded += early
        self._app.done(answer.sent, early=early)


class MemoryAnswer:
    """One answer on its way, in the engine's terms."""

    def __init__(self, transport: MemoryTransport, sent: SimAnswer, until: float) -> None:
        self.sent = sent
        self.status = sent.status
        self.headers = Headers([(name.encode(), value.encode()) for name, value in sent.headers])
        self._transport = transport
        self._chunks = deque(chunk for chunk in sent.chunks if chunk.data)
        self._loop = asyncio.get_running_loop()
        self._limit = None if until == inf else self._loop.call_at(until, self._give_up)
        self._waiting: asyncio.Future[None] | None = None
        self._over = False
        self._broken: TransportError | None = None

    async def head(self, timeout_s: float) -> None:
        """Waits for the status line."""
        await self._pause(self.sent.delay, timeout_s)
        if not self.status:
            raise self._break(Outcome.SERVER_ERROR, "the connection broke before an answer")
        self._end_if_whole()

    async def read(self, timeout_s: float) -> bytes:
        """The whole body; each wait at most ``timeout_s``."""
        body = bytearray()
        while data := await self.next(timeout_s):
            body += data
        return bytes(body)

    async def next(self, timeout_s: float) -> bytes:
        """The next chunk, b"" at the end; TransportError if it breaks or takes too long."""
        if self._broken is not None:
            raise self._broken
        if self._over:
            return b""
        if self._chunks:
            chunk = self._chunks.popleft()
            await self._pause(chunk.delay, timeout_s)
            self._end_if_whole()
            return chunk.data
        if self.sent.end is End.HANG:
            await self._pause(inf, timeout_s)
        raise self._break(Outcome.SERVER_ERROR, "the connection broke inside the answer")

    def discard(self) -> None:
        """Closes it; once more does nothing."""
        if not self._over:
            self._broken = TransportError(Outcome.SERVER_ERROR, "this answer was discarded")
            self._end(early=True)
            self._wake()

    async def _pause(self, seconds: float, timeout_s: float) -> None:
        """Waits ``seconds``; a wait that is too long, or is ended from outside, raises."""
        timer = None
        self._waiting = self._loop.create_future()
        shorter = min(seconds, timeout_s)
        if shorter < inf:
            timer = self._loop.call_later(shorter, self._wake)
        try:
            await self._waiting
        except asyncio.CancelledError:
            self.discard()
            raise
        finally:
            self._waiting = None
            if timer is not None:
                timer.cancel()
        if self._broken is not None:
            raise self._broken
        if timeout_s < seconds:
            raise self._break(Outcome.TIMED_OUT, f"nothing came for {round(timeout_s, 3):g} s")

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _give_up(self) -> None:
        if not self._over:
            self._break(Outcome.TIMED_OUT, "the exchange took too long")
            self._wake()

    def _break(self, outcome: Outcome, message: str) -> TransportError:
        self._broken = TransportError(outcome, message)
        self._end(early=outcome is Outcome.TIMED_OUT)
        return self._broken

    def _end_if_whole(self) -> None:
        """The connection goes back with the last byte, whether or not anybody asks for more."""
        if not self._chunks and self.sent.end is End.CLEAN:
            self._end(early=False)

    def _end(self, *, early: bool) -> None:
        self._over = True
        if self._limit is not None:
            self._limit.cancel()
        self._transport.ended(self, early=early)


def _sim_request(request: HttpRequest) -> SimRequest:
    url = urlsplit(request.url)
    path = f"{url.path}?{url.query}" if url.query else url.path
    headers = {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in request.headers
    }
    return SimRequest(
        request.method,
        path,
        {"host": url.netloc, **headers},
        b"".join(request.body) if isinstance(request.body, Upload) else request.body,
    )


def _wall(loop: asyncio.AbstractEventLoop) -> float:
    """Epoch seconds, fake where the loop's time is."""
    return loop.clock.wall() if isinstance(loop, FakeLoop) else time.time()
