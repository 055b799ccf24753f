"""The strategies: each one pure function from a key and its record to a place.

A strategy of your own is any callable of that shape, passed as ``strategy=``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ..core.keyspec import KeySpec
from ..core.pool import Norm, Place, Record
from .health_aware import health_aware
from .least_busy import least_busy
from .least_tokens import least_tokens
from .lowest_latency import lowest_latency
from .priority import priority
from .round_robin import round_robin
from .weighted import weighted


class Strategy(Protocol):
    """``key``: what the registry says of it; ``record``: its recent seconds to an answer and
    share of provider faults; ``norm``: the mean of its stage. Must be pure and quick.
    """

    def __call__(self, key: KeySpec, record: Record, norm: Norm) -> Place: ...


STRATEGIES: Mapping[str, Strategy] = {
    "round_robin": round_robin,
    "priority": priority,
    "weighted": weighted,
    "health_aware": health_aware,
    "least_busy": least_busy,
    "lowest_latency": lowest_latency,
    "least_tokens": least_tokens,
}

__all__ = ["STRATEGIES", "Norm", "Place", "Record", "Strategy"]
