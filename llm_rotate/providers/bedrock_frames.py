"""Takes AWS event streams apart: binary frames of headers and a JSON payload."""

from __future__ import annotations

from typing import Any

from .jsonio import dumps


class FrameParser:
    """Bytes in, (name, payload) out, however they are split. After a frame that is none, one
    event without a name and payload tells so, and nothing follows: where the next would begin
    is unknown.

    The parser is botocore's (the extra ``bedrock``).
    """

    def __init__(self) -> None:
        from botocore.eventstream import EventStreamBuffer  # noqa: PLC0415 - an extra

        self._frames: Any = EventStreamBuffer()
        self._is_lost = False

    def feed(self, raw: bytes) -> list[tuple[str, bytes]]:
        if self._is_lost:
            return []
        self._frames.add_data(raw)
        found: list[tuple[str, bytes]] = []
        try:
            found.extend(map(_event, self._frames))
        except Exception:  # whatever the parser makes of junk: wrong sums, types, lengths, text
            self._is_lost = True
            found.append(("", b""))
        return found

    def end(self) -> list[tuple[str, bytes]]:
        """A frame that was cut off tells nothing."""
        return []


def _event(frame: Any) -> tuple[str, bytes]:
    """Names tell what happened: an event's kind, an exception's, or an error's code."""
    headers = frame.headers
    for name in (":exception-type", ":error-code", ":event-type"):
        if name in headers:
            return str(headers[name]), _payload(headers, frame.payload)
    return "", b"{}"  # a kind of message that is not known yet


def _payload(headers: Any, payload: bytes) -> bytes:
    """An error without a body has its words in a header."""
    if payload or ":error-message" not in headers:
        return payload or b"{}"
    return dumps({"message": str(headers[":error-message"])})
