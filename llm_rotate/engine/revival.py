"""Brings back keys that were DISABLED for a secret which has been changed since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..core.keystate import Change, KeyState, Kind
from ..core.outcome import Outcome
from ..core.pool import News, StateStore
from ..secrets import SecretError
from .clock import Clock
from .credentials import read_anew
from .stages import PoolKey


class Revival:
    """Reads the secrets of such keys again, each at most once per quarantine_seconds, when a
    call comes by; tokens that the same secret gives anew are no change. A key that an operator
    disabled is none of its business.
    """

    def __init__(self, store: StateStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._dead: dict[str, PoolKey] = {}
        self._next_look = 0.0

    def hear(self, news: Sequence[News], keys: Mapping[str, PoolKey]) -> None:
        """Keeps count of the keys that lost their last trial."""
        for each in news:
            key = keys.get(each.subject.removeprefix("key:"))
            if key is None:
                continue
            if each.after.kind is Kind.DISABLED and each.after.outcome is Outcome.AUTH_FAILED:
                self._dead[key.key_id] = key
                self._next_look = self._clock.now() + key.provider.policy.quarantine_seconds
            else:
                self._dead.pop(key.key_id, None)

    @property
    def is_due(self) -> bool:
        """Whether there is something to read again."""
        return bool(self._dead) and self._clock.now() >= self._next_look

    async def look(self) -> None:
        """Puts every key whose secret is another one now on PROBATION."""
        dead = list(self._dead.values())
        rests = (key.provider.policy.quarantine_seconds for key in dead)
        self._next_look = self._clock.now() + min(rests, default=0.0)
        for key in dead:
            refused = key.origin
            key.forget()
            try:
                await read_anew(key)
            except SecretError:
                continue
            if key.origin != refused:
                back = KeyState(
                    Kind.PROBATION, since=self._clock.now(), reason="its secret was changed"
                )
                change = Change(f"key:{key.key_id}", None, back)
                self._store.transition([change], self._clock.now())
