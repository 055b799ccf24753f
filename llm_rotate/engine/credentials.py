"""From a key's secret_ref to a key that is ready to send."""

from __future__ import annotations

import asyncio

from ..core.wire import Ready
from ..secrets import SecretError, resolve, scheme_of
from .readers import Readers
from .run import Grant
from .stages import PoolKey

# Secrets of these schemes are at hand; any other may block, and is read off the loop.
AT_HAND = ("env", "literal")
LONGEST_READ_SECONDS = 30.0
_READERS = Readers()


async def look_up(secret_ref: str) -> str:
    """The secret that is there now. Raises SecretError."""
    if scheme_of(secret_ref) in AT_HAND:
        return resolve(secret_ref).reveal()
    reading = asyncio.get_running_loop().run_in_executor(_READERS, resolve, secret_ref)
    try:
        async with asyncio.timeout(LONGEST_READ_SECONDS):
            return (await reading).reveal()
    except SecretError as error:
        raise SecretError(str(error)) from None  # several may wait for the one that was raised
    except TimeoutError:
        raise SecretError(
            f"{secret_ref} could not be read within {LONGEST_READ_SECONDS:g} s"
        ) from None


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


async def has_new_secret(grant: Grant) -> bool:
    """Whether the secret that was just refused has been changed where it is kept; it is read
    again unless somebody has done so since. The next use of the key takes the new one.
    """
    key, refused = grant.key, grant.secret
    if refused is None:
        return False
    if key.secret == refused:
        key.ready = None
        try:
            await read_secret(grant)
        except (SecretError, TimeoutError):
            return False
    return key.secret != refused
