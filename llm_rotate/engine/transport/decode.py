"""Undoes Content-Encoding for servers that compress though asked not to."""

from __future__ import annotations

import zlib

# zlib's window bits: gzip or zlib framing, by what it finds; no framing.
FRAMED, RAW = 47, -15


class Inflate:
    """gzip and deflate, piece by piece. Raises zlib.error for what is neither or not whole.

    ``bare``: the framing may be missing, as some servers understand "deflate".
    """

    __slots__ = ("_bare", "_head", "_inner")

    def __init__(self, *, bare: bool = False) -> None:
        self._bare = bare
        self._head = b""
        self._inner: zlib._Decompress | None = None

    def feed(self, data: bytes) -> bytes:
        if self._inner is None:
            self._head += data
            if len(self._head) < 2:  # bytes that tell the framing
                return b""
            data, self._inner = self._head, self._open(self._head)
        out = self._inner.decompress(data)
        while rest := self._inner.unused_data:  # gzip members may follow each other
            self._inner = zlib.decompressobj(FRAMED)
            out += self._inner.decompress(rest)
        return out

    def end(self) -> None:
        """No body at all is fine: some servers name an encoding for that, too."""
        if self._head and (self._inner is None or not self._inner.eof):
            raise zlib.error("the compressed body ends too early")

    def _open(self, head: bytes) -> zlib._Decompress:
        framed = head[0] & 15 == 8 and int.from_bytes(head[:2]) % 31 == 0  # RFC 1950, 2.2
        return zlib.decompressobj(RAW if self._bare and not framed else FRAMED)


def decoder_for(encoding: str | None) -> Inflate | None:
    """None if the body is as it is. Raises zlib.error for an encoding nobody asked for."""
    name = (encoding or "identity").lower()
    if name == "identity":
        return None
    if name in {"gzip", "x-gzip", "deflate"}:
        return Inflate(bare=name == "deflate")
    raise zlib.error(f"content-encoding {encoding!r} was not asked for")
