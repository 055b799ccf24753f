"""Answers kept for equal requests: the protocol, and two places to keep them."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import threading
from collections import OrderedDict
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

from ..errors import ConfigurationError
from ..types import ChatResponse, Usage

# What belongs to the call that was answered, not to the answer.
OF_THE_CALL = ("attempts", "latency_ms", "parsed")
LOCKED_SECONDS = 30.0  # how long another process may hold the file


class ResponseCache(Protocol):
    """Keeps answers by a key of 64 hexadecimal digits, which stands for the whole request.

    Both are called from any loop and any thread. What they raise is logged, and the row goes on
    without the cache.
    """

    async def get(self, key: str) -> ChatResponse | None:
        """What was put under the key, or None; ``attempts`` of it is empty."""

    async def put(self, key: str, response: ChatResponse) -> None:
        """Keeps the answer."""


def recalled(response: ChatResponse) -> ChatResponse:
    """The answer as one that nothing was sent for."""
    return replace(response, attempts=(), latency_ms=0.0)


class MemoryCache:
    """As long as the process lives. ``most``: answers that are kept; of more, those that were
    asked for longest ago go.
    """

    def __init__(self, most: int = 100_000) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, ChatResponse] = OrderedDict()

    async def get(self, key: str) -> ChatResponse | None:
        """What was put under the key."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
        return recalled(found)

    async def put(self, key: str, response: ChatResponse) -> None:
        """Keeps the answer."""
        with self._lock:
            self._kept[key] = replace(recalled(response), parsed=None)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)


class SQLiteCache:
    """In a file, for later runs and for other processes on this machine. Grows without bound;
    delete the file to forget. ``path``: made where it is missing, its folder is not. Raises
    ConfigurationError if that is not there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        if not self._path.parent.is_dir():
            raise ConfigurationError(f"{self._path.parent} is no folder: make it for the cache")
        self._lock = threading.Lock()
        self._open: tuple[int, sqlite3.Connection] | None = None

    async def get(self, key: str) -> ChatResponse | None:
        """What was put under the key. Raises sqlite3.Error."""
        return await asyncio.to_thread(self._get, key)

    async def put(self, key: str, response: ChatResponse) -> None:
        """Keeps the answer. Raises sqlite3.Error, and TypeError for one that is not JSON."""
        await asyncio.to_thread(self._put, key, response)

    # Both in a thread, as another process may hold the file.

    def _get(self, key: str) -> ChatResponse | None:
        with self._lock:
            rows = self._connection().execute("SELECT body FROM answers WHERE key = ?", (key,))
            found = rows.fetchone()
        return None if found is None else _read(found[0])

    def _put(self, key: str, response: ChatResponse) -> None:
        body = _written(response)
        with self._lock:
            self._connection().execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, body))

    def close(self) -> None:
        """Closes the file; the next use opens it again."""
        with self._lock:
            if self._open is not None and self._open[0] == os.getpid():
                self._open[1].close()
            self._open = None

    def _connection(self) -> sqlite3.Connection:
        """One per process: a connection must not be carried over a fork."""
        if self._open is None or self._open[0] != os.getpid():
            made = sqlite3.connect(
                self._path, LOCKED_SECONDS, isolation_level=None, check_same_thread=False
            )
            made.execute("PRAGMA journal_mode = WAL")
            # A power cut may lose the last answers, never the file: they are asked for again.
            made.execute("PRAGMA synchronous = NORMAL")
            made.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, body TEXT)")
            self._open = os.getpid(), made
        return self._open[1]


def _written(response: ChatResponse) -> str:
    fields = asdict(replace(response, attempts=(), parsed=None))
    return json.dumps({name: each for name, each in fields.items() if name not in OF_THE_CALL})


def _read(body: str) -> ChatResponse | None:
    """None if another version wrote it with fields that this one does not know."""
    fields: dict[str, Any] = json.loads(body)
    try:
        usage = Usage(**fields.pop("usage"))
        return ChatResponse(usage=usage, **fields)
    except (TypeError, KeyError):
        return None
