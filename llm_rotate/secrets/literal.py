"""``literal://VALUE``: the secret itself, for tests and first tries."""

from __future__ import annotations

from .secret import SecretError


def read(rest: str) -> str:
    if not rest:
        raise SecretError("literal:// is empty; pickles leave its value out")
    return rest
