"""A whole batch: results in the order of its inputs, errors beside them."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ..errors import BatchError, ConfigurationError
from ..types import Usage
from .meter import Meter
from .progress import Board, ProgressWish
from .window import Row, Window

R = TypeVar("R")
OnProgress = Callable[[int, int | None], Any]
OnResult = Callable[[int, Any, Exception | None], Any]
_log = logging.getLogger("llm_rotate")
# Rows that on_result would not take and nobody else keeps: so many are one accident too many.
MOST_UNTAKEN = 100


@dataclass(slots=True)
class BatchResult(Generic[R]):
    """What became of a batch; going through it gives the results.

    ``results`` and ``errors`` have one place per input, in the order of the inputs: a failed
    row's result is None, a good one's error is. ``usage``: tokens of all answers that were
    paid for. ``completed`` counts all rows, ``failed`` those with an error. With
    ``collect=False`` both lists are empty; ``untaken`` then holds the rows whose on_result
    raised, by their index: their result, or their exception.
    """

    results: list[R | None] = field(default_factory=list)
    errors: list[Exception | None] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    completed: int = 0
    failed: int = 0
    untaken: dict[int, R | Exception] = field(default_factory=dict)

    def __iter__(self) -> Iterator[R | None]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, index: int) -> R | None:
        return self.results[index]

    def put(self, row: Row[R]) -> None:
        """Keeps a row at its place, whatever came before it."""
        missing = row.index + 1 - len(self.results)
        if missing > 0:
            self.results.extend([None] * missing)
            self.errors.extend([None] * missing)
        self.results[row.index] = row.result
        self.errors[row.index] = row.error


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a caller wants done with each row; the names are those of the faces."""

    return_exceptions: bool = True
    on_progress: OnProgress | None = None
    on_result: OnResult | None = None
    collect: bool = True
    progress: ProgressWish = None

    def __post_init__(self) -> None:
        if not self.collect and self.on_result is None:
            raise ConfigurationError(
                "collect=False keeps no results: give on_result=, or use as_completed"
            )


class Delivery(Generic[R]):
    """Takes rows as they are done, one after the other, and tells who wants to know."""

    def __init__(self, total: int | None, wishes: Wishes) -> None:
        self._total = total
        self._wishes = wishes
        self._has_complained = False
        self.batch: BatchResult[R] = BatchResult()

    async def take(self, row: Row[R]) -> None:
        """Keeps the row and calls the callbacks; what they raise is logged and loses nothing.

        Raises the row's error if the caller wants the first one raised.
        """
        batch, wishes = self.batch, self._wishes
        batch.completed += 1
        batch.failed += row.error is not None
        if wishes.collect:
            batch.put(row)
        if wishes.on_result is not None:
            taken = await self._told(wishes.on_result, row.index, row.result, row.error)
            if not (taken or wishes.collect):
                batch.untaken[row.index] = row.outcome
        if wishes.on_progress is not None:
            await self._told(wishes.on_progress, batch.completed, self._total)
        if row.error is not None and not wishes.return_exceptions:
            raise row.error

    async def _told(self, callback: Callable[..., Any], *words: Any) -> bool:
        """Calls a caller's function, which may be async; whether it did not raise."""
        try:
            said = callback(*words)
            if said is not None and inspect.isawaitable(said):
                await said
        except Exception as error:
            level = logging.DEBUG if self._has_complained else logging.ERROR
            self._has_complained = True  # a million tracebacks say no more than one
            _log.log(level, "a callback of the batch raised; it goes on", exc_info=error)
            return False
        return True

    @property
    def is_refused(self) -> bool:
        """Whether on_result has raised too often for a batch that keeps nothing."""
        return len(self.batch.untaken) >= MOST_UNTAKEN


async def run_batch(window: Window[Any, R], wishes: Wishes, meter: Meter) -> BatchResult[R]:
    """Works through the window. Raises BatchError, with what is done, if its inputs raise."""
    delivery: Delivery[R] = Delivery(window.total, wishes)
    batch = delivery.batch
    try:
        with Board(wishes.progress, window.total, meter) as board:
            async with aclosing(window):
                while row := await _next(window, batch):
                    await delivery.take(row)
                    board.note(batch.completed, batch.failed)
                    if delivery.is_refused:
                        window.stop()
    finally:
        batch.usage = meter.usage
    if delivery.is_refused:
        raise BatchError(
            "the batch was stopped: on_result raised for row after row, and with collect=False "
            f"nobody else keeps them; {len(batch.untaken)} are in error.batch.untaken",
            batch,
        )
    return batch


async def _next(window: Window[Any, R], batch: BatchResult[R]) -> Row[R] | None:
    try:
        return await window.next()
    except Exception as error:
        raise BatchError(
            f"the inputs raised {type(error).__name__} after {batch.completed} rows: "
            f"{error}. The rows before it are in error.batch",
            batch,
        ) from error
