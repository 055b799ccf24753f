"""The clock seam. Rests and deadlines live on ``now``, dates on ``wall``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A call that has not happened yet."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """``now``: monotonic seconds. ``wall``: seconds since the epoch."""

    def now(self) -> float: ...
    def wall(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...
    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer: ...


class RealClock:
    """Time as it passes."""

    now = staticmethod(time.monotonic)
    wall = staticmethod(time.time)
    sleep = staticmethod(asyncio.sleep)

    @staticmethod
    def call_later(seconds: float, callback: Callable[[], object]) -> Timer:
        """Runs ``callback`` in the running loop after ``seconds``."""
        return asyncio.get_running_loop().call_later(seconds, callback)
