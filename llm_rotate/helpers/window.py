"""So many rows under way at a time, and no task, answer or row more than that in memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from ..engine.portal import PORTAL
from ..errors import LMRotateError, PoolClosedError
from .meter import Meter
from .progress import Board
from .source import Source
from .width import Width

I = TypeVar("I")  # noqa: E741 - what goes in
R = TypeVar("R")


@dataclass(slots=True)
class Row(Generic[R]):
    """A row that is done: its answer, or what it ended with."""

    index: int
    result: R | None
    error: Exception | None

    @property
    def outcome(self) -> R | Exception:
        """The one or the other."""
        return self.result if self.error is None else self.error  # type: ignore[return-value]  # one is there


class Window(Generic[I, R]):
    """Workers take rows from ``source`` as they become free and ``send`` them.

    ``board`` hears of every answer and every row that is done; ``finish`` makes the row's
    result of an answer. Rows that are done wait here, no more of them than there are workers:
    who is slow to take them holds the window up. Belongs to the loop that first asks.
    """

    def __init__(
        self,
        source: Source[I],
        send: Callable[[I], Awaitable[Any]],
        width: Width,
        *,
        board: Board | None = None,
        finish: Callable[[Any], Awaitable[R]] | None = None,
    ) -> None:
        self._source = source
        self._send = send
        self._width = width
        self.board = board or Board(Meter())
        self._finish = finish
        self._workers: set[asyncio.Task[None]] = set()
        self._takers: set[asyncio.Task[None]] = set()
        self._under_way = 0
        self._done: deque[Row[R]] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._is_over = False
        self._is_closed = False
        self._failure: BaseException | None = None

    async def next(self) -> Row[R] | None:
        """A row that is done; None when all are.

        Raises what the inputs raised, or PoolClosedError, after the rows that were taken before.
        """
        if not self._done and not await self._more():
            return None
        row = self._done.popleft()
        self._room.set()
        return row

    async def _more(self) -> bool:
        """Waits for a row that is done. False: there will be none."""
        while not self._done:
            self._open()
            if not self._workers:
                break
            self._news.clear()
            await self._news.wait()
        if not self._done and self._failure is not None:
            raise self._failure
        return bool(self._done)

    async def _ready(self) -> list[Row[R]]:
        """All rows that are done, one at least; none when all were."""
        await self._more()
        return self.left()

    def left(self) -> list[Row[R]]:
        """The rows that are done and were not asked for yet."""
        done = list(self._done)
        self._done.clear()
        self._room.set()
        return done

    async def pairs(self) -> AsyncGenerator[tuple[int, R | Exception], None]:
        """Every row as soon as it is done: its index with its result, or its exception. Closed
        early, what is under way is cancelled.
        """
        try:
            while row := await self.next():
                yield row.index, row.outcome
        finally:
            await self.aclose()

    def pairs_sync(self) -> Generator[tuple[int, R | Exception], None, None]:
        """:meth:`pairs` for code without a loop."""
        try:
            while done := PORTAL.run(self._ready):
                for row in done:
                    yield row.index, row.outcome
        finally:
            PORTAL.run(self.aclose)

    def stop(self) -> None:
        """Takes no further rows; those under way go on to their ends. Who waits for inputs that
        take their time waits no more.
        """
        self._is_over = True
        self._workers -= self._takers
        for taker in self._takers:
            taker.cancel()
        if not self._workers:
            self._news.set()

    async def aclose(self) -> None:
        """Cancels what is under way and waits until it has ended."""
        workers = self._workers | self._takers
        self.stop()
        self._is_closed = True
        for worker in workers:
            worker.cancel()
        if workers:
            await asyncio.wait(workers)
        await self._source.aclose()
        self.board.close()

    def _open(self) -> None:
        """One more worker, if there is room; each makes way for the next when it has a row."""
        if not self._is_over and len(self._workers) < self._width.limit:
            worker = asyncio.create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._left)

    def _is_too_many(self) -> bool:
        """Whether the worker that asks is one too many; it is none from then on, so that of
        several who ask at once not all go.
        """
        if len(self._workers) <= self._width.limit:
            return False
        self._workers.discard(cast("asyncio.Task[None]", asyncio.current_task()))
        return True

    def _left(self, worker: asyncio.Task[None]) -> None:
        is_free = self._is_closed or worker not in self._workers
        self._workers.discard(worker)
        error = _cancelled() if worker.cancelled() else worker.exception()
        if error is not None and not is_free:
            self._is_over = True
            self._failure = error
        if not self._workers:
            self._news.set()

    async def _work(self) -> None:
        while not (self._is_over or self._is_too_many()):
            taken = await self._taken()
            if taken is None:
                self._is_over = True
                return
            self._open()
            await self._go(*taken)

    async def _go(self, index: int, item: I) -> None:
        """Sends what was taken, and hands over what became of it."""
        outcome = await self._sent(item)
        row = (index, None, outcome) if isinstance(outcome, Exception) else (index, outcome, None)
        await self._hand_over((Row(*row),))

    async def _taken(self) -> tuple[int, I] | None:
        """A row, or None when no more will come."""
        taker = cast("asyncio.Task[None]", asyncio.current_task())
        self._takers.add(taker)
        try:
            return await self._source.take()
        except Exception as error:  # the inputs' own
            self._failure = error
            return None
        finally:
            self._takers.discard(taker)

    async def _sent(self, item: I) -> Any:
        """The answer, or the exception."""
        self._under_way += 1
        mark = self._width.began(self._under_way)
        outcome: Any = None
        try:
            outcome = await self._send(item)
        except Exception as error:  # the row's own
            outcome = error
        finally:
            self._under_way -= 1
        self._width.ended(mark, outcome)
        self.board.meter(outcome)
        return outcome

    async def _hand_over(self, rows: Sequence[Row[Any]]) -> None:
        if self._finish is None or len(rows) == 1:
            for row in rows:
                await self._settle(row)
        else:
            ended = await asyncio.gather(*map(self._settle, rows), return_exceptions=True)
            for error in filter(None, ended):
                raise error
        while len(self._done) > self._width.limit * max(1, len(rows)):
            self._room.clear()
            await self._room.wait()

    async def _settle(self, row: Row[Any]) -> None:
        if self._finish is not None and row.error is None:
            await _finished(row, self._finish)
        if isinstance(row.error, PoolClosedError):
            self._failure = row.error
            self.stop()
        self.board.note(row.error)
        self._done.append(row)
        self._news.set()


async def _finished(row: Row[Any], finish: Callable[[Any], Awaitable[Any]]) -> None:
    """Makes the row's result of its answer."""
    try:
        row.result = await finish(row.result)
    except Exception as error:
        error.answer = row.result  # type: ignore[attr-defined]  # it was paid for
        row.result, row.error = None, error


def _cancelled() -> LMRotateError:
    return LMRotateError("a row was cancelled by something else than its batch")
