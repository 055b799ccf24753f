"""Reads a streamed answer: the framing here, the meaning of its events in a dialect's tally."""

from __future__ import annotations

from typing import Any, Protocol

from ..core.outcome import Outcome
from ..core.wire import Verdict
from ..types import ChatResponse, StreamChunk
from .jsonio import loads
from .reading import as_dict
from .sse import BARE, SseParser

Found = StreamChunk | Verdict[ChatResponse]


class Tally(Protocol):
    """What the events of one answer add up to.

    ``take`` gives the chunk or verdict in an event, if it holds one. ``given``: a chunk has
    been given. ``finished``: the answer is whole, though its stream may go on.
    """

    @property
    def text(self) -> str: ...
    @property
    def given(self) -> bool: ...
    @property
    def finished(self) -> bool: ...
    def take(self, name: str, event: dict[str, Any]) -> Found | None: ...
    def verdict(self) -> Verdict[ChatResponse]: ...


class Framing(Protocol):
    """Takes a stream of bytes apart into events: (name, data)."""

    def feed(self, raw: bytes) -> list[tuple[str, bytes]]: ...
    def end(self) -> list[tuple[str, bytes]]: ...


class StreamReader:
    """An EventReader, over server-sent events if not told otherwise. Nothing is read after the
    first verdict.
    """

    __slots__ = ("_framing", "_over", "_tally")

    def __init__(self, tally: Tally, framing: Framing | None = None) -> None:
        self._tally = tally
        self._framing: Framing = framing or SseParser()
        self._over = False

    @property
    def text(self) -> str:
        """The text that has come so far."""
        return self._tally.text

    @property
    def finished(self) -> bool:
        """Whether the answer is whole, whatever becomes of its stream."""
        return self._tally.finished

    def feed(self, raw: bytes) -> list[Found]:
        return self._read(self._framing.feed(raw))

    def end(self) -> Verdict[ChatResponse]:
        """Judges a stream that closed. A chunk it cut off before its blank line counts."""
        given = self._tally.given
        for found in self._read(self._framing.end()):
            if isinstance(found, Verdict):
                return found
        if self._tally.finished:
            return self._tally.verdict()
        return _cut("the stream closed before its end", given)

    def _read(self, events: list[tuple[str, bytes]]) -> list[Found]:
        found: list[Found] = []
        for name, data in events:
            if self._over:
                break
            item = self._event(name, data)
            if item is not None:
                found.append(item)
                self._over = item.__class__ is Verdict
        return found

    def _event(self, name: str, data: bytes) -> Found | None:
        if data.startswith(b"[DONE]"):
            return self._tally.verdict()
        try:
            event = loads(data)
        except ValueError:
            event = None
        if name == BARE:
            event = event[0] if isinstance(event, list) and len(event) == 1 else event
            if not as_dict(event).get("error"):
                return None
        if not isinstance(event, dict):
            return _cut("an event of the stream is not a JSON object", self._tally.given)
        return self._tally.take(name, event)


def _cut(message: str, given: bool) -> Verdict[Any]:
    return Verdict(Outcome.INTERRUPTED if given else Outcome.SERVER_ERROR, message=message)
