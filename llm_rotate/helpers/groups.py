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


@dataclass(slots=True)
class Group:
    """What became of rows that went out together. ``usage``: what was billed for them,
    by ``model`` of ``provider``; ``attempts``: every request that was sent.
    """

    rows: list[Row[Any]] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    provider: str = ""
    model: str = ""
    attempts: tuple[Attempt, ...] = ()


class Groups(Source[Sequence[Member]]):
    """Rows in groups of at most ``count``, and at most ``most`` by ``weigh`` together; one that
    weighs more goes alone.
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
        weight = 0.0
        while len(group) < self._count and (row := self._next or await self._one()) is not None:
            self._next = None
            weight += self._weigh(row[1])
            if group and weight > self._most:
                self._next = row
                break
            group.append(row)
        return group

    async def _one(self) -> Member | None:
        if self._failure is not None:
            return None
        try:
            return await super().take()
        except Exception as error:
            self._failure = error
            return None


class GroupWindow(Window[Sequence[Member], Any]):
    """A window of groups that hands over their rows. Its width counts groups."""

    async def _hand_over(self, row: Row[Any]) -> None:
        group = row.result
        rows = group.rows if isinstance(group, Group) else [row]
        self._done.extend(rows)
        self._news.set()
        while len(self._done) > self._width.limit * max(1, len(rows)):
            self._room.clear()
            await self._room.wait()
