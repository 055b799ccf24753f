"""From a reference to a secret: ``env://NAME``, ``file://PATH``, ``vault://PATH#FIELD``, ...

Another package adds a scheme by an entry point of the group ``llm_rotate.secrets``: its name is
the scheme's, its object a :class:`SecretScheme`.
"""

from __future__ import annotations

import json

from .schemes import SCHEMES, SPELLINGS
from .secret import Secret, SecretError, SecretScheme


def scheme_of(reference: str) -> str | None:
    """The scheme of ``reference``, or None if it has none that is known."""
    scheme, mark, _ = reference.partition("://")
    return scheme if mark and scheme in SCHEMES else None


def resolve(reference: str) -> Secret:
    """The secret that ``reference`` points at, stripped of white space at its ends. A JSON
    object of several lines (a service account) comes as one line.

    Reads the environment, a file or a service, so it may block. Raises SecretError, which names
    the place and what is wrong, for anything that could not be sent in a header.
    """
    if not reference:
        raise SecretError("the key has no secret_ref")
    scheme = scheme_of(reference)
    if scheme is None:
        raise SecretError(f"secret_ref needs a scheme: {SPELLINGS}")
    rest = reference.partition("://")[2]
    value = _in_one_line(_read(scheme, rest).strip())
    source = scheme if scheme == "literal" else f"{scheme}://{rest}"
    if not value:
        raise SecretError(f"the secret of {source} is empty")
    if not (value.isprintable() and all(ord(letter) < 256 for letter in value)):
        raise SecretError(f"the secret of {source} has characters that no header can carry")
    return Secret(value)


def _in_one_line(text: str) -> str:
    if text.isprintable() or not text.startswith("{"):
        return text
    try:
        return json.dumps(json.loads(text))
    except (ValueError, RecursionError):
        return text


def _read(scheme: str, rest: str) -> str:
    try:
        return SCHEMES[scheme](rest)
    except SecretError as error:
        reason = str(error)
    except Exception as error:  # its text may be the secret's own
        reason = f"{scheme}:// failed: {type(error).__name__}"
    # Raised out here: the exceptions above hold what was read, or what it is read with.
    raise SecretError(reason)


__all__ = [
    "SCHEMES",
    "SPELLINGS",
    "Secret",
    "SecretError",
    "SecretScheme",
    "resolve",
    "scheme_of",
]
