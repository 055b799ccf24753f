"""Reading answers that may be of any shape: the wrong shape is empty, never an error."""

from __future__ import annotations

from typing import Any

LARGEST_COUNT = 1e15  # beyond it sums are not exact, and where they are shared not possible


def as_dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def dicts_in(value: object) -> list[dict[str, Any]]:
    """The objects of a list; what is none is left out."""
    return [item for item in as_list(value) if isinstance(item, dict)]


def as_text(value: object) -> str:
    return value if isinstance(value, str) else ""


def as_text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def as_count(value: object) -> int:
    """A number of tokens; 0 for what is none, or cannot be one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(value) if 0 < value < LARGEST_COUNT else 0
