"""By priority and weight, and away from keys whose calls fail or drag."""

from __future__ import annotations

from ..core.keyspec import KeySpec
from ..core.pool import Norm, Place, Record

# Below twice the stage's mean, and below 8 samples, a difference is noise: without this dead
# band equal keys drift apart (65 to 122 of 300 calls were measured without it).
SLOW_RATIO = 2.0
SLOW_SAMPLES = 8
SLOWEST = 8.0
GRACE_SECONDS = 0.1
SMALLEST_SHARE = 0.05


def health_aware(key: KeySpec, record: Record, norm: Norm) -> Place:
    """A tier per priority; within it the stride grows with slowness and provider faults."""
    return Place(key.priority, _slowness(record, norm) * failing(record) / key.weight)


def _slowness(record: Record, norm: Norm) -> float:
    if record.samples < SLOW_SAMPLES:
        return 1.0
    ratio = (record.seconds + GRACE_SECONDS) / (norm.seconds + GRACE_SECONDS)
    return min(ratio, SLOWEST) if ratio > SLOW_RATIO else 1.0


def failing(record: Record) -> float:
    """How much less a key gets for the provider's faults it has met."""
    return 1.0 / max(SMALLEST_SHARE, (1.0 - record.fault_share) ** 2)
