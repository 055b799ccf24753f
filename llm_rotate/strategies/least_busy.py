"""The key with the fewest requests under way."""

from __future__ import annotations

from ..core.keyspec import KeySpec
from ..core.pool import Norm, Place, Record
from .health_aware import failing

MOST_IN_FLIGHT = 1_000_000  # more than one key ever has: priorities come first


def least_busy(key: KeySpec, record: Record, norm: Norm) -> Place:  # noqa: ARG001 - the protocol's
    """A tier per priority and number of requests under way, as a share of the key's weight."""
    load = min(MOST_IN_FLIGHT - 1, int(record.in_flight / key.weight))
    return Place(key.priority * MOST_IN_FLIGHT - load, failing(record) / key.weight)


least_busy.counts_in_flight = True  # type: ignore[attr-defined] # functions take any
