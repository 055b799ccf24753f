"""The calls of one route that wait for room, in the order in which they came."""

from __future__ import annotations

import asyncio
import math
import threading
from bisect import insort
from contextlib import suppress
from dataclasses import dataclass, field

from ..core.bucket import Tokens
from .clock import Clock


@dataclass(order=True, slots=True)
class Place:
    """A call's place. ``number``: which call of the pool it is, its rank."""

    number: int
    tokens: int = field(compare=False)
    woken: asyncio.Future[None] | None = field(default=None, compare=False)
    loop: asyncio.AbstractEventLoop | None = field(default=None, compare=False)


class Queue:
    """Only the first asks for a key; the others wait behind it, and who comes new joins them.

    ``free_at``: when the first expects room. Any thread, any loop.
    """

    def __init__(self) -> None:
        self.free_at = 0.0
        self.places: list[Place] = []
        self._tokens = 0
        self._lock = threading.Lock()

    def join(self, number: int, cost: Tokens) -> Place:
        """A place by the call's rank: who was refused after waiting does not start anew."""
        place = Place(number, cost.input + cost.output)
        with self._lock:
            insort(self.places, place)
            self._tokens += place.tokens
        return place

    def leave(self, place: Place) -> None:
        """Gives the place up, and the turn to the next."""
        with self._lock:
            self._tokens -= place.tokens
            self.places.remove(place)
            first = self.places[0] if self.places else None
            woken, loop = (first.woken, first.loop) if first else (None, None)
        if woken is None or loop is None:
            return
        if loop is asyncio._get_running_loop():  # noqa: SLF001 - the public one raises outside a loop
            _wake(woken)
        else:
            with suppress(RuntimeError):  # the loop is closed: nobody waits there
                loop.call_soon_threadsafe(_wake, woken)

    def is_first(self, place: Place) -> bool:
        """Whether it is the call's turn."""
        with self._lock:
            return self.places[0] is place

    def foreseen(self, place: Place, now: float, pace: tuple[float, float]) -> float:
        """When the call will go, at so many requests and tokens a second: after the first, all
        that stand between, and itself.
        """
        with self._lock:
            first = self.places[0]
            if self.places[-1] is place:
                ahead, tokens = len(self.places) - 1, self._tokens - first.tokens
            else:
                ahead = self.places.index(place)
                tokens = sum(each.tokens for each in self.places[1 : ahead + 1])
        requests_s, tokens_s = pace
        return max(now, self.free_at) + max(ahead / requests_s, tokens / tokens_s)

    async def turn(self, place: Place, clock: Clock, seconds: float) -> bool:
        """Waits until the place is the first, ``seconds`` at most; whether it is. Who is woken
        may find one of an earlier rank before it, which was refused and is back: it waits on.
        """
        latest = clock.now() + seconds
        while not await self._woken(place, clock, latest - clock.now()):
            if clock.now() >= latest:
                return False
        return True

    async def _woken(self, place: Place, clock: Clock, seconds: float) -> bool:
        loop = asyncio.get_running_loop()
        with self._lock:
            if self.places[0] is place:
                return True
            woken = loop.create_future()
            place.woken, place.loop = woken, loop
        timer = None if seconds == math.inf else clock.call_later(seconds, lambda: _wake(woken))
        try:
            await woken
        finally:
            place.woken = None
            if timer is not None:
                timer.cancel()
        return self.is_first(place)


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
