"""Redis I/O behind the pure store: one connection per process and loop, one write for all
that a turn of the loop has to say, and a breaker for when the server is away.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import logging
import random
import weakref
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Protocol

from ..stores.errands import Ask, Command
from .clock import Clock
from .lines import Lines, Moved, Unloaded

PROBE_SECONDS = (0.2, 0.6)  # between two looks for a server that is away
LATER_SECONDS = 1.0
BUSY_SECONDS = 0.05  # a timer that comes so late says more of its own loop than of a server
WATCH_SECONDS = (0.5, 0.9)  # between two looks for news while calls wait
HOPS = 4  # a dropped connection, a script to load, a slot that moved
CLOSING_ROUNDS = 5
LOG = logging.getLogger("llm_rotate")


class Errands(Protocol):
    """What the link needs of its store: see RedisStore, "the link's side"."""

    @property
    def is_owing(self) -> bool: ...
    def hurry(self) -> None: ...
    def outgoing(self, asks: Sequence[Ask], now: float) -> list[Command]: ...
    def stale(self) -> None: ...
    def unsent(self) -> None: ...
    def cut_off(self) -> None: ...
    def unanswered(self, asks: Sequence[Ask]) -> None: ...
    def abandoned(self, ask: Ask, now: float) -> None: ...


class Link:
    """Carries a store's commands. ``timeout_s``: the longest that a call waits for it."""

    def __init__(self, lines: Lines, timeout_s: float, clock: Clock) -> None:
        self.lines = lines
        self.timeout_s = timeout_s
        self.now: Callable[[], float] = clock.now
        self.is_cut = False
        self.failure = ""
        self.meanwhile = "this process goes on alone"
        self.store: Errands = _Nothing()
        self._wires: dict[asyncio.AbstractEventLoop, _Wire] = {}
        self._is_watched: Callable[[], bool] = bool
        self._kept_from_parent: list[Any] = []
        _LINKS.add(self)

    def serve(self, store: Errands) -> None:
        """From here on it carries ``store``'s commands."""
        self.store = store

    async def ask(self, ask: Ask) -> None:
        """Returns when ``ask`` is answered, or the server is away."""
        wire = self._wire()
        if self.is_cut:
            wire.probe_soon()
        else:
            await wire.ask(ask)

    def soon(self) -> None:
        """The store has something to say: it goes with this turn of the loop. Any thread."""
        if asyncio._get_running_loop() is not None:  # noqa: SLF001 - the public one raises outside a loop
            self._wire().soon()
        else:
            self._elsewhere(_Wire.soon)

    def later(self) -> None:
        """What the store counted is said within a second. Any thread."""
        loop = asyncio._get_running_loop()  # noqa: SLF001 - the public one raises outside a loop
        wire = self._wires.get(loop) if loop is not None else None
        if wire is not None:
            wire.later()
        else:
            self._elsewhere(_Wire.later)

    def _elsewhere(self, act: Callable[[_Wire], None]) -> None:
        """In a loop that has spoken to the server before."""
        for loop, wire in list(self._wires.items()):
            if loop.is_running():
                with suppress(RuntimeError):  # it closed this moment: the next one is asked
                    loop.call_soon_threadsafe(act, wire)
                    return

    def watch(self, is_waiting: Callable[[], bool]) -> None:
        """A call begins to wait: until none does, news of others are asked for by themselves."""
        self._wire().watch(is_waiting)

    def lost(self, error: BaseException) -> None:
        """The server is away."""
        self.failure = str(error) or type(error).__name__
        if self.is_cut:
            self.store.unsent()  # another flush, begun before
        else:
            self.is_cut = True
            self.store.cut_off()
            LOG.warning(
                "the shared state at %s cannot be reached (%s): %s",
                self.lines.address,
                self.failure,
                self.meanwhile,
            )

    def back(self) -> None:
        """The server answers again."""
        if self.is_cut:
            self.is_cut = False
            self.failure = ""
            LOG.warning("the shared state at %s is back", self.lines.address)

    def _wire(self) -> _Wire:
        loop = asyncio.get_running_loop()
        wire = self._wires.get(loop)
        if wire is None:
            for other in list(self._wires):  # a copy: other threads add theirs
                if other.is_closed() and (dead := self._wires.pop(other, None)) is not None:
                    dead.abort()
            wire = self._wires[loop] = _Wire(self, loop)
            wire.closer = _close_with_loop(wire)
            with suppress(StopIteration):  # started, the loop knows it and ends it
                wire.closer.__anext__().__await__().send(None)
        return wire

    def forget(self) -> None:
        """After a fork: the parent's connections are not ours to close."""
        self._kept_from_parent.append(self._wires)
        self._wires = {}

    def say_rest(self) -> Iterator[concurrent.futures.Future[None]]:
        """The interpreter ends: what is left goes in the loops that still run, unless the server
        is away.
        """
        for loop, wire in list(self._wires.items()):
            if loop.is_running() and not self.is_cut:
                rest = wire.say_rest()
                try:
                    yield asyncio.run_coroutine_threadsafe(rest, loop)
                except RuntimeError:  # it closed this moment
                    rest.close()

    async def aclose(self) -> None:
        """Sends what is left; closes this loop's connection, the others' without waiting."""
        here = asyncio.get_running_loop()
        for loop, wire in list(self._wires.items()):
            if loop is here:
                await wire.aclose()
            elif loop.is_closed():
                self._wires.pop(loop).abort()
            else:
                with suppress(RuntimeError):  # it closed this moment
                    loop.call_soon_threadsafe(wire.abort)


