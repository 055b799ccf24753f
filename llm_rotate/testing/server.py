"""Door one: HTTP/1.1 on the loopback interface, in a daemon thread with its own event loop."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from math import inf, isinf
from typing import Any, cast

from .exchange import App, Chunk, End, SimAnswer, SimRequest

_MAX_HEAD = 64 * 1024  # bytes of request line and headers
_MAX_BODY = 64 * 1024 * 1024  # bytes
_IDLE_SECONDS = 75.0  # for a first request, where connections are not kept alive
_BACKLOG = 1024  # connections that may wait to be accepted
_STOP_SECONDS = 5.0
_AT_ONCE = 16 * 1024  # bytes that a socket takes without waiting for the reader


class NotHttpError(Exception):
    """What came is not HTTP/1.1, or too much of it."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Loopback:
    """The server. ``start`` and ``stop`` block, for a moment, until it is so."""

    def __init__(self, app: App, keep_alive: float) -> None:
        self.app = app
        self.keep_alive = keep_alive
        self.connections: set[Connection] = set()
        self.failures: list[Exception] = []
        self.port = 0
        self._making: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="llm-simulator", daemon=True
        )

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        return len(self.connections)

    def start(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self._socket.setblocking(False)
        self.port = self._socket.getsockname()[1]
        self._loop.add_reader(self._socket, self._accept)
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(_STOP_SECONDS)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_STOP_SECONDS)
        self._loop.close()

    def _accept(self) -> None:
        # By hand, because asyncio's own server loses connections that it has accepted in the
        # step before it is closed.
        with suppress(BlockingIOError):
            while True:
                accepted, _ = self._socket.accept()
                made = self._loop.connect_accepted_socket(lambda: Connection(self), accepted)
                task = self._loop.create_task(made)
                self._making.add(task)
                task.add_done_callback(self._making.discard)

    async def _close(self) -> None:
        self._loop.remove_reader(self._socket)
        self._socket.close()
        while self.connections or self._making:
            for connection in tuple(self.connections):
                connection.abort()
            await asyncio.sleep(0)


