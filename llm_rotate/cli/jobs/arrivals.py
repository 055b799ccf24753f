"""Rows from a pipe, whose writer may take its time: what is under way must not wait for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
AHEAD = 64  # rows that are read before they are asked for
_END: Any = object()


@dataclass(frozen=True, slots=True)
class _Failed:
    """The source raised."""

    error: Exception


class Arrivals(Generic[T]):
    """Goes through ``source`` in a thread of its own, which nobody waits for at the end."""

    def __init__(self, source: Iterable[T]) -> None:
        self._source = source
        self._come: asyncio.Queue[Any] = asyncio.Queue()
        self._room = threading.Semaphore(AHEAD)

    async def __aiter__(self) -> AsyncIterator[T]:
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, args=(loop,), daemon=True).start()
        while (each := await self._come.get()) is not _END:
            if isinstance(each, _Failed):
                raise each.error
            self._room.release()
            yield each

    def stop(self) -> None:
        """No more rows, though the writer may have some."""
        self._come.put_nowait(_END)

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits for rows
            try:
                for each in self._source:
                    loop.call_soon_threadsafe(self._come.put_nowait, each)
                    self._room.acquire()
            except Exception as error:
                loop.call_soon_threadsafe(self._come.put_nowait, _Failed(error))
            else:
                loop.call_soon_threadsafe(self._come.put_nowait, _END)
