"""From a reference to a secret: ``env://NAME``, ``file://PATH``, ``literal://VALUE``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from . import env, file, literal
from .secret import Secret, SecretError

SCHEMES: Mapping[str, Callable[[str], str]] = {
    "env": env.read,
    "file": file.read,
    "literal": literal.read,
}
SPELLINGS = "env://NAME, file://PATH or literal://VALUE"


def scheme_of(reference: str) -> str | None:
    """The scheme of ``reference``, or None if it has none that is known."""
    scheme, mark, _ = reference.partition("://")
    return scheme if mark and scheme in SCHEMES else None


def resolve(reference: str) -> Secret:
    """The secret that ``reference`` points at, stripped of white space at its ends.

    Reads the environment or a file, so it may block. Raises SecretError, which names the
    variable or file and what is wrong, for anything that could not be sent in a header.
    """
    if not reference:
        raise SecretError("the key has no secret_ref")
    scheme = scheme_of(reference)
    if scheme is None:
        raise SecretError(f"secret_ref needs a scheme: {SPELLINGS}")
    rest = reference.partition("://")[2]
    value = SCHEMES[scheme](rest).strip()
    source = scheme if scheme == "literal" else f"{scheme}://{rest}"
    if not value:
        raise SecretError(f"the secret of {source} is empty")
    if not (value.isprintable() and all(ord(letter) < 256 for letter in value)):
        raise SecretError(f"the secret of {source} has characters that no header can carry")
    return Secret(value)


__all__ = ["SCHEMES", "SPELLINGS", "Secret", "SecretError", "resolve", "scheme_of"]
