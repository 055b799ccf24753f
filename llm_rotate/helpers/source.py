"""Rows to work through, from anything that can be gone through once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sized
from typing import Any, Generic, TypeVar

from ..errors import ConfigurationError

I = TypeVar("I")  # noqa: E741 - what goes in
_END: Any = object()


class Source(Generic[I]):
    """Numbers the rows in their order. ``total`` is None where the length is not known.

    Rows are taken one at a time, when there is room for them: a generator is never run ahead.
    Raises ConfigurationError for what is no collection of rows.
    """

    def __init__(self, inputs: Iterable[I] | AsyncIterable[I]) -> None:
        self.total = len(inputs) if isinstance(inputs, Sized) else None
        self._taken = 0
        self._lock = asyncio.Lock()
        self._rows: Iterator[I] | None = None
        self._coming: AsyncIterator[I] | None = None
        given: object = inputs
        if isinstance(given, AsyncIterable):
            self._coming = aiter(given)
        elif isinstance(given, Iterable) and not isinstance(given, (str, bytes, Mapping)):
            self._rows = iter(given)
        else:
            raise ConfigurationError(
                "inputs must be a list or a generator with one row each, "
                f"not {type(inputs).__name__}"
            )

    async def take(self) -> tuple[int, I] | None:
        """The next row with its number from 0; None after the last."""
        row = next(self._rows, _END) if self._rows is not None else await self._wait()
        if row is _END:
            return None
        number = self._taken
        self._taken += 1
        return number, row

    async def aclose(self) -> None:
        """No more rows will be taken."""

    async def _wait(self) -> Any:
        if self._coming is None:
            raise AssertionError("rows come one way or the other")
        async with self._lock:  # an async generator can be asked by one at a time
            return await anext(self._coming, _END)
