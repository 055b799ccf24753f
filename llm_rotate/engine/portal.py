"""Sync faces over one background event loop, in a daemon thread.

There is no exit hook: stopping the thread at exit was noisy or wrong in every way tried
(atexit prints tracebacks of calls in flight, threading's own hook kills calls of threads
that outlive main), while not stopping it is silent and right.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
CANCEL_SECONDS = 2.0


class Portal:
    """Runs coroutines for threads that have no loop, or whose loop must not be used."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of ``make()`` run in the background loop, in a copy of the caller's
        context. Ctrl-C cancels it and leaves once it has ended (at most 2 s).
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError(
                "a *_sync call was made on the loop that serves them (from a listener or a "
                "callback, most likely): await the async form there instead"
            )
        loop = self._running_loop()
        done: concurrent.futures.Future[T] = concurrent.futures.Future()
        task: list[asyncio.Task[T]] = []

        def start() -> None:
            try:
                task.append(loop.create_task(make()))
            except BaseException as error:
                done.set_exception(error)
                raise
            task[0].add_done_callback(lambda ended: _hand_over(ended, done))

        loop.call_soon_threadsafe(start)
        try:
            return done.result()
        except BaseException:
            if not done.done():
                loop.call_soon_threadsafe(lambda: task[0].cancel())  # noqa: PLW0108 - not made yet
                concurrent.futures.wait([done], CANCEL_SECONDS)
            raise

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_serve, args=(loop,), name="llm_rotate portal", daemon=True
                )
                self._thread.start()
                self._loop = loop
            return self._loop

    def close(self) -> None:
        """Ends the thread; the next call makes a new one. For tests and orderly exits."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    def forget(self) -> None:
        """After a fork: the thread stayed in the parent."""
        self.__init__()  # type: ignore[misc]  # as new, the same object


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        _run_on(loop)
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


def _run_on(loop: asyncio.AbstractEventLoop) -> None:
    """A callback of the caller's that exits must not take everybody's loop with it."""
    while True:
        try:
            loop.run_forever()
        except (KeyboardInterrupt, SystemExit):
            continue
        return


def _hand_over(ended: asyncio.Task[T], done: concurrent.futures.Future[T]) -> None:
    if ended.cancelled():
        done.cancel()
        done.set_running_or_notify_cancel()
    elif error := ended.exception():
        done.set_exception(error)
    else:
        done.set_result(ended.result())


PORTAL = Portal()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=PORTAL.forget)