class Connection(asyncio.Protocol):
    """One client's connection: one request after the other, in the order of their coming."""

    def __init__(self, door: Loopback) -> None:
        self._door = door
        self._buffer = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._lost = False
        self._answer: SimAnswer | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._door.connections.add(self)
        self._wait_for_request()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._task is None:
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._lost = True
        self._stop_idle()
        self._writable.set()
        if self._task is not None:
            self._task.cancel()
        else:
            self._gone()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def abort(self) -> None:
        self._transport.abort()

    def _gone(self) -> None:
        self._door.connections.discard(self)
        self._door.app.closed()

    def _wait_for_request(self) -> None:
        loop = asyncio.get_running_loop()
        self._idle = loop.call_later(self._door.keep_alive or _IDLE_SECONDS, self._transport.close)

    def _stop_idle(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _next(self) -> None:
        """Starts answering the request at the head of the buffer, if all of it is there."""
        try:
            request = take_request(self._buffer)
        except NotHttpError as error:
            self._refuse(error.status)
            return
        if request is None:
            return
        self._stop_idle()
        close = self._door.keep_alive == 0 or _wants_close(request)
        try:
            answer = self._door.app.answer(request, time.monotonic(), time.time())
        except Exception as error:  # the user's own, of `says` and the like, or a fault in here
            self._door.failures.append(error)
            self._refuse(500, repr(error).encode())
            return
        self._answer = answer
        self._task = asyncio.get_running_loop().create_task(self._send(answer, close=close))
        self._task.add_done_callback(self._sent)

    def _refuse(self, status: int, body: bytes = b"") -> None:
        """Answers without the app, and closes."""
        framing = (("content-length", str(len(body))), ("content-type", "text/plain"))
        self._transport.write(_head(status, framing, close=True) + body)
        self._transport.close()

    def _sent(self, task: asyncio.Task[None]) -> None:
        """The exchange is over; a cancelled one was left by the client."""
        self._task = None
        self._over(early=task.cancelled())
        if self._lost:
            self._gone()
        elif not self._transport.is_closing():
            self._wait_for_request()
            self._next()

    def _over(self, *, early: bool) -> None:
        if self._answer is not None:
            self._door.app.done(self._answer, early=early)
            self._answer = None

    async def _send(self, answer: SimAnswer, *, close: bool) -> None:
        *packets, last = _packets(answer, close=close)
        for packet in packets:
            await self._write(packet)
        await _pause(last.delay)
        if answer.end is End.HANG:
            await self._write(Chunk(last.data))
            await _pause(inf)
        if len(last.data) < _AT_ONCE and not self._transport.get_write_buffer_size():
            # It will not have to wait for the reader, so it is over before who reads it can ask.
            self._over(early=False)
        await self._write(Chunk(last.data))
        if close or answer.end is End.CUT:
            self._transport.close()

    async def _write(self, packet: Chunk) -> None:
        await _pause(packet.delay)
        if packet.data:
            self._transport.write(packet.data)
        await self._writable.wait()


async def _pause(seconds: float) -> None:
    """Sleeps; for ever if told so, until the exchange is cancelled."""
    if isinf(seconds):
        await asyncio.get_running_loop().create_future()
    elif seconds:
        await asyncio.sleep(seconds)


def take_request(buffer: bytearray) -> SimRequest | None:
    """Takes one whole request off the buffer; None if it has not come yet, or NotHttpError."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        if len(buffer) > _MAX_HEAD:
            raise NotHttpError(431)
        return None
    lines = bytes(buffer[:end]).decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise NotHttpError(400)
    headers = _parse_headers(lines[1:])
    if words[2] == "HTTP/1.0":
        headers.setdefault("connection", "close")
    found = _body(buffer, end + 4, headers)
    if found is None:
        return None
    body, used = found
    del buffer[:used]
    return SimRequest(words[0], words[1], headers, body)


def _parse_headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise NotHttpError(400)
        headers[name.strip().lower()] = value.strip()
    return headers


def _body(buffer: bytearray, start: int, headers: dict[str, str]) -> tuple[bytes, int] | None:
    """The body and where the request ends; None if it has not all come."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return _chunked_body(buffer, start)
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise NotHttpError(400)
    stop = start + int(length)
    if int(length) > _MAX_BODY:
        raise NotHttpError(413)
    return (bytes(buffer[start:stop]), stop) if len(buffer) >= stop else None


def _chunked_body(buffer: bytearray, start: int) -> tuple[bytes, int] | None:
    body = bytearray()
    while (line_end := buffer.find(b"\r\n", start)) >= 0:
        try:
            size = int(bytes(buffer[start:line_end]).partition(b";")[0], 16)
        except ValueError:
            raise NotHttpError(400) from None
        if size < 0 or len(body) + size > _MAX_BODY:
            raise NotHttpError(413)
        start = line_end + 2 + size + 2
        if len(buffer) < start:
            return None
        if size == 0:
            return bytes(body), start
        body += buffer[line_end + 2 : start - 2]
    return None


def _wants_close(request: SimRequest) -> bool:
    return request.headers.get("connection", "").lower() == "close"


def _packets(answer: SimAnswer, *, close: bool) -> list[Chunk]:
    """What leaves the socket and when: the head goes with the first chunk, if that comes at
    once, the end of a stream with the last.
    """
    packets = [Chunk(_head(answer.status, _framing(answer), close=close), answer.delay)]
    if not answer.status:
        packets = [Chunk(b"", answer.delay)]
    for chunk in answer.chunks:
        data = _frame(chunk.data) if answer.stream else chunk.data
        if len(packets) == 1 and not chunk.delay:
            packets[0] = Chunk(packets[0].data + data, answer.delay)
        else:
            packets.append(Chunk(data, chunk.delay))
    if answer.stream and answer.end is End.CLEAN:
        packets[-1] = Chunk(packets[-1].data + b"0\r\n\r\n", packets[-1].delay)
    return packets


def _framing(answer: SimAnswer) -> tuple[tuple[str, str], ...]:
    if answer.stream:
        return (*answer.headers, ("transfer-encoding", "chunked"))
    length = sum(len(chunk.data) for chunk in answer.chunks)
    return (*answer.headers, ("content-length", str(length)))


def _head(status: int, headers: tuple[tuple[str, str], ...], *, close: bool) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers)]
    if close:
        lines.append("connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _frame(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
