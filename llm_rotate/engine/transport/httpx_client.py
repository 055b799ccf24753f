"""The same contract over an httpx.AsyncClient: for proxies, HTTP/2 or a caller's own client.

Any client of that shape serves (httpx2's is one), so nothing here imports httpx and its
exceptions are told apart by the names of their classes.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

from ...core.outcome import Outcome
from ...core.wire import Headers, HttpRequest, Upload
from ...errors import ConfigurationError, LMRotateError
from .seam import Timeouts, TransportError, Withdrawn

T = TypeVar("T")

# By class name, the most derived first; what is not named here broke after writing.
OUTCOMES: Mapping[str, Outcome] = {
    "ConnectError": Outcome.UNREACHABLE,
    "ConnectTimeout": Outcome.UNREACHABLE,
    "PoolTimeout": Outcome.UNREACHABLE,
    "ProxyError": Outcome.UNREACHABLE,
    "UnsupportedProtocol": Outcome.UNREACHABLE,
    "LocalProtocolError": Outcome.UNREACHABLE,
    "InvalidURL": Outcome.UNREACHABLE,
    "ValueError": Outcome.UNREACHABLE,  # a header that is no header
    "RuntimeError": Outcome.UNREACHABLE,  # the client was closed
    "TimeoutException": Outcome.TIMED_OUT,
    "TimeoutError": Outcome.TIMED_OUT,
}
# Their texts may show a header or the URL, so a secret.
TELLTALE = ("LocalProtocolError", "InvalidURL", "ValueError")


class Client(Protocol):
    """What is used of an httpx.AsyncClient."""

    def build_request(self, method: str, url: str, **options: Any) -> Any: ...
    async def send(self, request: Any, **options: Any) -> Any: ...
    async def aclose(self) -> None: ...


def check_client(given: Any) -> None:
    """Raises ConfigurationError for what is no such client, as httpx.Client is none."""
    used = ("build_request", "send", "aclose")
    if isinstance(given, type) or not all(callable(getattr(given, name, None)) for name in used):
        raise ConfigurationError(
            f"http_client must be an httpx.AsyncClient (or httpx2's), not {_named(given)}"
        )


def _named(given: Any) -> str:
    kind = given if isinstance(given, type) else type(given)
    what = "the class " if isinstance(given, type) else ""
    return f"{what}{kind.__module__.partition('.')[0]}.{kind.__name__}"


class Gate:
    """Asks ``go`` in the step that writes, as the client's ``trace`` extension tells of it.

    ``over``: the body has come, so the connection is about to serve somebody else.
    """

    __slots__ = ("_go", "over", "shut", "written")

    def __init__(self, go: Callable[[], bool]) -> None:
        self._go = go
        self.shut = self.written = self.over = False

    def ask(self) -> None:
        if self.shut or not self._go():
            raise Withdrawn

    async def trace(self, event: str, _: object) -> None:
        if event.endswith("send_request_headers.started"):
            self.ask()
            self.written = True
        elif event.endswith("receive_response_body.complete"):
            self.over = True


class HttpxAnswer:
    """The body is decoded by the client. ``limit_s`` is looked at in each wait for bytes."""

    __slots__ = (
        "__weakref__",
        "_chunks",
        "_ended",
        "_gate",
        "_response",
        "_tasks",
        "_until",
        "headers",
        "status",
    )

    def __init__(self, response: Any, gate: Gate, until: float | None, tasks: Tasks) -> None:
        self._gate = gate
        self.status: int = response.status_code
        self.headers = Headers(response.headers.raw)
        self._response: Any = response
        self._chunks: AsyncGenerator[bytes, None] = response.aiter_bytes()
        self._until = until
        self._tasks = tasks
        self._ended = False

    async def read(self, timeout_s: float) -> bytes:
        parts = []
        while part := await self.next(timeout_s):
            parts.append(part)
        return b"".join(parts)

    async def next(self, timeout_s: float) -> bytes:
        if self._ended:
            return b""
        if self._response is None:
            raise TransportError(Outcome.SERVER_ERROR, "the answer was discarded")
        reading = self._tasks.start(first_of(self._chunks))
        try:
            async with asyncio.timeout_at(self._wait_until(timeout_s)):
                data = await asyncio.shield(reading)
        except Exception as error:
            self._break_off(reading)
            told = mapped(error)
            if told.outcome is Outcome.UNREACHABLE:
                told.outcome = Outcome.SERVER_ERROR  # it was reached
            raise told from told.__cause__
        except BaseException:
            self._break_off(reading)
            raise
        if not data:
            self._ended = True
            self._response = None
        return data

    def discard(self) -> None:
        """The socket is shut at once; what the client has to put in order follows in a task."""
        self._break_off(None)

    def _break_off(self, reading: asyncio.Task[bytes] | None) -> None:
        response, self._response = self._response, None
        if response is None:
            return
        shut = self._gate.over or hang_up(response.extensions)
        if self._tasks.possible():
            if not shut and reading is not None:
                reading.cancel()
            self._tasks.start(close(reading, self._chunks, response))

    def _wait_until(self, timeout_s: float) -> float:
        until = asyncio.get_running_loop().time() + timeout_s
        return until if self._until is None else min(until, self._until)


class HttpxTransport:
    """``client`` is used as it is, but for redirects: a key is not carried to another place.

    ``go`` is asked before the client is, and once more in the step that writes; a client
    without httpcore below it (a mock) asks once. A client is closed here only if ``owned``.

    httpx loses connections of its pool when a cancellation meets it in the wrong moment, so
    it works in tasks of its own: instead of being cancelled, a request not yet written is
    withdrawn, and a body's socket is shut.
    """

    def __init__(self, client: Client, *, owned: bool = False) -> None:
        self._client = client
        self._owned = owned
        self._closed = False
        self._tasks = Tasks()
        self._sending: set[asyncio.Task[Any]] = set()
        self._answers: WeakSet[HttpxAnswer] = WeakSet()

    async def send(
        self,
        request: HttpRequest,
        timeouts: Timeouts,
        go: Callable[[], bool],
        limit_s: float | None = None,
    ) -> HttpxAnswer:
        if self._closed:
            raise TransportError(Outcome.UNREACHABLE, "this transport is closed")
        until = None if limit_s is None else asyncio.get_running_loop().time() + limit_s
        waits: dict[str, float | None] = {
            "connect": timeouts.connect,
            "read": timeouts.first_event if request.stream else timeouts.first_byte,
            "write": timeouts.idle,
            "pool": None,
        }
        gate = Gate(go)
        try:
            gate.ask()
            async with asyncio.timeout_at(until):
                response = await self._send(self._build(request, waits, gate), gate)
        except (Withdrawn, TransportError, LMRotateError):
            raise
        except Exception as error:
            told = mapped(error)
            raise told from told.__cause__
        waits["read"] = None  # each wait for the body brings its own
        answer = HttpxAnswer(response, gate, until, self._tasks)
        self._answers.add(answer)
        return answer

    async def aclose(self) -> None:
        self.abort()
        await self._tasks.ended()

    def abort(self) -> None:
        """Shuts what is being answered. Idle sockets are the client's and go with it.

        An owned client closes them in its running loop only: httpx has no other way.
        """
        self._closed = True
        for answer in tuple(self._answers):
            answer.discard()
        for sending in tuple(self._sending):
            sending.cancel()
        if self._owned and self._tasks.possible():
            self._owned = False
            self._tasks.start(self._client.aclose())

    def _build(self, request: HttpRequest, waits: dict[str, float | None], gate: Gate) -> Any:
        body, headers = request.body, list(request.headers)
        if isinstance(body, Upload):
            headers.append((b"Content-Length", b"%d" % len(body)))
        return self._client.build_request(
            request.method,
            request.url,
            headers=headers,
            content=pieces(body) if isinstance(body, Upload) else body,
            extensions={"timeout": waits, "trace": gate.trace},
        )

    async def _send(self, built: Any, gate: Gate) -> Any:
        sending = self._tasks.start(self._client.send(built, stream=True, follow_redirects=False))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)
        try:
            return await asyncio.shield(sending)
        except asyncio.CancelledError:
            gate.shut = True
            if gate.written:
                sending.cancel()
            self._tasks.start(drop(sending))
            task = asyncio.current_task()
            if self._closed and task is not None and not task.cancelling():
                outcome = Outcome.SERVER_ERROR if gate.written else Outcome.UNREACHABLE
                raise TransportError(outcome, "the transport was closed") from None
            raise


class Tasks:
    """What goes on beside the calls, held until it has ended."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    @staticmethod
    def possible() -> bool:
        """Without a running loop nothing can be put in order, and little is left to be."""
        with contextlib.suppress(RuntimeError):
            return asyncio.get_running_loop().is_running()
        return False

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def ended(self) -> None:
        while self._running:
            await asyncio.gather(*self._running, return_exceptions=True)


