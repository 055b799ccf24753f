"""What the server has still to hear of, because it was away."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..core.keystate import HARDNESS, KeyState, Kind
from .pending import Op
from .records import Offer

FORGOTTEN_SECONDS = 86400.0  # beyond a rest's end, as in common.lua


class Debts:
    """Trials that it gave and nobody gave back, and states that were changed without it."""

    def __init__(self) -> None:
        self._unfreed: list[tuple[str, str]] = []
        self._dirty: dict[str, tuple[int, bool]] = {}

    def remember(self, ops: Iterable[Op], there: Callable[[str], KeyState]) -> None:
        """Changes that it will not hear as they are. ``there``: a state as it last had it."""
        for op in ops:
            if op.frees:
                self.owe(op.subject, op.frees)
            if op.change is not None:
                base, is_said = self._dirty.get(op.subject, (there(op.subject).version, False))
                self._dirty[op.subject] = (base, is_said or op.change.seen is None)

    def owe(self, subject: str, lease: str) -> None:
        """The lease's trial of the subject is over, if it ever began."""
        self._unfreed.append((subject, lease))

    def offer(
        self, subject: str, mine: KeyState, there: KeyState, now: float, *, is_lost: bool
    ) -> Offer | None:
        """What it has to hear of a state: one that was changed while it was away, that it has
        lost, or of which it has only what was before (after a failover).
        """
        if subject in self._dirty:
            base, is_said = self._dirty[subject]
            # Whoever forgot counts its versions anew: one like the old is another.
            return Offer(mine, -1 if is_lost else base, is_said)
        is_old = HARDNESS[mine.kind] and mine.until + FORGOTTEN_SECONDS < now
        is_ahead = is_lost or mine.version > there.version
        return Offer(mine) if is_ahead and mine.kind is not Kind.ACTIVE and not is_old else None

    def told(self) -> list[tuple[str, str]]:
        """It hears of all. The trials to give back, each with its lease."""
        unfreed = self._unfreed
        self.__init__()  # type: ignore[misc]  # as new, the same object
        return unfreed
