"""Wakes waiting calls, in the order in which they began to wait, each in its own loop."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

from .clock import Clock


class Bell:
    """Rung when a key comes back or something of it is freed.

    ``epoch`` counts the rings: a caller that saw one number before it looked, and finds
    another when it wants to wait, looks again instead.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self._lock = threading.Lock()
        self._waiting: dict[asyncio.Future[None], asyncio.AbstractEventLoop] = {}

    def ring(self) -> None:
        """Wakes everybody. Any thread."""
        with self._lock:
            self.epoch += 1
            waiting, self._waiting = self._waiting, {}
        here = asyncio._get_running_loop()  # noqa: SLF001 - the public one raises outside a loop
        for woken, loop in waiting.items():
            if loop is here:
                _wake(woken)
            else:
                with suppress(RuntimeError):  # the loop is closed: nobody waits there
                    loop.call_soon_threadsafe(_wake, woken)

    async def wait(self, clock: Clock, seconds: float, epoch: int) -> None:
        """Returns after ``seconds``, or as soon as the bell has rung since ``epoch``."""
        loop = asyncio.get_running_loop()
        woken = loop.create_future()
        with self._lock:
            if self.epoch != epoch:
                return
            self._waiting[woken] = loop
        timer = clock.call_later(seconds, lambda: _wake(woken))
        try:
            await woken
        finally:
            timer.cancel()
            with self._lock:
                self._waiting.pop(woken, None)

    def forget(self) -> None:
        """After a fork: nobody of the parent waits here."""
        self._lock = threading.Lock()
        self._waiting.clear()


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
