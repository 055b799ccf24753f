"""The bell that wakes waiting calls."""

from __future__ import annotations

import asyncio

from llm_rotate.engine.bell import Bell
from llm_rotate.testing import FakeTime, run_fake


class Closing(asyncio.SelectorEventLoop):
    """Closes in the very moment in which another thread wants to wake something in it."""

    def call_soon_threadsafe(self, *args: object, **more: object) -> asyncio.Handle:  # type: ignore[override]
        self.close()
        raise RuntimeError("Event loop is closed")


def test_a_loop_that_closes_while_the_bell_rings_keeps_nobody_else_asleep():
    bell, clock, loop = Bell(), FakeTime(), Closing()
    gone = loop.create_future()

    async def scenario() -> None:
        bell._waiting[gone] = loop
        waiter = asyncio.ensure_future(bell.wait(clock, 1000.0, bell.epoch))
        await asyncio.sleep(0)
        bell.ring()
        await waiter

    try:
        run_fake(scenario(), clock)
    finally:
        loop.close()
    assert clock.now() == 1000.0
