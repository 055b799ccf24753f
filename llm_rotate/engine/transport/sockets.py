"""One TCP or TLS connection on an asyncio protocol: read with a timeout, write, abort at once."""

from __future__ import annotations

import asyncio
import contextlib
import select
import ssl

# Bytes that may wait for a slow reader before the peer is made to wait too.
HIGH_WATER = 256 * 1024
# Seconds before the next address of a host is tried beside the first (RFC 8305, section 8).
NEXT_ADDRESS_S = 0.25


class Socket(asyncio.Protocol):
    """Bytes that came, and a future for the one who waits for more.

    One reader at a time. Nothing here needs an await to close: ``abort`` is enough.
    """

    __slots__ = (
        "_came",
        "_cause",
        "_full",
        "_loop",
        "_opened",
        "_over",
        "_paused",
        "_plain",
        "_transport",
        "_waiter",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, opened: set[Socket]) -> None:
        self._loop = loop
        self._opened = opened
        self._came = b""
        self._cause: BaseException | None = None
        self._over = self._paused = self._full = False
        self._waiter: asyncio.Future[None] | None = None
        self._plain: asyncio.Transport
        self._transport: asyncio.Transport

    # -- called by the loop --

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - create_connection makes no other
        self._plain = self._transport = transport
        # No write is awaited piece by piece, so "full" means: not all has left yet.
        transport.set_write_buffer_limits(high=1, low=0)
        self._opened.add(self)

    def data_received(self, data: bytes) -> None:
        self._came = self._came + data if self._came else data
        if self._waiter is not None:
            self._wake()
        elif len(self._came) > HIGH_WATER and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def eof_received(self) -> None:
        self._over = True
        self._wake()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._over = True
        self._cause = self._cause or exc
        self._opened.discard(self)
        self._wake()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._wake()

    # -- called by the connection --

    async def start_tls(self, context: ssl.SSLContext, hostname: str) -> None:
        """Raises OSError: ssl.SSLError and ssl.CertificateError are some."""
        secure = await self._loop.start_tls(self._plain, self, context, server_hostname=hostname)
        if secure is None:
            raise ConnectionAbortedError("the connection was lost during the TLS handshake")
        self._transport = secure
        secure.set_write_buffer_limits(high=1, low=0)

    @property
    def stale(self) -> bool:
        """Nothing may come on an idle connection but its end, seen by the loop or not yet."""
        return self.stirred or self.closing or self._readable()

    @property
    def closing(self) -> bool:
        return self._transport.is_closing()

    @property
    def stirred(self) -> bool:
        """The peer has said something, or has gone."""
        return bool(self._over or self._came)

    @property
    def drained(self) -> bool:
        return not self._full

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    async def drain(self, idle_s: float) -> None:
        """Until all has left, or the peer says something. TimeoutError: nothing moved."""
        while self._full and not self.stirred:
            left = self._transport.get_write_buffer_size()
            try:
                await self._wait(idle_s)
            except TimeoutError:
                if self._transport.get_write_buffer_size() >= left:
                    raise

    async def read(self, timeout_s: float) -> bytes:
        """What has come, at least a byte; b"" at the end. Raises TimeoutError, OSError."""
        while not self.stirred:
            await self._wait(timeout_s)
        if self._came:
            data, self._came = self._came, b""
            if self._paused:
                self._paused = False
                self._transport.resume_reading()
            return data
        if self._cause is not None:
            raise self._cause
        return b""

    def abort(self, cause: BaseException | None = None) -> None:
        """Closes now; who reads gets ``cause``. Works after the loop was closed, too."""
        self._over = True
        self._came = b""
        self._cause = self._cause or cause
        if self._loop.is_closed():
            self._bury()
            return
        self._transport.abort()
        self._wake()
        if self._loop.is_running():
            self._opened.discard(self)
        else:
            self._hang_up()

    async def _wait(self, timeout_s: float) -> None:
        waiter = self._waiter = self._loop.create_future()
        timer = self._loop.call_later(timeout_s, _late, waiter, timeout_s)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _readable(self) -> bool:
        descriptor = self._plain.get_extra_info("socket").fileno()
        return descriptor < 0 or readable(descriptor)

    def _hang_up(self) -> None:
        """The loop stands still: its part of closing waits until it runs, the peer need not."""
        with contextlib.suppress(OSError):
            self._plain.get_extra_info("socket").shutdown(2)

    def _bury(self) -> None:
        """Does by hand what a closed loop will not do: lets the descriptor go."""
        for transport in (self._transport, self._plain):
            with contextlib.suppress(RuntimeError):  # "Event loop is closed"
                transport.abort()
        # asyncio has no public way to do this; a transport without it (uvloop's) needs none.
        lost = getattr(self._plain, "_call_connection_lost", None)
        if lost is not None and getattr(self._plain, "_sock", None) is not None:
            with contextlib.suppress(RuntimeError):
                lost(None)
        self._opened.discard(self)


def _late(waiter: asyncio.Future[None], timeout_s: float) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError(f"nothing came for {round(timeout_s, 3):g} s"))


if hasattr(select, "poll"):

    def readable(descriptor: int) -> bool:
        """Whether bytes or the end of the stream wait in the system."""
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(0))

else:  # Windows, where select() has no bound on descriptors

    def readable(descriptor: int) -> bool:
        """Whether bytes or the end of the stream wait in the system."""
        return bool(select.select([descriptor], (), (), 0)[0])


async def connect(host: str, port: int, tls: ssl.SSLContext | None, opened: set[Socket]) -> Socket:
    """A socket that is in ``opened`` as long as it is open. Raises OSError, and leaves none."""
    loop = asyncio.get_running_loop()
    # One address has nothing to race against, and a race costs a task each.
    literal = ":" in host or host[-1].isdigit()
    delay = None if literal else NEXT_ADDRESS_S
    _, socket = await loop.create_connection(
        lambda: Socket(loop, opened), host, port, happy_eyeballs_delay=delay
    )
    if tls is not None:
        try:
            await socket.start_tls(tls, host)
        except BaseException:
            socket.abort()
            raise
    return socket
