"""``lm.keys``: operators stay in charge."""

from __future__ import annotations

import math

from .arguments import checked
from .core.keystate import KeyState, Kind
from .engine.pool import Pool
from .engine.portal import PORTAL

FOR_EVER_SECONDS = 1e10  # some 300 years; what is longer has no date


class Keys:
    """Takes keys out and brings them back, from the next call on. Each coroutine returns when
    the store has it and has a ``_sync`` twin; an unknown key_id is a ConfigurationError.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def disable(self, key_id: str, reason: str = "disabled by an operator") -> None:
        """DISABLED: out until :meth:`enable` or :meth:`reset`; time does not bring it back."""
        await self._pool.steer(
            key_id, KeyState(Kind.DISABLED, math.inf, self._now(), reason=reason)
        )

    async def enable(self, key_id: str) -> None:
        """PROBATION: one trial, and if it succeeds the key is active."""
        why = "enabled by an operator"
        await self._pool.steer(key_id, KeyState(Kind.PROBATION, since=self._now(), reason=why))

    async def rest(
        self, key_id: str, seconds: float, reason: str = "rested by an operator"
    ) -> None:
        """COOLDOWN for ``seconds``, also if that is sooner than a rest that it has now."""
        now = self._now()
        until = now + checked("seconds", seconds)
        if seconds >= FOR_EVER_SECONDS:
            until = math.inf
        await self._pool.steer(key_id, KeyState(Kind.COOLDOWN, until, now, reason=reason))

    async def reset(self, key_id: str) -> None:
        """ACTIVE, with all its scopes, counts 0."""
        await self._pool.steer(key_id, KeyState(since=self._now()))

    def _now(self) -> float:
        return self._pool.clock.now()

    def disable_sync(self, key_id: str, reason: str = "disabled by an operator") -> None:
        """:meth:`disable` for code without a loop."""
        PORTAL.run(lambda: self.disable(key_id, reason))

    def enable_sync(self, key_id: str) -> None:
        """:meth:`enable` for code without a loop."""
        PORTAL.run(lambda: self.enable(key_id))

    def rest_sync(self, key_id: str, seconds: float, reason: str = "rested by an operator") -> None:
        """:meth:`rest` for code without a loop."""
        PORTAL.run(lambda: self.rest(key_id, seconds, reason))

    def reset_sync(self, key_id: str) -> None:
        """:meth:`reset` for code without a loop."""
        PORTAL.run(lambda: self.reset(key_id))
