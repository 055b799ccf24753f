"""From a key's secret_ref to a key that is ready to send."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from ..core.wire import Ready
from ..secrets import SecretError, resolve, scheme_of
from . import aws, entra, google_auth
from .readers import Readers, TooSlowError
from .run import Grant
from .stages import PoolKey

T = TypeVar("T")

# Secrets of these schemes are at hand; any other may block, and is read off the loop.
AT_HAND = ("env", "literal")
LONGEST_READ_SECONDS = 30.0
_READERS = Readers()


async def look_up(secret_ref: str) -> str:
    """The secret that is there now. Raises SecretError."""
    if scheme_of(secret_ref) in AT_HAND:
        return resolve(secret_ref).reveal()
    return (await _off_the_loop(secret_ref, resolve, secret_ref)).reveal()


async def _off_the_loop(what: str, read: Callable[..., T], *arguments: object) -> T:
    """What ``read`` gives, read once for all who ask for it meanwhile. Raises SecretError."""
    reading = asyncio.get_running_loop().run_in_executor(_READERS, read, *arguments)
    try:
        async with asyncio.timeout(LONGEST_READ_SECONDS):
            return await reading
    except SecretError as error:
        raise SecretError(str(error)) from None  # several may wait for the one that was raised
    except TimeoutError:
        late = TooSlowError(f"{what} could not be read within {LONGEST_READ_SECONDS:g} s")
        raise late from None


async def read_anew(key: PoolKey) -> str | None:
    """The key's secret as it is now, kept with it; None for servers without keys.

    Where requests are signed it is JSON, see ``aws``; of Google an access token. A source that
    gives nothing any more is made anew once: what it asks with may have been changed. Raises
    SecretError.
    """
    source = key.source
    try:
        return await _read(key)
    except SecretError as error:
        if key.source is source:
            key.source = None
        if source is None or isinstance(error, TooSlowError):
            raise
    return await _read(key)


async def _read(key: PoolKey) -> str | None:
    exchange = _EXCHANGES.get(key.endpoint.auth)
    if exchange is not None:
        given, key.secret = await exchange(key)
        key.origin = given or key.secret
    elif key.endpoint.auth != "none" or key.secret_ref:
        key.secret = key.origin = await look_up(key.secret_ref)
    return key.secret


async def _google_secret(key: PoolKey) -> tuple[str | None, str]:
    """What was given, and the access token it is good for; or an API key, where it is one."""
    given = await look_up(key.secret_ref) if key.secret_ref else None
    if given is not None and not google_auth.is_json(given):
        key.token = None
        return given, given
    source: google_auth.Source = key.source or google_auth.Source(given)
    key.source = source
    key.token = token = await _off_the_loop("Google's token", source.read)
    return given, token.value


async def _aws_secret(key: PoolKey) -> tuple[str | None, str]:
    """The credentials that were given, and those to sign with."""
    auth, given = key.endpoint.auth_config, None
    if "access_key_id" in auth:
        fields = (auth["access_key_id"], key.secret_ref, auth.get("session_token"))
        given = aws.AccessKey(*[await _resolved(field) for field in fields])
        if aws.is_lasting(auth):
            return None, given.written()
    source: aws.Source = key.source or aws.Source(auth, given)
    key.source = source
    found = await _off_the_loop("AWS credentials", source.read)
    return given.written() if given else None, found.written()


async def _entra_token(key: PoolKey) -> tuple[str | None, str]:
    """The application's secret, where one was given, and its token."""
    source: entra.Source | None = key.source
    if source is None:
        secret = await look_up(key.secret_ref) if key.secret_ref else None
        source = key.source or entra.Source(key.endpoint.auth_config, secret)
        key.source = source
    if not source.is_async:
        return source.secret, await _off_the_loop("a token of Microsoft Entra ID", source.read)
    return source.secret, await source.ask(LONGEST_READ_SECONDS)


# What a key's secret is exchanged for before it is sent or signed with, by how it is proved.
_EXCHANGES = {"google": _google_secret, "sigv4": _aws_secret, "entra": _entra_token}


async def _resolved(value: str | None) -> str:
    """What ``value`` refers to, or the value itself."""
    return await look_up(value) if value and scheme_of(value) else value or ""


async def read_secret(grant: Grant) -> str | None:
    """As ``read_anew``; TimeoutError when the call's deadline passes first."""
    async with asyncio.timeout(grant.limit_s):
        return await read_anew(grant.key)


async def make_ready(grant: Grant) -> Ready:
    """The grant's key made ready to send, kept for the next one. Raises as read_secret."""
    key: PoolKey = grant.key
    secret = await read_secret(grant)
    if secret is not None and key.endpoint.auth != "none":
        _check_sendable(key, secret)
    ready = key.provider.dialect.prepare(secret, key.endpoint)
    if key.endpoint.auth == "sigv4" and secret is not None:
        if not aws.is_loaded():
            await _off_the_loop("botocore", aws.load)
        until = grant.clock.wall() + aws.ASKED_AGAIN_SECONDS
        ready = replace(ready, sign=aws.signer(secret, key.endpoint))
        ready = ready if aws.is_lasting(key.endpoint.auth_config) else replace(ready, until=until)
    elif key.endpoint.auth == "entra":
        ready = replace(ready, until=grant.clock.wall() + entra.ASKED_AGAIN_SECONDS)
    elif key.token is not None:
        token: google_auth.Token = key.token
        account = {"project": token.project, **key.endpoint.auth_config}
        endpoint = replace(ready.endpoint, auth_config=account)
        ready = replace(ready, until=token.until, endpoint=endpoint)
    key.ready = ready
    return ready


def _check_sendable(key: PoolKey, secret: str) -> None:
    """Raises SecretError: a secret that cannot be sent is that key's matter alone."""
    if not (secret.isascii() and secret.isprintable()):
        raise SecretError(f"the value of {key.shown_ref} has characters that no header can carry")


async def has_new_secret(grant: Grant) -> bool:
    """Whether the secret that was just refused has been changed where it is kept; it is read
    again unless somebody has done so since. The next use of the key takes the new one.
    """
    key, refused = grant.key, grant.secret
    if refused is None:
        return False
    if key.secret == refused:
        key.forget()
        try:
            await read_secret(grant)
        except (SecretError, TimeoutError):
            return False
    return key.secret != refused
