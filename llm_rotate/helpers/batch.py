"""A whole batch: results in the order of its inputs, errors beside them."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ..engine.pool import Pool
from ..engine.portal import PORTAL
from ..errors import BatchError, ConfigurationError
from ..types import Usage
from .meter import Meter
from .progress import Board, ProgressWish
from .window import Row, Window

R = TypeVar("R")
T = TypeVar("T")
OnProgress = Callable[[int, int | None], Any]
OnResult = Callable[[int, Any, Exception | None], Any]
_log = logging.getLogger("llm_rotate")
# Rows that on_result would not take and nobody else keeps: so many are one accident too many.
MOST_UNTAKEN = 100


@dataclass(slots=True, repr=False)
class BatchResult(Generic[R]):
    """What became of a batch; going through it gives the results.

    ``results`` and ``errors`` have one place per input, in the order of the inputs: a failed
    row's result is None, a good one's error is, and both are of a row that was not done because
    the batch ended early. ``usage``: tokens of all answers that were
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

    def __repr__(self) -> str:
        name, tokens = type(self).__name__, self.usage.total_tokens
        told = f"{self.completed} rows done, {self.failed} of them failed, {tokens} tokens"
        return f"<{name}: {told}>"

    def __iter__(self) -> Iterator[R | None]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, index: int) -> R | None:
        return self.results[index]

    def put(self, row: Row[R]) -> None:
        """Keeps a row at its place, whatever came before it."""
        self.reach(row.index + 1)
        self.results[row.index] = row.result
        self.errors[row.index] = row.error

    def reach(self, count: int) -> None:
        """Has so many places at least."""
        missing = [None] * (count - len(self.results))
        self.results.extend(missing)
        self.errors.extend(missing)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a caller wants done with each row; the names are those of the faces."""

    return_exceptions: bool = True
    on_progress: OnProgress | None = None
    on_result: OnResult | None = None
    collect: bool = True

    def __post_init__(self) -> None:
        check_callable("on_progress", self.on_progress)
        check_callable("on_result", self.on_result)
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
        wishes = self._wishes
        self.keep(row)
        if wishes.on_result is not None and await self._told(
            wishes.on_result, row.index, row.result, row.error
        ):
            self.batch.untaken.pop(row.index, None)
        if wishes.on_progress is not None:
            await self._told(wishes.on_progress, self.batch.completed, self._total)
        if row.error is not None and not wishes.return_exceptions:
            raise row.error

    def keep(self, row: Row[R]) -> None:
        """Counts the row, and keeps it: with ``collect=False`` until somebody has taken it."""
        batch = self.batch
        batch.completed += 1
        batch.failed += row.error is not None
        if self._wishes.collect:
            batch.put(row)
        else:
            batch.untaken[row.index] = row.outcome

    def fill(self) -> None:
        """Rows that were not reached have their places too, where it is known how many."""
        if self._wishes.collect and self._total is not None:
            self.batch.reach(self._total)

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


async def run_batch(window: Window[Any, R], wishes: Wishes) -> BatchResult[R]:
    """Works through the window. What ends it early has the rows that are done as ``batch``;
    that is a BatchError if the inputs raise or the pool is closed.
    """
    delivery: Delivery[R] = Delivery(window.board.total, wishes)
    batch = delivery.batch
    try:
        await _work_through(window, delivery)
    except BaseException as error:
        for row in window.left():
            delivery.keep(row)
        delivery.fill()
        with suppress(AttributeError):  # some errors take none
            error.batch = batch  # type: ignore[attr-defined]  # it was paid for
        raise
    finally:
        batch.usage = window.board.meter.usage
    return batch


async def _work_through(window: Window[Any, R], delivery: Delivery[R]) -> None:
    batch = delivery.batch
    async with aclosing(window):
        while row := await _next(window, batch):
            await delivery.take(row)
            if delivery.is_refused:
                window.stop()
    if delivery.is_refused:
        raise BatchError(
            "the batch was stopped: on_result raised for row after row, and with collect=False "
            f"nobody else keeps them; {len(batch.untaken)} are in error.batch.untaken",
            batch,
        )


async def _next(window: Window[Any, R], batch: BatchResult[R]) -> Row[R] | None:
    try:
        return await window.next()
    except Exception as error:
        raise BatchError(
            f"the batch was ended by {type(error).__name__} after {batch.completed} rows: "
            f"{error}. The rows before it are in error.batch",
            batch,
        ) from error


def run_batch_sync(batch: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs the batch for code without a loop. Ctrl-C ends it early, and is raised elsewhere."""
    ended: list[BaseException] = []

    async def run() -> T:
        try:
            return await batch()
        except BaseException as error:
            ended.append(error)
            raise

    try:
        return PORTAL.run(run)
    except BaseException as error:
        if ended and ended[0] is not error:
            error.batch = getattr(ended[0], "batch", None)  # type: ignore[attr-defined]  # as above
        raise


def board_of(pool: Pool, total: int | None, wish: ProgressWish) -> Board:
    """Where a batch of the pool is watched."""
    return Board(Meter(pool.judge.books.price if wish else None, pool.clock.now), total, wish)


def finishing(
    postprocess: Callable[[Any], Any] | None, *, keep_raw: bool = True
) -> Callable[[Any], Awaitable[Any]] | None:
    """What is done to each answer before it is a result; None if nothing is."""
    check_callable("postprocess", postprocess)
    if keep_raw and postprocess is None:
        return None

    async def finish(answer: Any) -> Any:
        if not keep_raw:
            answer.raw = {}
        if postprocess is None:
            return answer
        made = postprocess(answer)
        return await made if inspect.isawaitable(made) else made

    return finish


def check_callable(name: str, given: object) -> None:
    """Raises ConfigurationError for what is neither a function nor None."""
    if given is not None and not callable(given):
        raise ConfigurationError(f"{name} must be a function, not {type(given).__name__}")
