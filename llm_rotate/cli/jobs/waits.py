"""Which calls of a job wait for a key or for room, so that a stopped job need not wait too."""

from __future__ import annotations

import asyncio
from typing import Any

from ...core.events import Event, EventKind

BEGINS, ENDS = EventKind.WAITING, (EventKind.ATTEMPT_STARTED, EventKind.CALL_ENDED)


class Waits:
    """Hears the pool's events: a call's come in the task that makes it. A call that waits has
    nothing under way that is paid for, so its task may be cancelled.
    """

    def __init__(self) -> None:
        self._waiting: set[asyncio.Task[Any]] = set()
        self._is_over = False

    def hear(self, event: Event) -> None:
        """A call begins to wait, or waits no more."""
        if event.kind not in (BEGINS, *ENDS):
            return
        task = asyncio.current_task()
        if task is None:
            return
        if event.kind is not BEGINS:
            self._waiting.discard(task)
        elif self._is_over:
            task.cancel()
        else:
            self._waiting.add(task)

    def drop(self) -> None:
        """Ends the calls that wait, and any that is about to."""
        self._is_over = True
        for task in self._waiting:
            task.cancel()
