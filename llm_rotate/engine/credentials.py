"""From a key's secret_ref to a key that is ready to send."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from ..core.wire import Ready
from ..secrets import resolve, scheme_of
from . import aws
from .run import Grant
from .stages import PoolKey

# Secrets of these schemes are at hand; any other may block, and is read off the loop.
AT_HAND = ("env", "literal")


async def look_up(secret_ref: str) -> str:
    """The secret that is there now. Raises SecretError."""
    if scheme_of(secret_ref) in AT_HAND:
        return resolve(secret_ref).reveal()
    return (await asyncio.to_thread(resolve, secret_ref)).reveal()


async def read_anew(key: PoolKey) -> str | None:
    """The key's secret as it is now, kept with it; None for servers without keys.

    Where requests are signed it is JSON, see ``aws``. Raises SecretError.
    """
    if key.endpoint.auth == "none" and not key.secret_ref:
        return None
    if key.endpoint.auth == "sigv4":
        key.source = key.source or aws.AwsSource(key.endpoint, key.secret_ref, look_up)
        key.secret = await key.source.read()
        key.sent_secret = aws.session_token(key.secret)
    else:
        key.secret = key.sent_secret = await look_up(key.secret_ref)
    return key.secret


async def read_secret(grant: Grant) -> str | None:
    """As ``read_anew``; TimeoutError when the call's deadline passes first."""
    async with asyncio.timeout(grant.limit_s):
        return await read_anew(grant.key)


async def make_ready(grant: Grant) -> Ready:
    """The grant's key made ready to send, kept for the next one. Raises as read_secret."""
    key = grant.key
    secret = await read_secret(grant)
    ready = key.provider.dialect.prepare(secret, key.endpoint)
    if key.endpoint.auth == "sigv4" and secret is not None:
        sign = await aws.signer(secret, key.endpoint)
        ready = replace(ready, sign=sign, until=key.source.until(grant.clock.wall()))
    key.ready = ready
    return ready
