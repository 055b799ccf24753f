"""The default transport: HTTP/1.1 over own connections, as little work per call as possible."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable

import h11

from ...core.outcome import Outcome
from ...core.wire import Body, Headers, HttpRequest, Upload
from .decode import Inflate, decoder_for
from .http11 import Connection, Head, Origin, head_of, locate
from .pool import Pool
from .seam import Timeouts, TransportError, Withdrawn
from .sockets import Socket, connect
from .tls import Verify, tls_context

# Seconds an unused connection is kept: less than servers and load balancers do (60 and up).
KEEP_ALIVE_S = 30.0
# Open connections per origin.
MAX_CONNECTIONS = 100
# Turns of the loop after which an aborted socket is closed: one, and one under TLS.
ROUNDS = 2
# What a connection that breaks after the request was written may raise.
BROKEN = (OSError, h11.RemoteProtocolError, zlib.error)


class LeanAnswer:
    """One exchange. Owns a place in the pool, a connection and the timer of the whole call.

    All three go in one step, by the end of the body or by ``discard``.
    """

    __slots__ = (
        "_connection",
        "_decoder",
        "_ended",
        "_loop",
        "_pool",
        "_timer",
        "_until",
        "headers",
        "status",
    )

    status: int
    headers: Headers

    def __init__(self, loop: asyncio.AbstractEventLoop, pool: Pool, until: float | None) -> None:
        self._loop = loop
        self._pool: Pool | None = pool
        self._until = until
        self._connection: Connection | None = None
        self._decoder: Inflate | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False

    async def read(self, timeout_s: float) -> bytes:
        parts = []
        while part := await self.next(timeout_s):
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def next(self, timeout_s: float) -> bytes:
        if self._ended:
            return b""
        try:
            data = await self._next(timeout_s)
        except BROKEN as error:
            self.discard()
            raise broken(error) from error
        except BaseException:
            self.discard()
            raise
        if not data:
            self._finish()
        return data

    def discard(self) -> None:
        if self._connection is not None:
            self._connection.socket.abort(ConnectionAbortedError("the answer was discarded"))
        self._let_go()

    # -- for the transport --

    def put(self, connection: Connection, head: Head, body: Body, go: Callable[[], bool]) -> bool:
        """Asks and writes in one step. False: the connection was dead, nothing was written."""
        self._connection = connection
        if not go():
            self._give_back()
            raise Withdrawn
        if not connection.write(head, body):
            connection.socket.abort()
            return False
        if self._until is not None:
            self._timer = self._loop.call_at(self._until, self._expire)
        return True

    async def upload(self, body: Upload, idle_s: float) -> None:
        """Sends what ``put`` began."""
        await self._held().upload(body, idle_s)

    async def start(self, timeout_s: float) -> None:
        """Reads status and headers."""
        head = await self._held().head(timeout_s)
        self.status = head.status_code
        self.headers = Headers(head.headers.raw_items())
        self._decoder = decoder_for(self.headers.get("content-encoding"))

    async def _next(self, timeout_s: float) -> bytes:
        connection, decoder = self._held(), self._decoder
        if decoder is None:
            return await connection.data(timeout_s)
        while data := await connection.data(timeout_s):
            if plain := decoder.feed(data):
                return plain
        decoder.end()
        return b""

    def _held(self) -> Connection:
        if self._connection is None:
            raise ConnectionAbortedError("the answer was discarded")
        return self._connection

    def _finish(self) -> None:
        self._ended = True
        if self._held().renew():
            self._give_back()
        else:
            self.discard()

    def _give_back(self) -> None:
        if self._pool is not None:
            self._pool.keep(self._held(), self._loop.time())
        self._let_go()

    def _expire(self) -> None:
        if self._connection is not None:
            self._connection.socket.abort(TimeoutError("the time for the whole call is over"))

    def _let_go(self) -> None:
        self._connection = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.leave()


class LeanTransport:
    """Sends over a stack of idle connections per origin. Belongs to the loop it first runs in.

    Follows no redirects, keeps no cookies, asks for uncompressed answers (inflating one costs
    more than the bytes it saves) and undoes gzip and deflate all the same.

    ``max_connections``: open at once per origin; further calls wait for their turn, without a
    bound but ``limit_s``. ``keep_alive_s``: how long an unused connection is kept.
    """

    def __init__(
        self,
        *,
        verify: Verify = True,
        max_connections: int = MAX_CONNECTIONS,
        keep_alive_s: float = KEEP_ALIVE_S,
    ) -> None:
        self._verify = verify
        self._most = max_connections
        self._keep_s = keep_alive_s
        self._pools: dict[Origin, Pool] = {}
        self._sockets: set[Socket] = set()
        self._closed = False

    async def send(
        self,
        request: HttpRequest,
        timeouts: Timeouts,
        go: Callable[[], bool],
        limit_s: float | None = None,
    ) -> LeanAnswer:
        origin, head = self._address(request)
        loop = asyncio.get_running_loop()
        until = None if limit_s is None else loop.time() + limit_s
        pool = self._pools.get(origin) or self._open_pool(origin)
        if not pool.try_enter():
            await wait_for_place(pool, until)
        answer = LeanAnswer(loop, pool, until)
        try:
            connection = pool.take(loop.time())
            if connection is None or not answer.put(connection, head, request.body, go):
                connection = await self._connect(origin, timeouts.connect, until)
                if not answer.put(connection, head, request.body, go):
                    raise stillborn()  # noqa: TRY301 - the clauses below let go of all
            if isinstance(request.body, Upload):
                await answer.upload(request.body, timeouts.idle)
            await answer.start(timeouts.first_event if request.stream else timeouts.first_byte)
        except BROKEN as error:
            answer.discard()
            raise broken(error) from error
        except BaseException:
            answer.discard()
            raise
        return answer

    async def aclose(self) -> None:
        self.abort()
        for _ in range(ROUNDS):
            await asyncio.sleep(0)

    def abort(self) -> None:
        self._closed = True
        for pool in self._pools.values():
            pool.close(closed())
        for socket in tuple(self._sockets):
            socket.abort(ConnectionAbortedError("the transport was closed"))

    def _address(self, request: HttpRequest) -> tuple[Origin, Head]:
        if self._closed:
            raise closed()
        try:
            origin, target, host = locate(request.url)
            return origin, head_of(request, target, host)
        except (ValueError, h11.LocalProtocolError):
            # Its text may show a header's value, so nothing of it is passed on.
            raise TransportError(
                Outcome.UNREACHABLE, "the URL or a header cannot be sent: illegal characters?"
            ) from None

    def _open_pool(self, origin: Origin) -> Pool:
        pool = self._pools[origin] = Pool(self._most, self._keep_s)
        return pool

    async def _connect(self, origin: Origin, connect_s: float, until: float | None) -> Connection:
        """Raises TransportError: unreachable, or timed_out where ``until`` came first."""
        limit = asyncio.get_running_loop().time() + connect_s
        outcome = Outcome.UNREACHABLE
        if until is not None and until < limit:
            limit, outcome = until, Outcome.TIMED_OUT
        try:
            async with asyncio.timeout_at(limit):
                tls = tls_context(self._verify) if origin.scheme == "https" else None
                socket = await connect(origin.host, origin.port, tls, self._sockets)
        except TimeoutError as error:
            raise TransportError(outcome, f"{origin.host}: no connection in time") from error
        except (OSError, ValueError) as error:
            raise TransportError(Outcome.UNREACHABLE, f"{origin.host}: {error}") from error
        if self._closed:
            socket.abort()
            raise closed()
        return Connection(socket)


async def wait_for_place(pool: Pool, until: float | None) -> None:
    try:
        async with asyncio.timeout_at(until):
            await pool.enter()
    except TimeoutError as error:
        raise TransportError(Outcome.TIMED_OUT, "no connection became free in time") from error


def broken(error: BaseException) -> TransportError:
    timed_out = isinstance(error, TimeoutError)
    outcome = Outcome.TIMED_OUT if timed_out else Outcome.SERVER_ERROR
    return TransportError(outcome, str(error) or type(error).__name__)


def stillborn() -> TransportError:
    return TransportError(Outcome.UNREACHABLE, "the new connection was closed before the request")


def closed() -> TransportError:
    return TransportError(Outcome.UNREACHABLE, "this transport is closed")
