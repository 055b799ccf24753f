"""A streamed answer in the caller's hands."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Self, cast

from ..core.outcome import Outcome
from ..core.wire import Verdict
from ..errors import LMRotateError, StreamInterruptedError
from ..types import ChatResponse, StreamChunk
from . import endings
from .exchange import SHORTEST_WAIT, Opened, next_bytes, read_events
from .judge import Judge
from .run import Grant, Run
from .transport.seam import TransportError

# After the last event the server has this long to close its body, so that the connection can
# be used again; a server that does not is cut off.
CLOSING_SECONDS = 0.25

Start = Callable[[], Awaitable[tuple[Verdict[Any], Run]]]


class ChatStream:
    """Chunks of an answer: iterate with ``async for``, close early with ``async with``.

    Rotation goes on until the first chunk has been handed out; after it a broken stream is
    StreamInterruptedError. ``response`` is the whole ChatResponse once the stream has ended.
    Leaving early (``aclose``, the end of ``async with``, or dropping the object) closes the
    connection and blames nobody.
    """

    def __init__(self, start: Start, judge: Judge, idle_s: Callable[[], float]) -> None:
        self._start = start
        self._judge = judge
        self._idle_s = idle_s
        self._opened: Opened | None = None
        self._run: Run | None = None
        self._grant: Grant | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: asyncio.Task[Any] | None = None
        self._process = os.getpid()
        self._queue: deque[StreamChunk | Verdict[ChatResponse]] = deque()
        self._is_read = False
        self._is_over = False
        self._response: ChatResponse | None = None
        self._handed = 0
        self._heard_at = 0.0

    @property
    def response(self) -> ChatResponse:
        """The whole answer. Raises LMRotateError while the stream has not ended well."""
        if self._response is None:
            raise LMRotateError("the stream has not ended: read it to its last chunk first")
        return self._response

    def __aiter__(self) -> ChatStream:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def __anext__(self) -> StreamChunk:
        if self._is_over:
            raise StopAsyncIteration
        if self._is_read:
            raise RuntimeError("the stream is being read already, by another task")
        self._is_read = True
        try:
            return await self._next()
        except (LMRotateError, StopAsyncIteration):
            raise
        except BaseException as error:
            self._leave(Verdict(Outcome.CANCELLED, error=error))
            raise
        finally:
            self._is_read = False

    async def _next(self) -> StreamChunk:
        if self._opened is None:
            await self._open()
        while not self._queue:
            await self._read()
            if self._is_over:  # closed from elsewhere meanwhile
                raise StopAsyncIteration
        item = self._queue.popleft()
        if isinstance(item, Verdict):
            return await self._end(item)
        self._handed += len(item.delta)
        return self._signed(item)

    async def aclose(self) -> None:
        """Closes the connection now. Nobody is blamed; harmless when it is over."""
        self._leave(Verdict(Outcome.CANCELLED))
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()

    async def _open(self) -> None:
        self._loop = asyncio.get_running_loop()
        task = self._opening = asyncio.current_task()
        try:
            verdict, self._run = await self._start()
        except BaseException as error:
            was_closed, self._is_over = self._is_over, True
            is_ours = was_closed and isinstance(error, asyncio.CancelledError)
            if is_ours and task is not None and not task.uncancel():
                raise StopAsyncIteration from None  # aclose() ended it, and nobody else
            raise
        finally:
            self._opening = None
        self._grant = self._run.last_grant
        self._opened = cast("Opened", verdict.value)
        self._queue.extend(self._opened.early)
        self._heard_at = self._judge.now()

    async def _read(self) -> None:
        opened, idle_s = self._opened, self._idle_s()
        assert opened is not None  # noqa: S101 - for the type checker: _open ran before
        if opened.reader.finished:  # pings keep nobody waiting for what is whole
            idle_s = max(SHORTEST_WAIT, self._heard_at + idle_s - self._judge.now())
        try:
            raw = await next_bytes(opened.answer, opened.reader, idle_s)
        except TransportError as error:
            broken: Verdict[ChatResponse] = Verdict(Outcome.INTERRUPTED, message=str(error))
            broken.error = error.__cause__ or error
            self._queue.append(broken)
            return
        self._queue.extend(read_events(opened.reader, raw))
        if self._queue:
            self._heard_at = self._judge.now()

    async def _end(self, verdict: Verdict[ChatResponse]) -> StreamChunk:
        """The last chunk of a good stream; otherwise raises."""
        if verdict.outcome is not Outcome.OK or verdict.value is None:
            raise self._broken(verdict)
        response = verdict.value
        verdict.used = response.usage
        self._give_back(verdict)
        self._response = self._judge.answered(self._run_of(), verdict)
        await self._let_close()
        last = StreamChunk(
            delta=response.content[self._handed :],  # what came without an end to its event
            finish_reason=response.finish_reason,
            usage=response.usage,
            tool_calls=response.tool_calls,
        )
        return self._signed(last, response.model)

    async def _let_close(self) -> None:
        """The server closes its body, or loses the connection."""
        assert self._opened is not None  # noqa: S101 - for the type checker
        answer, until = self._opened.answer, self._judge.now() + CLOSING_SECONDS
        try:
            while await answer.next(max(0.001, until - self._judge.now())):
                if self._judge.now() >= until:
                    answer.discard()
                    return
        except TransportError:
            answer.discard()
        except BaseException:
            answer.discard()
            raise

    def _broken(self, verdict: Verdict[ChatResponse]) -> LMRotateError:
        run, now = self._run_of(), self._judge.now()
        text = self._opened.reader.text if self._opened else ""
        is_late = now >= run.plan.deadline
        verdict.outcome = Outcome.CANCELLED if is_late else Outcome.INTERRUPTED
        self._give_back(verdict)
        run.last = verdict
        error = (
            endings.deadline_error(run, verdict.error, text)
            if is_late
            else endings.provider_error(run)
        )
        if isinstance(error, StreamInterruptedError):
            error.text = text
        self._judge.call_failed(run, error)
        return error

    def _run_of(self) -> Run:
        if self._run is None:
            raise AssertionError("the stream is open")
        return self._run

    def _signed(self, chunk: StreamChunk, model: str | None = None) -> StreamChunk:
        assert self._grant is not None  # noqa: S101 - for the type checker
        chunk.provider = self._grant.stage.provider.name
        chunk.key_id = self._grant.key.key_id
        chunk.model = model or chunk.model or self._grant.stage.model or ""
        return chunk

    def _leave(self, verdict: Verdict[Any]) -> None:
        """The caller goes away before the end."""
        if self._give_back(verdict) and self._run is not None:
            self._judge.call_left(self._run)

    def _give_back(self, verdict: Verdict[Any]) -> bool:
        """Whether there was something to give back: the lease, and the connection unless it is
        good for another call.
        """
        self._is_over = True
        opened, grant = self._opened, self._grant
        if opened is None or grant is None or grant.lease.is_settled:
            return False
        if self._process != os.getpid():
            return False  # it was opened in the process that this one was forked from
        if verdict.outcome is not Outcome.OK:
            opened.answer.discard()
        self._judge.report(grant, verdict)
        return True

    def __del__(self) -> None:
        opened, loop = self._opened, self._loop
        if self._is_over or opened is None or loop is None or self._process != os.getpid():
            return
        drop = _Drop(opened, self._grant, self._judge)
        try:
            loop.call_soon_threadsafe(drop)
        except RuntimeError:  # the loop is closed: nobody else can touch the stream
            drop()


class _Drop:
    """Gives back what a dropped stream held, in its own loop: a collection may come at any
    point of any thread, also inside the store's lock.
    """

    def __init__(self, opened: Opened, grant: Grant | None, judge: Judge) -> None:
        self._opened, self._grant, self._judge = opened, grant, judge

    def __call__(self) -> None:
        self._opened.answer.discard()
        if self._grant is not None:
            self._judge.report(self._grant, Verdict(Outcome.CANCELLED))
            self._judge.call_left(self._grant.run)
