"""Rows that go out several in one request, and come back one by one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..types import Attempt, Usage
from .source import Source
from .window import Row, Window

Member = tuple[int, Any]  # a row's number, and the row
LINGER_SECONDS = 0.1  # that rows wait for others to go with, where those are still to come


@dataclass(slots=True)
class Group:
    """What became of rows that went out together. ``usage``: what was billed for them,
    by ``model`` of ``provider``; ``attempts``: every request that was sent; ``again``: parts
    that are to go by themselves.
    """

    rows: list[Row[Any]] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    provider: str = ""
    model: str = ""
    attempts: tuple[Attempt, ...] = ()
    again: tuple[Sequence[Member], ...] = ()


class Groups(Source[Sequence[Member]]):
    """Rows in groups of at most ``count``, and at most ``most`` by ``weigh`` together; one that
    weighs more goes alone. A group of rows that come one by one goes when they take their time.
    """

    def __init__(
        self,
        inputs: Iterable[Any] | AsyncIterable[Any],
        weigh: Callable[[Any], float],
        count: int,
        most: float,
    ) -> None:
        super().__init__(inputs)
        self._weigh = weigh
        self._count = count
        self._most = most
        self._next: Member | None = None
        self._failure: Exception | None = None
        self._gathering = asyncio.Lock()
        self._asked: asyncio.Future[Member | None] | None = None

    async def take(self) -> tuple[int, Sequence[Member]] | None:
        """The next group with its first row's number; None after the last.

        What the inputs raise is raised after the rows that came before it.
        """
        async with self._gathering:  # an async generator's rows come while others wait
            group = await self._gathered()
        if group:
            return group[0][0], group
        if self._failure is not None:
            raise self._failure
        return None

    async def _gathered(self) -> list[Member]:
        group: list[Member] = []
        weight, until = 0.0, None
        while len(group) < self._count:
            row = self._next or await self._one(until)
            if row is None:
                break
            self._next = None
            until = until or asyncio.get_running_loop().time() + LINGER_SECONDS
            weight += self._weigh(row[1])
            if group and weight > self._most:
                self._next = row
                break
            group.append(row)
        return group

    async def _one(self, until: float | None) -> Member | None:
        """The next row; None if there is none, or not ``until`` then."""
        if self._failure is not None:
            return None
        try:
            return await (super().take() if self._coming is None else self._come(until))
        except Exception as error:
            self._failure = error
            return None

    async def _come(self, until: float | None) -> Member | None:
        """A row that had to be left coming is the first to be asked for."""
        asked = self._asked = self._asked or asyncio.ensure_future(super().take())
        if until is not None:
            await asyncio.wait((asked,), timeout=until - asyncio.get_running_loop().time())
            if not asked.done():
                return None
        self._asked = None
        return await asked

    async def aclose(self) -> None:
        """Waits for no row any more."""
        if self._asked is not None:
            self._asked.cancel()
            await asyncio.wait((self._asked,))


class GroupWindow(Window[Sequence[Member], Any]):
    """A window of groups that hands over their rows. Its width counts groups."""

    async def _go(self, index: int, item: Sequence[Member]) -> None:
        """What is done is handed over before parts of the group go again: it was paid for."""
        group = await self._sent(item)
        if isinstance(group, Exception):
            group = Group([Row(number, None, group) for number, _ in item])
        if group.rows:
            await self._hand_over(group.rows)
        for part in group.again:
            await self._go(index, part)
