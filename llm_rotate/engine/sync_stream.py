"""A stream for code without a loop."""

from __future__ import annotations

from typing import Self

from ..types import ChatResponse, StreamChunk
from .portal import PORTAL
from .stream import ChatStream


class SyncChatStream:
    """:class:`ChatStream` as a plain iterator and context manager."""

    def __init__(self, stream: ChatStream) -> None:
        self._stream = stream

    def __iter__(self) -> SyncChatStream:
        return self

    def __next__(self) -> StreamChunk:
        chunk = PORTAL.run(self._next)
        if chunk is None:
            raise StopIteration
        return chunk

    async def _next(self) -> StreamChunk | None:
        # StopAsyncIteration cannot leave a task as itself, so the end is None here.
        return await anext(self._stream, None)

    @property
    def response(self) -> ChatResponse:
        """The whole answer, once the stream has ended."""
        return self._stream.response

    def close(self) -> None:
        """Closes the connection now."""
        PORTAL.run(self._stream.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
