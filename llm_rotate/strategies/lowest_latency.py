"""The quicker a key answers, the more it gets."""

from __future__ import annotations

from ..core.keyspec import KeySpec
from ..core.pool import Norm, Place, Record
from .health_aware import GRACE_SECONDS, failing

STEEPNESS = 3  # twice as slow: an eighth of the calls, enough to notice when it is quick again
EXTREME = 1e6


def lowest_latency(key: KeySpec, record: Record, norm: Norm) -> Place:
    """A tier per priority; within it shares fall with the cube of the time to an answer."""
    mean = norm.seconds if record.samples == 0 else record.seconds
    slow = min(EXTREME, (mean + GRACE_SECONDS) / (norm.seconds + GRACE_SECONDS))
    return Place(key.priority, slow**STEEPNESS * failing(record) / key.weight)
