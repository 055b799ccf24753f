"""``lm.keys``: operators stay in charge."""

from __future__ import annotations

import math

from .core.keystate import KeyState, Kind
from .engine.pool import Pool
from .engine.portal import PORTAL


class Keys:
    """Takes keys out and brings them back, from the next call on. Each coroutine returns when
    the store has it and has a ``_sync`` twin; an unknown key_id is a ConfigurationError.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def disable(self, key_id: str, reason: str = "disabled by an operator") -> None:
        """DISABLED: out until :meth:`enable` or :meth:`reset`; time does not bring it back."""
        await self._steer(key_id, Kind.DISABLED, math.inf, reason)

    async def enable(self, key_id: str) -> None:
        """PROBATION: one trial, and if it succeeds the key is active."""
        await self._steer(key_id, Kind.PROBATION, 0.0, "enabled by an operator")

    async def rest(
        self, key_id: str, seconds: float, reason: str = "rested by an operator"
    ) -> None:
        """COOLDOWN for ``seconds``."""
        await self._steer(key_id, Kind.COOLDOWN, seconds, reason)

    async def reset(self, key_id: str) -> None:
        """ACTIVE, with all its scopes, counts 0."""
        await self._steer(key_id, Kind.ACTIVE, 0.0, "")

    async def _steer(self, key_id: str, kind: Kind, seconds: float, reason: str) -> None:
        now = self._pool.clock.now()
        until = now + seconds if seconds else 0.0
        state = KeyState(kind, until, since=now, reason=reason)
        await self._pool.steer(key_id, state)

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