async def first_of(chunks: AsyncGenerator[bytes, None]) -> bytes:
    """The next bytes; b"" at the end."""
    async for data in chunks:
        if data:
            return data
    return b""


async def pieces(body: Upload) -> AsyncGenerator[bytes, None]:
    """A body as it is read, off the loop."""
    opened = iter(body)
    while piece := await asyncio.to_thread(next, opened, b""):
        yield piece


async def drop(sending: asyncio.Task[Any]) -> None:
    """An answer that nobody waits for any more."""
    with contextlib.suppress(Exception, asyncio.CancelledError):
        await (await sending).aclose()


async def close(
    reading: asyncio.Task[bytes] | None, chunks: AsyncGenerator[bytes, None], response: Any
) -> None:
    # It is thrown away, whatever it says.
    with contextlib.suppress(Exception, asyncio.CancelledError):
        if reading is not None:
            await reading
    with contextlib.suppress(Exception):
        await chunks.aclose()
        await response.aclose()


def mapped(error: Exception) -> TransportError:
    """What ``error`` means. It becomes the cause unless its text could show a secret."""
    names = [kind.__name__ for kind in type(error).__mro__]
    outcome = next((OUTCOMES[name] for name in names if name in OUTCOMES), Outcome.SERVER_ERROR)
    if any(name in TELLTALE for name in names):
        return TransportError(outcome, "the URL or a header cannot be sent: illegal characters?")
    told = TransportError(outcome, str(error) or names[0])
    with contextlib.suppress(AttributeError):  # its request has the key in its headers
        error.request = None  # type: ignore[attr-defined] # httpx's and httpx2's errors have it
    told.__cause__ = error
    return told


def hang_up(extensions: Mapping[str, Any]) -> bool:
    """Shuts the socket of an HTTP/1 exchange; HTTP/2 shares it with others (False)."""
    stream = extensions.get("network_stream")
    if stream is None or extensions.get("http_version") == b"HTTP/2":
        return False
    connected = stream.get_extra_info("socket")
    if connected is None:
        return False
    with contextlib.suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)
    return True