class _Wire:
    """The link's part in one loop."""

    def __init__(self, link: Link, loop: asyncio.AbstractEventLoop) -> None:
        self._link = link
        self._loop = loop
        self._asks: list[tuple[Ask, asyncio.Future[None]]] = []
        self._is_due = False
        self._is_closing = False
        self._line: Any = None
        self._connecting = asyncio.Lock()
        self._flushes: set[asyncio.Task[None]] = set()
        self._probe: asyncio.TimerHandle | asyncio.Task[None] | None = None
        self._watching: asyncio.TimerHandle | None = None
        self._counting: asyncio.TimerHandle | None = None
        self.closer: AsyncGenerator[None, None] | None = None

    async def ask(self, ask: Ask) -> None:
        answered = self._loop.create_future()
        self._asks.append((ask, answered))
        self.soon()
        await answered

    def soon(self) -> None:
        """One flush at the end of this turn, for all."""
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._start)

    def later(self) -> None:
        """One flush within a second, if none comes before."""
        if self._counting is None and not self._is_closing:
            self._counting = self._loop.call_later(LATER_SECONDS, self._now)

    def _now(self) -> None:
        self._counting = None
        self.soon()

    def _start(self) -> None:
        self._is_due = False
        if self._is_closing and not self._asks:
            return
        asks, self._asks = self._asks, []
        flush = self._loop.create_task(self._flush(asks))
        self._flushes.add(flush)
        flush.add_done_callback(self._flushes.discard)

    async def _flush(self, asks: list[tuple[Ask, asyncio.Future[None]]]) -> None:
        link = self._link
        try:
            if not link.is_cut:
                await self._carry_in_time([ask for ask, _ in asks])
        except Exception as error:  # whatever it was, calls go on
            self._drop()
            if self._loop.is_closed():
                link.store.unsent()
            else:
                link.lost(_named(error, link.timeout_s))
                self.probe_soon()
        except BaseException:
            self._drop()
            link.store.unsent()
            raise
        finally:
            self._hand_over(asks)

    def _hand_over(self, asks: list[tuple[Ask, asyncio.Future[None]]]) -> None:
        store, lost = self._link.store, []
        for ask, answered in asks:
            if not answered.done():
                answered.set_result(None)
            elif ask.answer is not None:
                store.abandoned(ask, self._link.now())
            if ask.answer is None:
                lost.append(ask)
        if lost:
            store.unanswered(lost)

    async def _carry_in_time(self, asks: Sequence[Ask]) -> None:
        """A loop that was busy itself while the time ran out gets it once more: the answers may
        lie there unread.
        """
        seconds = self._link.timeout_s

        def over(due: float) -> None:
            now = self._loop.time()
            limit.reschedule(now + seconds if now > due + BUSY_SECONDS else now)

        async with asyncio.timeout(None) as limit:
            due = self._loop.time() + seconds
            timer = self._loop.call_at(due, over, due)
            try:
                await self._carry(asks)
            finally:
                timer.cancel()

    async def _carry(self, asks: Sequence[Ask]) -> None:
        """Says all that is to be said, and hears the answers."""
        line = self._line or await self._connect()
        link = self._link
        left = link.store.outgoing(asks, link.now())
        if not left:
            return
        for hop in range(HOPS):
            try:
                await line.exchange(left, link.now)
            except Unloaded:
                await line.load()
            except Moved:
                self._drop(line)
                line = await self._connect()
            except OSError:
                self._drop(line)
                if hop or link.is_cut:
                    raise
                line = await self._connect()
            left = [command for command in left if not command.is_heard]
            if not left:
                return
        raise ConnectionError("it does not take the scripts")

    async def _connect(self) -> Any:
        async with self._connecting:
            if self._line is None:
                line = await self._link.lines.open()
                self._line = line
                self._link.store.stale()
            return self._line

    def _drop(self, line: Any = None) -> None:
        if self._line is not None and line in (None, self._line):
            self._line.abort()
            self._line = None

    # -- a server that is away

    def probe_soon(self) -> None:
        """Looks for the server again, a random while from now."""
        if self._probe is None:
            self._probe = self._loop.call_later(random.uniform(*PROBE_SECONDS), self._begin_probe)

    def _begin_probe(self) -> None:
        self._probe = self._loop.create_task(self._probe_now())

    async def _probe_now(self) -> None:
        link = self._link
        try:
            await self._carry_in_time(())
        except Exception as error:  # still away, for whatever reason
            self._drop()
            link.store.unsent()
            link.failure = str(_named(error, link.timeout_s))
        else:
            link.back()
            self.soon()
        finally:
            self._probe = None
        if link.is_cut:
            self.probe_soon()

    # -- calls that wait

    def watch(self, is_waiting: Callable[[], bool]) -> None:
        if self._watching is None:
            self._watching = self._loop.call_later(
                random.uniform(*WATCH_SECONDS), self._look, is_waiting
            )

    def _look(self, is_waiting: Callable[[], bool]) -> None:
        self._watching = None
        if not is_waiting():
            return
        self.watch(is_waiting)
        if not self._link.is_cut:
            self._asks.append((Ask("-"), self._loop.create_future()))
            self.soon()

    # -- the end

    async def say_rest(self) -> None:
        """Says what is left, without a word if that fails."""
        with suppress(Exception):
            if self._flushes:
                await asyncio.wait(self._flushes)
            self._link.store.hurry()
            if self._link.store.is_owing:
                await self._carry_in_time(())

    async def aclose(self, *, is_last: bool = False) -> None:
        """Says what is left, and closes. ``is_last``: nothing will be said in this loop again."""
        self._cancel_timers()
        self._is_closing = True
        self._link.store.hurry()
        for _ in range(CLOSING_ROUNDS):
            if self._flushes:
                await asyncio.wait(self._flushes)
            if self._link.is_cut or not self._link.store.is_owing:
                break
            await self._flush([])
        line, self._line = self._line, None
        if line is not None:
            await line.aclose()
        self._cancel_timers()
        self._is_closing = is_last

    def abort(self) -> None:
        self._cancel_timers()
        self._drop()

    def _cancel_timers(self) -> None:
        for timer in (self._probe, self._watching, self._counting):
            if timer is not None:
                timer.cancel()
        self._probe = self._watching = self._counting = None


async def _close_with_loop(wire: _Wire) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await wire.aclose(is_last=True)


def _named(error: Exception, timeout_s: float) -> Exception:
    if isinstance(error, TimeoutError):
        return TimeoutError(f"no answer within {timeout_s:g} s")
    return error


class _Nothing:
    """Before a store is there."""

    is_owing = False

    def hurry(self) -> None: ...
    def outgoing(self, asks: Sequence[Ask], now: float) -> list[Command]:  # noqa: ARG002
        return []

    def stale(self) -> None: ...
    def unsent(self) -> None: ...
    def cut_off(self) -> None: ...
    def unanswered(self, asks: Sequence[Ask]) -> None: ...
    def abandoned(self, ask: Ask, now: float) -> None: ...


_LINKS: weakref.WeakSet[Link] = weakref.WeakSet()


@atexit.register
def _say_rest() -> None:
    """A program that just ends may owe its last second. Nothing is stopped here: see portal.py."""
    links = list(_LINKS)
    saying = [each for link in links for each in link.say_rest()]
    concurrent.futures.wait(saying, max((link.timeout_s for link in links), default=0))
