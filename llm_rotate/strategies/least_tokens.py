"""The same number of tokens for every key."""

from __future__ import annotations

from ..core.keyspec import KeySpec
from ..core.pool import Norm, Place, Record
from .health_aware import failing


def least_tokens(key: KeySpec, record: Record, norm: Norm) -> Place:
    """A tier per priority; within it a turn costs the tokens that the key's answers take, so
    that the key which has used the fewest for its weight goes next.
    """
    tokens = (norm.tokens if record.samples == 0 else record.tokens) or 1.0
    return Place(key.priority, tokens * failing(record) / key.weight)
