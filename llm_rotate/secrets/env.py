"""``env://NAME``, or ``env://NAME#2`` for one entry of a comma-separated list."""

from __future__ import annotations

import os

from .secret import SecretError


def entries(value: str) -> list[str]:
    """The entries of a comma-separated list, in order; empty ones count for nothing."""
    return [entry for part in value.split(",") if (entry := part.strip())]


def read(rest: str) -> str:
    name, _, index = rest.partition("#")
    if not name:
        raise SecretError("env:// names no variable")
    value = os.environ.get(name)
    if value is None:
        raise SecretError(f"environment variable {name} is not set")
    return _entry(name, value, index) if index else value


def _entry(name: str, value: str, index: str) -> str:
    found = entries(value)
    if not (index.isascii() and index.isdigit()):
        raise SecretError(f"env://{name}# takes the number of an entry, the first being 0")
    if int(index) >= len(found):
        raise SecretError(f"environment variable {name} has no entry {int(index)}")
    return found[int(index)]
