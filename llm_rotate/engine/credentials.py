"""From a key's secret_ref to a key that is ready to send."""

from __future__ import annotations

import asyncio

from ..core.wire import Ready
from ..secrets import resolve, scheme_of
from .run import Grant
from .stages import PoolKey

# Secrets of these schemes are at hand; any other may block, and is read off the loop.
AT_HAND = ("env", "literal")


async def look_up(secret_ref: str) -> str:
    """The secret that is there now. Raises SecretError."""
    if scheme_of(secret_ref) in AT_HAND:
        return resolve(secret_ref).reveal()
    return (await asyncio.to_thread(resolve, secret_ref)).reveal()


async def read_secret(grant: Grant) -> str | None:
    """The key's secret, kept with it; None for servers without keys.

    Raises SecretError, and TimeoutError when the call's deadline passes first.
    """
    key = grant.key
    if key.endpoint.auth == "none" and not key.secret_ref:
        return None
    async with asyncio.timeout(grant.limit_s):
        key.secret = await look_up(key.secret_ref)
    return key.secret


async def make_ready(grant: Grant) -> Ready:
    """The grant's key made ready to send, kept for the next one. Raises as read_secret."""
    key: PoolKey = grant.key
    key.ready = key.provider.dialect.prepare(await read_secret(grant), key.endpoint)
    return key.ready
