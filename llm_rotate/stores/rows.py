"""Limits, and what is said of them, as the shared store's scripts take them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..core.bucket import BucketSpec, Resets, Tokens
from ..core.learned import Reading
from ..core.limits import Room

_FIELDS = (  # in the order of FIELDS in limits.lua
    "rpm",
    "tpm",
    "input_tpm",
    "output_tpm",
    "rpd",
    "tpd",
    "max_cost_per_day",
    "max_concurrency",
    "request_burst",
    "token_burst",
    "window_seconds",
)
MOST_ROWS = 4096  # names of models come from callers
_rows: dict[str, tuple[BucketSpec, str]] = {}


def _word(number: float | None) -> str:
    return "-" if number is None else repr(number)


def row_of(spec: BucketSpec) -> str:
    """The limits of a bucket. Made once per spec: it is said with every admission."""
    held = _rows.get(spec.name)
    if held is None or held[0] is not spec:
        if len(_rows) >= MOST_ROWS:
            _rows.clear()
        numbers = [_word(getattr(spec, name)) for name in _FIELDS]
        held = _rows[spec.name] = (spec, " ".join([*numbers, str(int(spec.learns))]))
    return held[1]


def day_words(spec: BucketSpec, resets: Resets | None, now: float) -> str:
    """Seconds until the next two ends of the day; nothing where the bucket has none."""
    resets = spec.resets or resets
    if resets is None or not spec.has_day:
        return ""
    first, second = resets(now)
    return f"{first - now!r} {second - now!r}"


def owed_words(owed: Tokens | None) -> tuple[str, ...]:
    """What was used of a reservation."""
    return ("-", "", "", "") if owed is None else (*(repr(each) for each in owed), "")


def reading_words(readings: Iterable[Reading]) -> str:
    """What an answer says of limits."""
    return ";".join(
        f"{each.kind} {_word(each.remaining)} {_word(each.limit)} {_word(each.reset_seconds)}"
        for each in readings
    )


def rooms_of(names: Sequence[str], reply: Sequence[Any]) -> Mapping[str, Mapping[str, Room]]:
    """What look.lua tells."""
    return {
        name: {
            limit.decode(): Room(float(most), float(taken), bool(is_learned))
            for limit, most, taken, is_learned in rooms
        }
        for name, rooms in zip(names, reply, strict=True)
    }
