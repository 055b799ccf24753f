"""Undoes Content-Encoding for servers that compress though asked not to."""

from __future__ import annotations

import zlib

# zlib's window bits: gzip or zlib framing by what it finds; none at all.
FRAMED, RAW = 47, -15


class Inflate:
    """gzip and deflate, piece by piece. Raises zlib.error on anything else."""

    __slots__ = ("_begun", "_inner")

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(FRAMED)
        self._begun = False

    def feed(self, data: bytes) -> bytes:
        try:
            out = self._inner.decompress(data)
        except zlib.error:
            if self._begun:
                raise
            self._inner = zlib.decompressobj(RAW)  # "deflate" as some servers spell it
            out = self._inner.decompress(data)
        self._begun = True
        while rest := self._inner.unused_data:  # gzip members may follow each other
            self._inner = zlib.decompressobj(FRAMED)
            out += self._inner.decompress(rest)
        return out

    def end(self) -> None:
        if self._begun and not self._inner.eof:
            raise zlib.error("the compressed body ends too early")


def decoder_for(encoding: str | None) -> Inflate | None:
    """None if the body is as it is. Raises zlib.error for an encoding nobody asked for."""
    if encoding is None or encoding.lower() in ("", "identity"):
        return None
    if encoding.lower() in ("gzip", "x-gzip", "deflate"):
        return Inflate()
    raise zlib.error(f"content-encoding {encoding!r} was not asked for")
