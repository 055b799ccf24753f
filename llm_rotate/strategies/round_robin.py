"""Every key in turn."""

from __future__ import annotations

from ..core.keyspec import KeySpec
from ..core.pool import Norm, Place, Record

EVERYONE = Place(0, 1.0)


def round_robin(key: KeySpec, record: Record, norm: Norm) -> Place:  # noqa: ARG001 - the protocol's
    """One tier, equal strides: an exact cycle."""
    return EVERYONE
