"""Slow readings that many calls share."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Joined(Generic[T]):
    """A blocking function run off the loop, once for all who ask while it runs, whatever their
    loops. A caller that is cancelled leaves the others theirs.
    """

    def __init__(self, read: Callable[[], T]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._under_way: Future[T] | None = None

    async def __call__(self) -> T:
        with self._lock:
            result = self._under_way
            if result is None:
                result = self._under_way = Future()
                asyncio.get_running_loop().run_in_executor(None, self._work, result)
        return await asyncio.shield(asyncio.wrap_future(result))

    def _work(self, result: Future[T]) -> None:
        try:
            found = self._read()
        except BaseException as error:
            self._end()
            result.set_exception(error)
        else:
            self._end()
            result.set_result(found)

    def _end(self) -> None:
        with self._lock:
            self._under_way = None
