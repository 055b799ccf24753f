"""Changes that the server has not taken yet, subject by subject, in their order."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from ..core.keystate import FRESH, Change, KeyState
from .records import Offer


@dataclass(slots=True, eq=False)
class Op:
    """One change of one subject, judged at ``at``. ``frees``: the lease whose trial ends
    with it; ``word``: see change.lua.
    """

    subject: str
    id: str
    at: float
    change: Change | Offer | None = None
    frees: str = ""
    word: str = "free"
    new: KeyState = FRESH


class Pending:
    """What is said to the server goes in one script call for a subject, each op judged from
    what the one before makes of the state; the rest waits until that call is answered.
    """

    def __init__(self) -> None:
        self._queues: dict[str, list[Op]] = {}
        self._known: dict[str, KeyState] = {}
        self._ready: dict[str, None] = {}

    def __contains__(self, subject: str) -> bool:
        return subject in self._queues

    def __bool__(self) -> bool:
        return bool(self._queues)

    def __iter__(self) -> Iterator[Op]:
        for queue in self._queues.values():
            yield from queue

    @property
    def is_ready(self) -> bool:
        """Whether something waits to be said."""
        return bool(self._ready)

    def known(self, subject: str) -> KeyState | None:
        """What the server was last heard to have; None where nothing is on its way."""
        return self._known.get(subject)

    def add(self, op: Op, stands: KeyState) -> None:
        """``stands``: the subject's state before this process changed it."""
        queue = self._queues.get(op.subject)
        if queue is None:
            queue = self._queues[op.subject] = []
            self._known[op.subject] = stands
            self._ready[op.subject] = None
        queue.append(op)

    def take(self, most: int) -> list[list[Op]]:
        """What can be said now, by subject; of many, the first ``most``."""
        now = list(itertools.islice(self._ready, most))
        for subject in now:
            del self._ready[subject]
        return [ops for subject in now if (ops := self._effective(subject))]

    def _effective(self, subject: str) -> list[Op]:
        """The subject's ops that do something, as things stand; without any, the rest is over."""
        state = self._known[subject]
        said: list[Op] = []
        for op in self._queues[subject]:
            new = op.change.upon(state, op.at) if op.change is not None else None
            if op.change is not None and new is not None and new is not state:
                op.word = "any" if op.change.seen is None else str(state.version)
                op.new = state = new
            elif op.word != "renew":
                op.word = "free"
            if op.word != "free" or op.frees:
                said.append(op)
        if not said:
            del self._queues[subject], self._known[subject]
        return said

    def heard(self, op: Op, is_done: bool, state: KeyState) -> None:
        """The server's answer to ``op``, if it is still waited for."""
        queue = self._queues.get(op.subject)
        if queue is not None and op in queue:
            self._known[op.subject] = state
            if is_done:
                queue.remove(op)

    def answered(self, subject: str) -> KeyState | None:
        """All answers of a call about ``subject`` are in: the state with what is still to be
        said. None: nobody waits for it any more.
        """
        if subject not in self._queues:
            return None
        state = self.folded(subject)
        if self._queues[subject]:
            self._ready[subject] = None
        else:
            del self._queues[subject], self._known[subject]
        return state

    def learn(self, subject: str, state: KeyState) -> KeyState:
        """The server told of a subject that is waited for: the state with what is to be said."""
        self._known[subject] = state
        return self.folded(subject)

    def folded(self, subject: str) -> KeyState:
        """The server's word on a subject, with this process's changes on top."""
        state = self._known[subject]
        for op in self._queues[subject]:
            if op.change is not None:
                state = op.change.upon(state, op.at) or state
        return state

    def again(self) -> None:
        """What was given out may not have been sent: it is said again."""
        self._ready = dict.fromkeys(self._queues)

    def drop(self) -> list[Op]:
        """All of it, without telling."""
        dropped = list(self)
        self.clear()
        return dropped

    def clear(self) -> None:
        """The server is away."""
        self.__init__()  # type: ignore[misc]  # as new, the same object
