"""What selection and routing know of a key: never its secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class KeySpec:
    """``models``, ``regions``: None means any. A bigger ``priority`` goes first; within a
    tier a key's share is its ``weight``. ``tags`` given as names alone have empty values.
    """

    key_id: str
    provider: str
    priority: int = 0
    weight: float = 1.0
    models: frozenset[str] | None = None
    regions: frozenset[str] | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    enabled: bool = True
    auth_method: str = "api_key"
