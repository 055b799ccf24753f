"""A fake time, and an event loop that lives in it: hours of waiting pass in milliseconds."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH = 1_767_225_600.0  # 2026-01-01T00:00:00Z, in seconds
START = 1_000.0  # monotonic seconds: not 0, so that nothing mistakes "now" for "never"
_Ready = list[tuple[selectors.SelectorKey, int]]


class FakeTime:
    """A clock that stands still until it is moved: by ``advance``, or by a ``FakeLoop``.

    It is what the engine takes for a clock: ``now`` in monotonic seconds, ``wall`` in
    seconds since the epoch; ``sleep`` and ``call_later`` belong to the running loop.
    """

    def __init__(self, *, start: float = START, epoch: float = EPOCH) -> None:
        self._now = start
        self._offset = epoch - start

    def now(self) -> float:
        """Monotonic seconds."""
        return self._now

    def wall(self) -> float:
        """Seconds since the epoch; they pass with ``now``."""
        return self._now + self._offset

    def advance(self, seconds: float) -> None:
        """Lets ``seconds`` pass at once. ValueError for a negative number."""
        if seconds < 0:
            raise ValueError(f"time does not run backwards: {seconds}")
        self._now += seconds

    async def sleep(self, seconds: float) -> None:
        """``asyncio.sleep``: on a ``FakeLoop`` it takes no real time."""
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        """Runs ``callback`` in the running loop after ``seconds``."""
        return asyncio.get_running_loop().call_later(seconds, callback)


class FakeLoop(asyncio.SelectorEventLoop):
    """An event loop on fake time. It jumps to the next timer when nothing is left to run.

    It never jumps while a callback is ready, a socket is readable or work given to an
    executor is under way. Threads may use ``call_soon_threadsafe`` as ever; what they do
    between such calls is not seen, so let none outlive a wait that matters. Where nothing
    but a thread could go on, it waits up to ``patience`` real seconds, then raises
    RuntimeError: every task would wait for ever.
    """

    def __init__(self, clock: FakeTime | None = None, *, patience: float = 5.0) -> None:
        self.clock = clock or FakeTime()
        self._patience = patience
        self._at_work = 0
        super().__init__(_Jumping(self._idle))

    def time(self) -> float:
        """Fake monotonic seconds."""
        return self.clock.now()

    def run_in_executor(  # type: ignore[override]  # the stub's variadic form
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """As ever; time stands still until the work is done."""
        work: asyncio.Future[T] = super().run_in_executor(executor, func, *args)
        self._at_work += 1
        work.add_done_callback(self._worked)
        return work

    async def shutdown_default_executor(self, *args: Any) -> None:
        """As ever; its time limit, where Python has one, does not jump past."""
        with self._working():
            await super().shutdown_default_executor(*args)

    def _worked(self, work: asyncio.Future[Any]) -> None:
        del work
        self._at_work -= 1

    @contextmanager
    def _working(self) -> Iterator[None]:
        self._at_work += 1
        try:
            yield
        finally:
            self._at_work -= 1

    def _idle(self, wait: Callable[[float], _Ready], timeout: float | None) -> _Ready:
        """Nothing is ready: jumps ``timeout`` ahead, or waits for what only a thread brings."""
        if timeout is not None and not self._at_work:
            self.clock.advance(timeout)
            return []
        ready = wait(self._patience)
        if ready:
            return ready
        raise RuntimeError(
            f"after {self._patience:g} real seconds nothing has come to go on with: "
            "every task waits for something that no timer brings"
        )


class _Jumping(selectors.BaseSelector):
    """A selector that asks ``idle`` instead of waiting."""

    def __init__(self, idle: Callable[[Callable[[float], _Ready], float | None], _Ready]) -> None:
        self._real = selectors.DefaultSelector()
        self._idle = idle

    def select(self, timeout: float | None = None) -> _Ready:
        ready = self._real.select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        return self._idle(self._real.select, timeout)

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def close(self) -> None:
        self._real.close()

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.get_key(fileobj)

    def get_map(self) -> Any:
        return self._real.get_map()


def run_fake(main: Coroutine[Any, Any, T], clock: FakeTime | None = None) -> T:
    """``asyncio.run`` on a ``FakeLoop``: runs ``main`` and returns what it returns."""
    with asyncio.Runner(loop_factory=lambda: FakeLoop(clock)) as runner:
        return runner.run(main)
