"""Connections to Redis: one server, Sentinel's master, or the Cluster node of a slot.

Each carries many script calls at once: written in order, answered in order.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from redis.asyncio import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, NoScriptError, RedisError, ResponseError

from ..config.redis_url import RedisAddress
from ..stores.errands import SCRIPTS, Command

SHAS = {
    script: hashlib.sha1(script.text.encode(), usedforsecurity=False).hexdigest()
    for script in SCRIPTS
}


def _packed(command: Sequence[str | int]) -> bytes:
    """As the protocol has it (https://redis.io/docs/latest/develop/reference/protocol-spec/). An
    admission has some thirty words, and redis-py takes three times as long over them.
    """
    parts = [b"*%d\r\n" % len(command)]
    for word in command:
        raw = str(word).encode("utf-8", "surrogatepass")  # callers' names, providers' words
        parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)


class Unloaded(Exception):  # noqa: N818 - no error: it says what to do
    """The server does not have the scripts. Nothing was done."""


class Moved(Exception):  # noqa: N818 - no error: it says where to go
    """Another node has the slot. Nothing was done."""


class Lines:
    """Opens connections. ``connect_s`` bounds each step of it."""

    def __init__(self, address: RedisAddress, connect_s: float) -> None:
        self.address = address
        self.moved_to: tuple[str, int] | None = None
        self._settings: dict[str, Any] = {
            "db": address.db,
            "username": address.username,
            "password": address.password,
            "socket_timeout": None,  # a flush has one timeout for all it does
            "socket_connect_timeout": connect_s,
            "retry": Retry(NoBackoff(), 0),
            "encoding_errors": "surrogatepass",  # names come from callers, words from answers
        }
        own: dict[str, Any] = {
            name: text for name, text in address.options.items() if name.startswith("ssl_")
        }
        self._tls = own if address.is_tls else {}

    async def open(self) -> Line:
        """Raises what Redis or the system says; ConnectionError if nobody is there."""
        if self.address.kind == "unix":
            return await self._opened(
                UnixDomainSocketConnection(path=self.address.path, **self._settings)
            )
        error: Exception = ConnectionError("no server is named")
        for host, port in await self._places():
            try:
                return await self._opened(self._connection(host, port))
            except (OSError, RedisError) as failed:
                self.moved_to = None
                error = failed
        raise error

    async def _opened(self, connection: Any) -> Line:
        line = Line(connection, self)
        try:
            await connection.connect()
        except BaseException:
            line.abort()
            raise
        return line

    async def _places(self) -> Sequence[tuple[str, int]]:
        address = self.address
        if address.kind == "sentinel":
            return [await self._master()]
        if self.moved_to is not None:
            return [self.moved_to, *address.nodes]
        return address.nodes

    async def _master(self) -> tuple[str, int]:
        address, options = self.address, self.address.options
        login = {
            name: options[f"sentinel_{name}"]
            for name in ("username", "password")
            if f"sentinel_{name}" in options
        }
        limit = self._settings["socket_connect_timeout"]
        asked: Any = Sentinel(  # type: ignore[no-untyped-call] # theirs
            address.nodes,
            sentinel_kwargs={
                **login,
                **self._tls,
                **({"ssl": True} if address.is_tls else {}),
                "socket_timeout": limit,
                "socket_connect_timeout": limit,
                "retry": Retry(NoBackoff(), 0),
            },
        )
        try:
            found = await asked.discover_master(address.service)
        finally:
            for sentinel in asked.sentinels:
                await sentinel.aclose()
        return found[0], int(found[1])

    def _connection(self, host: str, port: int) -> Any:
        kind = SSLConnection if self.address.is_tls else Connection
        return kind(host=host, port=port, **self._settings, **self._tls)


class Line:
    """One connection, used by many flushes at once."""

    def __init__(self, connection: Any, lines: Lines) -> None:
        self._connection = connection
        self._lines = lines
        self._writing = asyncio.Lock()
        self._reading = asyncio.Lock()
        self._is_dead = False

    async def exchange(self, commands: Sequence[Command], now: Callable[[], float]) -> None:
        """Says all, hears all that is answered. Raises Unloaded, Moved or the first refusal
        once all have been heard, OSError when the connection ended.
        """
        packed = []
        for command in commands:
            sha = SHAS[command.script]
            keys = command.keys
            packed.append(("EVALSHA", sha, len(keys), *keys, *command.args))
        refused: list[ResponseError] = []
        for command, reply in zip(commands, await self._converse(packed), strict=True):
            if isinstance(reply, ResponseError):
                refused.append(reply)
            else:
                command.is_heard = True
                command.heard(reply, now())
        if refused:
            raise self._meant(refused[0])

    async def load(self) -> None:
        """Gives the server the scripts."""
        for reply in await self._converse([("SCRIPT", "LOAD", each.text) for each in SCRIPTS]):
            if isinstance(reply, ResponseError):
                raise reply

    async def _converse(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        connection = self._connection
        try:
            async with self._writing:
                self._check()
                await connection.send_packed_command(
                    [_packed(command) for command in commands], check_health=False
                )
            async with self._reading:
                self._check()
                return [await self._reply() for _ in commands]
        except (RedisConnectionError, OSError) as error:
            raise ConnectionError(str(error)) from error

    async def _reply(self) -> Any:
        try:
            return await self._connection.read_response()
        except RedisConnectionError:
            raise
        except ResponseError as refusal:
            return refusal

    def _check(self) -> None:
        if self._is_dead:
            raise ConnectionError("the connection was closed")

    def _meant(self, refusal: ResponseError) -> Exception:
        if isinstance(refusal, NoScriptError):
            return Unloaded()
        text = str(refusal)
        if isinstance(refusal, MovedError) or text.startswith("MOVED "):  # by version of redis-py
            host, _, port = text.rsplit(maxsplit=1)[-1].rpartition(":")
            self._lines.moved_to = host.strip("[]"), int(port)
            return Moved()
        return refusal

    async def aclose(self) -> None:
        """Ends the connection in order."""
        self._is_dead = True
        with suppress(OSError, RedisError):
            await self._connection.disconnect()

    def abort(self) -> None:
        """Ends it at once, also when its loop is gone."""
        self._is_dead = True
        writer = getattr(self._connection, "_writer", None)
        if writer is None:
            return
        self._connection._writer = self._connection._reader = None  # noqa: SLF001 - no public way without a loop
        try:
            writer.transport.abort()
        except RuntimeError:  # the loop is closed: what it will not do is done by hand
            lost = getattr(writer.transport, "_call_connection_lost", None)
            if lost is not None:
                with suppress(RuntimeError):
                    lost(None)
