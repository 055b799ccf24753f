"""The connections of one origin: idle ones newest first, and a bound on how many are open."""

from __future__ import annotations

import asyncio
from collections import deque

from .http11 import Connection
from .seam import TransportError


class Pool:
    """A place per exchange; who has one may take an idle connection or open another.

    Busy places are bounded, and idle connections are taken before new ones are opened, so
    open connections are bounded too. Places pass from hand to hand: nobody overtakes.
    """

    __slots__ = ("_busy", "_idle", "_most", "_waiters", "keep_s")

    def __init__(self, most: int, keep_s: float) -> None:
        self.keep_s = keep_s
        self._most = most
        self._busy = 0
        self._idle: deque[Connection] = deque()
        self._waiters: deque[asyncio.Future[None]] = deque()

    def try_enter(self) -> bool:
        if self._busy >= self._most:
            return False
        self._busy += 1
        return True

    async def enter(self) -> None:
        """Waits for a place, first come first served. TransportError: closed meanwhile."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled() and waiter.exception() is None:
                self.leave()  # a place was given in the moment of the cancellation
            raise

    def leave(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._busy -= 1

    def take(self, now: float) -> Connection | None:
        """The connection used last, if one is fit for use."""
        self._trim(now)
        while self._idle:
            connection = self._idle.pop()
            if not connection.socket.stale:
                return connection
            connection.socket.abort()
        return None

    def keep(self, connection: Connection, now: float) -> None:
        connection.idle_since = now
        self._idle.append(connection)
        self._trim(now)

    def close(self, error: TransportError) -> None:
        """Turns the waiters away. Whoever closes also aborts the sockets."""
        self._idle.clear()
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done() and not waiter.get_loop().is_closed():
                waiter.set_exception(error)

    def _trim(self, now: float) -> None:
        idle = self._idle
        while idle and now - idle[0].idle_since >= self.keep_s:
            idle.popleft().socket.abort()
