"""Tiny loopback servers for transport tests: a script per connection, in the test's loop."""

import asyncio
import gc
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Received:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Peer:
    """One connection, seen from the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    server: "Server"

    async def request(self) -> Received:
        """Raises IncompleteReadError when the client has gone."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *rest = head.strip().split("\r\n")
        headers = dict(pair.split(": ", 1) for pair in rest)
        headers = {name.lower(): value for name, value in headers.items()}
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        received = Received(*line.split(" ")[:2], headers, body)
        self.server.requests.append(received)
        return received

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self) -> None:
        """Until the client has closed."""
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass

    def reset(self) -> None:
        connected = self.writer.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


@dataclass
class Server:
    script: Script
    url: str = ""
    port: int = 0
    accepted: int = 0
    open: int = 0
    most: int = 0
    requests: list[Received] = field(default_factory=list)
    peers: list[Peer] = field(default_factory=list)

    async def serve(self, reader, writer):
        peer = Peer(reader, writer, self)
        self.accepted += 1
        self.open += 1
        self.most = max(self.most, self.open)
        self.peers.append(peer)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self.script(peer)
        finally:
            self.open -= 1
            writer.close()
            with suppress(ConnectionError, OSError):
                await writer.wait_closed()

    async def settled(self, open_now: int = 0) -> None:
        """Until the server has seen all but ``open_now`` connections close."""
        async with asyncio.timeout(5):
            while self.open != open_now:  # noqa: ASYNC110
                await asyncio.sleep(0.001)


@asynccontextmanager
async def serving(script: Script, tls=None):
    server = Server(script)
    tasks = set()

    def begin(reader, writer):
        task = asyncio.get_running_loop().create_task(server.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listening = await asyncio.start_server(begin, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.port}/v1/chat"
    try:
        yield server
    finally:
        listening.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listening.wait_closed()


def answering(*answers: bytes) -> Script:
    """Gives the answers in turn, the last again and again, on each connection."""

    async def script(peer: Peer) -> None:
        turn = 0
        while True:
            await peer.request()
            await peer.send(answers[min(turn, len(answers) - 1)])
            turn += 1

    return script


def ok(body: bytes = b"hello", *headers: bytes) -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (lines, len(body), body)


def chunked(*pieces: bytes) -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"


def run(coroutine):
    """asyncio.run that fails on what a loop would only log, and on what lies about after it.

    A server's side of a handshake that the client broke off is also logged; that is as it should.
    """
    heard = []

    async def watched():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
        return await coroutine

    result = asyncio.run(watched())
    gc.collect()
    assert [told for told in heard if "incoming connection" not in told["message"]] == []
    return result
