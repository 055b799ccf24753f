"""One parser for every spelling of "come back later". What makes no sense is ignored.

Lengths are seconds, ``wall`` is seconds since the epoch, UTC. Nothing here raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from .wire import Headers

LONGEST_S = 366 * 86_400.0  # no provider asks for more; a longer time is nonsense
_LONGEST_TEXT = 64  # characters; the longest sensible spelling is a date of some 35
_EPOCH_S = 1e9  # a bare number above this is a point in time (2001 and later), not a length
_EPOCH_MS = 1e12

_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?|[+-]?\.[0-9]+")
_PIECE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|us|µs|ns|d|h|m|s)")
_UNIT_S = {
    "d": 86_400.0,
    "h": 3_600.0,
    "m": 60.0,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "ns": 1e-9,
}


def later_s(headers: Headers, wall: float, buckets: Iterable[tuple[str, str]] = ()) -> float | None:
    """Seconds until the answer says it may be asked again, or None if it does not say.

    ``retry-after-ms`` and ``retry-after`` win. Without them the rate limit ``buckets``
    speak, each a pair of header names (remaining, reset): the latest reset of those with
    nothing left, else the reset of the only one there is.
    """
    stated = _in_ms(headers.get("retry-after-ms"))
    if stated is None:
        stated = stated_s(headers.get("retry-after"), wall)
    return _of_buckets(headers, wall, buckets) if stated is None else stated


def stated_s(text: object, wall: float) -> float | None:
    """Seconds from ``wall`` to the time that ``text`` states, 0.0 if that is past.

    Read are seconds ("7", "8.64"), lengths ("6m0s", "12ms", "1d2h"), HTTP dates, RFC 3339
    dates, and points given as seconds or milliseconds since the epoch. A negative length
    is nonsense: None.
    """
    if not isinstance(text, str) or not 0 < len(text) <= _LONGEST_TEXT:
        return None
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return _of_number(float(text), wall)
    length = length_s(text)
    if length is not None:
        return length
    point = _point(text)
    return None if point is None else _sane(max(0.0, point - wall))


def length_s(text: str) -> float | None:
    """Seconds of a length spelled with units ("6m0s", "34s"), or None."""
    total, end = 0.0, 0
    for piece in _PIECE.finditer(text[:_LONGEST_TEXT]):
        if piece.start() != end:
            return None
        total += float(piece[1]) * _UNIT_S[piece[2]]
        end = piece.end()
    return _sane(total) if end and end == len(text) else None


def in_details(details: object) -> float | None:
    """Seconds of the first ``retryDelay`` ("34s") among the details of an error body."""
    if not isinstance(details, Sequence) or isinstance(details, str | bytes):
        return None
    for detail in details:
        delay: Any = detail.get("retryDelay") if isinstance(detail, dict) else None
        length = length_s(delay) if isinstance(delay, str) else None
        if length is not None:
            return length
    return None


def _of_number(value: float, wall: float) -> float | None:
    if value >= _EPOCH_MS:
        return _sane(max(0.0, value / 1e3 - wall))
    if value >= _EPOCH_S:
        return _sane(max(0.0, value - wall))
    return _sane(value)


def _in_ms(text: str | None) -> float | None:
    if text is None or len(text) > _LONGEST_TEXT or not _NUMBER.fullmatch(text.strip()):
        return None
    return _sane(float(text) / 1e3)


def _sane(seconds: float) -> float | None:
    return seconds if 0.0 <= seconds <= LONGEST_S else None


def _of_buckets(headers: Headers, wall: float, buckets: Iterable[tuple[str, str]]) -> float | None:
    """A reset that is due already says nothing: taken at its word it would be asked at once."""
    empty: list[float] = []
    resets: list[float] = []
    for remaining, reset in buckets:
        due = stated_s(headers.get(reset), wall)
        if not due:
            continue
        resets.append(due)
        if _is_zero(headers.get(remaining)):
            empty.append(due)
    if empty:
        return max(empty)
    return resets[0] if len(resets) == 1 else None


def _is_zero(text: str | None) -> bool:
    text = (text or "").strip()
    return bool(_NUMBER.fullmatch(text)) and float(text) == 0


def _point(text: str) -> float | None:
    """Seconds since the epoch of an RFC 3339 or HTTP date; without a zone it is UTC."""
    for read in (datetime.fromisoformat, _http_date):
        try:
            when = read(text)
            return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None


def _http_date(text: str) -> datetime:
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - rare, and slow to import

    return parsedate_to_datetime(text)
