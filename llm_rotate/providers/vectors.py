"""Reads a vector, however a service spells it."""

from __future__ import annotations

import base64
import binascii
import sys
from array import array
from collections.abc import Sequence


def vector_of(value: object) -> Sequence[float]:
    """A list of numbers, or float32, little-endian, in base64; empty if it is neither."""
    if isinstance(value, list):
        is_numbers = all(type(number) in (float, int) for number in value)
        return value if is_numbers else ()
    if not isinstance(value, str):
        return ()
    found = array("f")
    try:
        found.frombytes(base64.b64decode(value, validate=True))
    except (binascii.Error, ValueError):
        return ()
    if sys.byteorder == "big":
        found.byteswap()
    return found
