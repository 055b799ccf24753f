"""HTTP/1.1 over one socket: h11 speaks the protocol, the socket carries it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

import h11

from ...core.wire import Body, HttpRequest, Upload
from .sockets import Socket

PORTS = {"http": 80, "https": 443}
# Bytes of status line and headers; above it the answer is garbage.
LARGEST_HEAD = 100 * 1024
# Chat answers are small: inflating costs more than a few hundred bytes do.
IDENTITY = (b"Accept-Encoding", b"identity")
UNPACKED = (b"accept-encoding",)
BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Origin:
    """Where connections go; those of one origin may stand in for each other."""

    scheme: str
    host: str
    port: int


@lru_cache(maxsize=1024)
def locate(url: str) -> tuple[Origin, bytes, tuple[bytes, bytes]]:
    """Origin, request target and Host header. Raises ValueError if ``url`` is no http URL."""
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError("not an http or https URL")
    usual = PORTS[parts.scheme]
    port = parts.port or usual
    host = parts.hostname.encode("idna" if not parts.hostname.isascii() else "ascii")
    shown = b"[%b]" % host if b":" in host else host
    if port != usual:
        shown = b"%b:%d" % (shown, port)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Origin(parts.scheme, host.decode(), port), target.encode(), (b"Host", shown)


class Head:
    """A request's head, sealed: h11's own repr shows the headers, and a reporter of errors that
    prints the locals of a traceback would show the key.
    """

    __slots__ = ("sealed",)

    def __init__(self, head: h11.Request) -> None:
        self.sealed = head


def head_of(request: HttpRequest, target: bytes, host: tuple[bytes, bytes]) -> Head:
    """Raises h11.LocalProtocolError, whose text shows the header value: a secret, perhaps."""
    headers = [host, *request.headers]
    if not any(name.lower() in UNPACKED for name, _ in request.headers):
        headers.append(IDENTITY)
    if request.body or request.method not in BODILESS:
        headers.append((b"Content-Length", b"%d" % len(request.body)))
    return Head(h11.Request(method=request.method, target=target, headers=headers))


class Connection:
    """One exchange after the other. Owns its socket."""

    __slots__ = ("_machine", "idle_since", "socket")

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.idle_since = 0.0
        self._machine = h11.Connection(h11.CLIENT, max_incomplete_event_size=LARGEST_HEAD)

    def write(self, head: Head, body: Body) -> bool:
        """In one step; of an upload the head alone. False: the socket was found closed and not
        a byte was written.
        """
        send = self._machine.send
        lines = send(head.sealed) or b""
        if not isinstance(body, Upload):
            if body:
                lines += send(h11.Data(data=body)) or b""
            send(h11.EndOfMessage())
        self.socket.write(lines)
        return not self.socket.closing

    async def upload(self, body: Upload, idle_s: float) -> None:
        """The body behind its head, a piece when the one before has left. Ends early when the
        server answers before it has heard all. Raises TimeoutError, and what reading raises.
        """
        pieces = iter(body)
        while piece := await asyncio.to_thread(next, pieces, b""):
            self.socket.write(self._machine.send(h11.Data(data=piece)) or b"")
            await self.socket.drain(idle_s)
            if self.socket.stirred:
                return
        self._machine.send(h11.EndOfMessage())

    async def head(self, timeout_s: float) -> h11.Response:
        """Status and headers within ``timeout_s`` after the last byte was written.

        Raises TimeoutError, OSError, h11.RemoteProtocolError; so does ``data``.
        """
        if not self.socket.drained:
            await self.socket.drain(timeout_s)
        clock = asyncio.get_running_loop().time
        until = clock() + timeout_s
        while True:
            event = self._machine.next_event()
            if event is h11.NEED_DATA:
                self._feed(await self.socket.read(until - clock()))
            elif isinstance(event, h11.Response):
                return event
            elif not isinstance(event, h11.InformationalResponse):
                raise h11.RemoteProtocolError("the server switched or left the protocol")

    async def data(self, timeout_s: float) -> bytes:
        """The next bytes of the body; b"" at its end. ``timeout_s`` for each wait."""
        while True:
            event = self._machine.next_event()
            if event is h11.NEED_DATA:
                self._feed(await self.socket.read(timeout_s))
            elif isinstance(event, h11.Data):
                if event.data:
                    return bytes(event.data)
            else:
                return b""

    def renew(self) -> bool:
        """After the end of a body: whether another exchange may follow."""
        machine = self._machine
        if (
            machine.our_state is not h11.DONE
            or machine.their_state is not h11.DONE
            or machine.trailing_data[0]
            or not self.socket.drained
        ):
            return False
        machine.start_next_cycle()
        return True

    def _feed(self, data: bytes) -> None:
        if not data and self._machine.their_state is h11.SEND_RESPONSE:
            raise ConnectionResetError("the server closed the connection without an answer")
        self._machine.receive_data(data)
