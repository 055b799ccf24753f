"""Equal requests: recalled from a cache, or sent once for all that ask at the same time."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any
from weakref import WeakValueDictionary

from ..core.structured import parsed
from ..core.wire import ChatRequest
from ..errors import ConfigurationError
from ..types import ChatResponse
from .cache import ResponseCache, recalled

Send = Callable[[], Awaitable[ChatResponse]]
SentTo = tuple[str, str, str | None]  # provider, model and upstream
_log = logging.getLogger("llm_rotate")


def key_of(request: ChatRequest, sent_to: SentTo) -> str:
    """What stands for the request: SHA-256 of who is asked, for which model, the messages and
    every parameter, as JSON with sorted names.
    Raises ConfigurationError for what has no such words.
    """
    said = (
        sent_to,
        request.endpoint,
        request.messages,
        request.max_tokens,
        request.temperature,
        request.options,
    )
    try:
        text = json.dumps(said, sort_keys=True, separators=(",", ":"), default=_worded)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"equal requests cannot be told: {error}") from None
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _worded(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"sha256": hashlib.sha256(value).hexdigest()}
    if isinstance(value, type) and hasattr(value, "model_json_schema"):
        return {"class": value.__qualname__, "schema": value.model_json_schema()}
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} has no word in JSON")


class _Left(Exception):  # noqa: N818 - no error: the one who sent was cancelled
    """Whoever waits must send it himself."""


_Flight = Future[ChatResponse]
# Each who is told an error adds to its traceback: it is told as it was.
_Kept = ChatResponse | tuple[Exception, TracebackType | None]


class Flights:
    """One sending for all who ask for the same at a time, in whatever loop.

    ``keeps``: what came is kept for those who ask later, an error too; ``keep_raw``: with the
    providers' own answers.
    """

    def __init__(self, *, keeps: bool = False, keep_raw: bool = True) -> None:
        self._keeps = keeps
        self._keep_raw = keep_raw
        self._lock = threading.Lock()
        self._under_way: dict[str, _Flight] = {}
        self._kept: dict[str, _Kept] = {}

    async def once(self, key: str, send: Send) -> ChatResponse:
        """The answer, sent for if nobody has."""
        while True:
            kept, flight = self._board(key)
            if kept is not None:
                return _again(kept)
            if flight is None:
                return await self._fly(key, send)
            try:
                return recalled(await asyncio.wrap_future(flight))
            except _Left:
                continue

    def _board(self, key: str) -> tuple[_Kept | None, _Flight | None]:
        """What is kept, or the flight to wait for. Neither: the caller is to fly."""
        with self._lock:
            kept, flight = self._kept.get(key), self._under_way.get(key)
            if kept is None and flight is None:
                own = self._under_way[key] = Future()
                own.set_running_or_notify_cancel()  # the end of one who waits must not cancel it
            return kept, flight

    async def _fly(self, key: str, send: Send) -> ChatResponse:
        flight = self._under_way[key]
        try:
            answer = await send()
        except Exception as error:
            self._land(key, (error, error.__traceback__))
            flight.set_exception(error)
            raise
        except BaseException:
            self._land(key, None)
            flight.set_exception(_Left())
            raise
        shared = recalled(answer)  # what the caller does to its own is not the others'
        if not self._keep_raw:
            shared.raw = {}
        self._land(key, shared)
        flight.set_result(shared)
        return answer

    def _land(self, key: str, outcome: _Kept | None) -> None:
        with self._lock:
            del self._under_way[key]
            if self._keeps and outcome is not None:
                self._kept[key] = outcome


def _again(kept: _Kept) -> ChatResponse:
    if isinstance(kept, ChatResponse):
        return recalled(kept)
    error, trace = kept
    raise error.with_traceback(trace)


# By the cache's id, as long as someone recalls from it, and the process: after a fork nobody
# flies on what the parent began.
_FLIGHTS: WeakValueDictionary[tuple[int, int], Flights] = WeakValueDictionary()


class Recall:
    """Looks an answer up, and keeps one that was sent for."""

    def __init__(self, cache: ResponseCache) -> None:
        if not (callable(getattr(cache, "get", None)) and callable(getattr(cache, "put", None))):
            raise ConfigurationError(
                f"cache must have the methods get and put of a ResponseCache, not {cache!r}"
            )
        self._cache = cache
        self._flights = _FLIGHTS.setdefault((id(cache), os.getpid()), Flights())
        self._has_complained = False

    async def once(
        self, key: str, send: Send, sent_to: SentTo, options: Mapping[str, Any]
    ) -> ChatResponse:
        """The answer from the cache, else sent for once and kept; that of a fallback's provider
        or model is not: it is none to this request.
        """

        async def fetch() -> ChatResponse:
            found = await self._get(key)
            if found is not None:
                found.parsed = parsed(options.get("response_format"), found.content)
                return found
            answer = await send()
            if _answered_by(answer) == sent_to:
                await self._put(key, answer)
            return answer

        return await self._flights.once(key, fetch)

    async def _get(self, key: str) -> ChatResponse | None:
        try:
            return await self._cache.get(key)
        except Exception as error:
            self._complain(error)
            return None

    async def _put(self, key: str, answer: ChatResponse) -> None:
        try:
            await self._cache.put(key, answer)
        except Exception as error:
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        """Once: an answer is worth more than its place in a cache."""
        level = logging.DEBUG if self._has_complained else logging.WARNING
        self._has_complained = True
        _log.log(level, "the cache failed; rows go on without it", exc_info=error)


def _answered_by(answer: ChatResponse) -> SentTo:
    last = answer.attempts[-1]
    return last.provider, last.model, last.upstream


class Equals:
    """What a batch does about equal requests. ``sent_to``: who is asked for a model."""

    def __init__(
        self,
        cache: ResponseCache | None,
        sent_to: Callable[[str], SentTo],
        *,
        dedupe: bool,
        keep_raw: bool,
    ) -> None:
        self._recall = None if cache is None else Recall(cache)
        self._flights = Flights(keeps=True, keep_raw=keep_raw) if dedupe else None
        self._sent_to = sent_to

    async def once(self, request: ChatRequest, send: Send) -> ChatResponse:
        """The answer to the request, or to one that equals it."""
        sent_to = self._sent_to(request.model)
        key, recall = key_of(request, sent_to), self._recall

        async def fetch() -> ChatResponse:
            if recall is None:
                return await send()
            return await recall.once(key, send, sent_to, request.options)

        return await (fetch() if self._flights is None else self._flights.once(key, fetch))
