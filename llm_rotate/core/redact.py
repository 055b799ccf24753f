"""Takes secrets out of what providers echo."""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "[hidden]"
# What keys look like, also half starred out as providers echo them: sk-..., sk-ant-...,
# gsk_..., AIza..., xai-..., and anything after "Bearer".
_KEY_LIKE = re.compile(
    r"(?i)\bbearer\s+[^\s\"',;]+"
    r"|\b(?:sk|pk|rk|gsk|xai|key|tgp|csk|fw|AKIA|ASIA|ABSK|AIza)[-_]?[A-Za-z0-9_*.\-]*"
    r"(?:\*{3,}|[A-Za-z0-9_\-]{16,})[A-Za-z0-9_*.\-]*"
)
# Of the beginnings of keys, those that are words, with words behind: key-production-eu-1.
_WORDS = re.compile(r"(?i)(?:key|fw|xai)(?:[-_.][A-Za-z0-9]{0,15})+")
SHORTEST_SECRET = 6


def redact(text: str, secret: str | None = None) -> str:
    """``text`` without ``secret`` and without anything that looks like a key."""
    if secret and len(secret) >= SHORTEST_SECRET:
        text = text.replace(secret, HIDDEN)
    return _KEY_LIKE.sub(HIDDEN, text)


def is_key_like(name: str) -> bool:
    """Whether ``name``, which should be a name, looks like a key."""
    return any(not _WORDS.fullmatch(found[0]) for found in _KEY_LIKE.finditer(name))


def shown(name: str) -> str:
    """``name``, unless it looks like a key."""
    return HIDDEN if is_key_like(name) else name


def shows(error: BaseException, secret: str | None) -> bool:
    """Whether the words of ``error``, or of what it came from, show ``secret``."""
    if not secret:
        return False
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        if secret in str(link) or secret in repr(link):
            return True
        link = link.__cause__ or link.__context__
    return False


def redact_all(value: Any, secret: str | None = None) -> Any:
    """The same through every string of a JSON-shaped value."""
    if isinstance(value, str):
        return redact(value, secret)
    if isinstance(value, dict):
        return {redact(str(k), secret): redact_all(v, secret) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact_all(each, secret) for each in value]
    return value
