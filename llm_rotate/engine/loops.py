"""What serves one event loop: async sockets belong to the loop that made them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass

from .google import SdkClients
from .transport.seam import Transport


@dataclass(slots=True, eq=False)
class Served:
    """One loop's transport, and the clients of vendors' SDKs that send over it."""

    transport: Transport
    sdk: SdkClients
    closer: AsyncGenerator[None, None]
    is_closed: bool = False

    async def aclose(self) -> None:
        await self.sdk.aclose()
        await self.transport.aclose()


class Loops:
    """Opens transports when loops first need them and closes them when the loops end."""

    def __init__(self, open_transport: Callable[[], Transport]) -> None:
        self._open = open_transport
        self._lock = threading.Lock()
        self._served: dict[asyncio.AbstractEventLoop, Served] = {}
        self._retired: list[tuple[asyncio.AbstractEventLoop, Served]] = []
        self._kept: list[object] = []

    def served(self) -> Served:
        """What serves the running loop."""
        loop = asyncio.get_running_loop()
        served = self._served.get(loop)
        if served is None:
            opened = self._open()
            sdk = SdkClients(opened)
            served = Served(opened, sdk, _close_with_loop(opened, sdk))
            with suppress(StopIteration):  # started, the loop knows it and ends it
                served.closer.__anext__().__await__().send(None)
            with self._lock:
                ended = [each for each in self._served if each.is_closed()]
                closed = [self._served.pop(each) for each in ended]
                self._served[loop] = served
            for each in closed:
                each.transport.abort()
        return served

    def retire(self) -> None:
        """Calls in flight end on what they have; the next ones open transports anew."""
        with self._lock:
            self._retired.extend(self._served.items())
            self._served = {}

    async def aclose(self) -> None:
        """Closes this loop's sockets in order, the other loops' at once and without waiting."""
        with self._lock:
            served = [*self._served.items(), *self._retired]
            self._served, self._retired = {}, []
        for _, each in served:
            each.is_closed = True
        here = asyncio.get_running_loop()
        for loop, each in served:
            if loop is here:
                await each.aclose()
            elif loop.is_closed():
                each.transport.abort()
            else:
                with suppress(RuntimeError):  # it closed this moment, its generators with it
                    loop.call_soon_threadsafe(each.transport.abort)

    def forget(self) -> None:
        """After a fork: the sockets are the parent's, and must not be closed from here."""
        self._lock = threading.Lock()
        self._kept.append((self._served, self._retired))
        self._served, self._retired = {}, []


async def _close_with_loop(transport: Transport, sdk: SdkClients) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await sdk.aclose()
        await transport.aclose()
