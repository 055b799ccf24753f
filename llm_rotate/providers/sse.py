r"""The one parser of server-sent events: bytes in, events out, split wherever they may be.

Lines end at \n, \r\n or \r and nowhere else: U+2028, U+2029 and U+0085 are text.
https://html.spec.whatwg.org/multipage/server-sent-events.html, but for one thing: an event
that the end of the stream cuts off before its blank line is given out, not dropped; and so is
JSON that stands where an event should, for that is how errors come from some.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_BOM = b"\xef\xbb\xbf"
_DATA = b"data: "
# The name of what is no event, but JSON that was written where one should be.
BARE = "{"
_FIELD = re.compile(rb"^(?:data|event|id|retry)?:", re.MULTILINE)  # a comment's name is empty


class SseParser:
    """``feed`` gives the events (name, data) that are whole; ``end`` what was left over."""

    __slots__ = ("_held", "_opening", "_skip_lf")

    def __init__(self) -> None:
        self._held: list[bytes] = []  # no blank line in them; joined when it has come
        self._skip_lf = False  # the last byte was \r, whose \n may come with the next bytes
        self._opening = True  # a byte order mark may still come

    def feed(self, raw: bytes) -> list[tuple[str, bytes]]:
        if self._opening or self._skip_lf or b"\r" in raw:
            raw = self._plain(raw)
        held = self._held
        if held:
            if b"\n\n" not in raw and not (held[-1][-1] == 10 and raw[:1] == b"\n"):
                self._hold(raw)
                return []
            raw = self._joined(raw)
        elif raw.startswith(_DATA) and 6 < raw.find(b"\n") == len(raw) - 2 and raw[-1] == 10:
            return [("", raw[6:-2])]  # one event of one line: how most arrive
        cut = raw.rfind(b"\n\n")
        if cut < 0:
            self._hold(raw)
            return []
        self._hold(raw[cut + 2 :])
        return _events(raw[:cut])

    def end(self) -> list[tuple[str, bytes]]:
        """The event that the stream's end left without a blank line, if it holds one."""
        return _events(self._joined(b""))

    def _hold(self, raw: bytes) -> None:
        if raw:
            self._held.append(raw)

    def _joined(self, raw: bytes) -> bytes:
        """All that is held, and ``raw``."""
        raw = b"".join((*self._held, raw))
        self._held.clear()
        return raw

    def _plain(self, raw: bytes) -> bytes:
        """``raw`` without a byte order mark, its lines ending at a line feed alone."""
        if self._opening and raw:
            raw = self._joined(raw)
            if len(raw) < len(_BOM) and _BOM.startswith(raw):
                self._hold(raw)
                return b""
            self._opening = False
            raw = raw.removeprefix(_BOM)
        if self._skip_lf and raw:
            self._skip_lf = False
            raw = raw.removeprefix(b"\n")
        if b"\r" in raw:
            self._skip_lf = raw.endswith(b"\r")
            raw = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return raw


def _events(blocks: bytes) -> list[tuple[str, bytes]]:
    found = []
    for block in blocks.split(b"\n\n"):
        if b"\n" not in block and block.startswith(_DATA):
            data = block[6:]
            if data:
                found.append(("", data))
        else:
            found.extend(_in_block(block))
    return found


def _in_block(block: bytes) -> Iterator[tuple[str, bytes]]:
    """Bare JSON that stands before the first field, and the event of the fields."""
    if block.lstrip()[:1] in (b"{", b"["):
        field = _FIELD.search(block)
        fields_at = field.start() if field else len(block)
        yield BARE, block[:fields_at]
        block = block[fields_at:]
    event = _event(block)
    if event[1]:
        yield event


def _event(block: bytes) -> tuple[str, bytes]:
    name, data = "", []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")  # a comment's field is empty
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ").decode("utf-8", "replace")
    return name, b"\n".join(data)
