"""JSON bytes in and out: orjson where it is installed, else the standard library.

orjson refuses what the wire does carry (lone surrogates, huge integers, NaN, bytes that are
not UTF-8); whatever it refuses, the standard library tries again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any


def loads(raw: bytes) -> Any:
    """The value in ``raw``. Raises ValueError if it is no JSON, also if nested too deep."""
    try:
        return _codec()[1](raw)
    except ValueError:
        try:
            return json.loads(raw.decode("utf-8-sig", "replace"))
        except RecursionError:
            raise ValueError("JSON nested too deep") from None


def dumps(value: Any) -> bytes:
    """``value`` as compact UTF-8. Raises TypeError or ValueError if JSON has no word for it."""
    try:
        return _codec()[0](value)
    except (TypeError, ValueError):
        return _dumps(value)


def _dumps(value: Any) -> bytes:
    try:
        return json.dumps(value, separators=(",", ":")).encode()
    except RecursionError:
        raise ValueError("nested too deep for JSON") from None


@cache
def _codec() -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
    try:
        import orjson  # noqa: PLC0415 - optional, and looked for once
    except ImportError:
        return _dumps, json.loads
    # What orjson alone could write would make a request depend on what is installed.
    strict = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME

    def dumps_fast(value: Any) -> bytes:
        return orjson.dumps(value, None, strict)

    return dumps_fast, orjson.loads
