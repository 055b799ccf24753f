"""The highest priority while it may go."""

from __future__ import annotations

from ..core.keyspec import KeySpec
from ..core.pool import Norm, Place, Record


def priority(key: KeySpec, record: Record, norm: Norm) -> Place:  # noqa: ARG001 - the protocol's
    """A tier per priority; equals share by weight."""
    return Place(key.priority, 1.0 / key.weight)
