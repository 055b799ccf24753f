"""The seam as an httpx client, for vendors' SDKs: they bring the words, the sockets are ours.

Imports httpx, so it is imported when the first SDK needs a client.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextvars import ContextVar
from http.cookiejar import DefaultCookiePolicy
from typing import Protocol

import httpx

from ...core.redact import HIDDEN
from ...core.wire import HttpRequest
from .seam import Answer

# What httpx adds for connections of its own, and what the seam writes by itself.
_OURS = frozenset({b"host", b"connection", b"content-length", b"transfer-encoding"})
_SECRET = frozenset({"authorization", "x-goog-api-key"})
# What was true of the body on the wire only: the seam has undone it.
_UNDONE = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})


class Crossing(Protocol):
    """One call of an SDK on its way over the seam. A call may send several requests."""

    is_stream: bool

    async def carry(self, request: HttpRequest) -> Answer: ...
    async def pass_on(self) -> bytes:
        """The next bytes of the body; b"" at its end."""
        ...

    def let_go(self) -> None:
        """The SDK has closed the answer."""
        ...


# In a list that is emptied at the end: timers keep the context that they were set in.
CROSSING: ContextVar[list[Crossing]] = ContextVar("CROSSING")


class _Body(httpx.AsyncByteStream):
    def __init__(self, crossing: Crossing) -> None:
        self._crossing = crossing

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        data = await self._crossing.pass_on()
        if not data:
            raise StopAsyncIteration
        return data

    async def aclose(self) -> None:
        self._crossing.let_go()


class _Seam(httpx.AsyncBaseTransport):
    """Without state: the call under way says over which transport it goes, and when."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        (crossing,) = CROSSING.get()
        headers = [pair for pair in request.headers.raw if pair[0].lower() not in _OURS]
        sent = HttpRequest(
            request.method,
            str(request.url),
            tuple(headers),
            await request.aread(),
            crossing.is_stream,
        )
        for name in _SECRET & request.headers.keys():
            request.headers[name] = HIDDEN  # an SDK's exception brings the request with it
        answer = await crossing.carry(sent)
        kept = [pair for pair in answer.headers.raw if pair[0].lower() not in _UNDONE]
        return httpx.Response(answer.status, headers=kept, stream=_Body(crossing))


def _never(_: httpx.Request) -> httpx.Response:
    raise RuntimeError("the pool sends from coroutines only")


def guest_client() -> httpx.AsyncClient:
    """A client that keeps no cookies, follows no redirects and owns no sockets."""
    client = httpx.AsyncClient(transport=_Seam(), trust_env=False, follow_redirects=False)
    client.headers = httpx.Headers({"accept": "*/*", "accept-encoding": "identity"})
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))
    return client


def no_client() -> httpx.Client:
    """For SDKs that make a blocking client, with certificates and all, where they get none."""
    return httpx.Client(transport=httpx.MockTransport(_never), trust_env=False)
