"""Each key by its weight."""

from __future__ import annotations

from ..core.keyspec import KeySpec
from ..core.pool import Norm, Place, Record


def weighted(key: KeySpec, record: Record, norm: Norm) -> Place:  # noqa: ARG001 - the protocol's
    """One tier, strides of 1 / weight: a smooth weighted cycle."""
    return Place(0, 1.0 / key.weight)
