"""Reads what an error body tells, whatever its shape: JSON of many kinds, text, HTML, nothing."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..core.wire import Headers
from .jsonio import loads

_LONGEST_MESSAGE = 2_000  # characters: enough for a person, bounded for a log
_LONGEST_CODE = 100
_LONGEST_HTML = 65_536
_TITLE = re.compile(r"<title[^>]*>([^<]*)", re.IGNORECASE)
_TAG = re.compile(r"<[^>]*>")
_MESSAGES = ("message", "Message", "error", "detail", "msg", "error_description", "title")
_MARKS = ("reasons", "provider_name")  # of a broker's metadata
# Words in the ids of Google's quotas, as GenerateRequestsPerDayPerProjectPerModel-FreeTier.
_QUOTA_MARKS = {"PerDay": "per_day", "PerModel": "per_model"}


@dataclass(frozen=True, slots=True)
class Told:
    """``codes``: every code and type, the most telling first, lower case; ``code`` the first
    that is a word, else a number, as it was written. ``marks``: which telling fields are there.
    ``headers``: those that a broker passes on inside the body.
    """

    message: str = ""
    code: str | None = None
    codes: tuple[str, ...] = ()
    marks: frozenset[str] = frozenset()
    details: Any = None
    headers: Headers | None = None
    request_id: str | None = None
    body: Any = None

    def with_mark(self, mark: str) -> Told:
        return replace(self, marks=self.marks | {mark})

    def with_code(self, code: str) -> Told:
        """With ``code`` as the most telling one."""
        code = code[:_LONGEST_CODE]
        return replace(self, code=code, codes=(code.lower(), *self.codes))


def bare_code(name: str) -> str:
    """The error's own name in AWS's ``prefix#Name:where`` and plainer forms."""
    return name.partition(":")[0].rpartition("#")[2].strip()


def from_body(raw: bytes) -> Told:
    """What the bytes of an error body tell. Never raises."""
    try:
        return from_value(loads(raw))
    except ValueError:
        text = raw.decode("utf-8", "replace").strip()
        return Told(_readable(text), body=text[:_LONGEST_MESSAGE] or None)


def from_value(value: object) -> Told:
    """What a decoded error body tells: ``{"error": ...}``, the inner object alone, or text."""
    body = value
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        text = value if isinstance(value, str) else ""
        return Told(_readable(text), body=body)
    error = value.get("error")
    inner = error if isinstance(error, dict) else value
    codes = tuple(_codes(inner, value))
    metadata = _dict(inner.get("metadata"))
    return Told(
        message=_message(inner, value),
        code=next((code for code in codes if not code.isdecimal()), codes[0] if codes else None),
        codes=tuple(code.lower() for code in codes),
        marks=frozenset([mark for mark in _MARKS if metadata.get(mark)]) | _quota_marks(inner),
        details=inner.get("details"),
        headers=_headers(metadata.get("headers")),
        request_id=_text(value.get("request_id")) or None,
        body=body,
    )


def _codes(inner: dict[str, Any], outer: dict[str, Any]) -> Iterator[str]:
    details = inner.get("details")
    candidates = [
        _dict(details).get("error_code"),
        *(_dict(detail).get("reason") for detail in _list(details)),
        inner.get("code"),
        inner.get("type"),
        _dict(inner.get("innererror")).get("code"),
        inner.get("status"),
        outer.get("code"),
        bare_code(_text(outer.get("__type"))),
    ]
    for code in candidates:
        if isinstance(code, str) and code:
            yield code[:_LONGEST_CODE]
        elif type(code) is int and 0 <= code < 1_000_000:
            yield str(code)


def _quota_marks(inner: dict[str, Any]) -> frozenset[str]:
    """What the quotas are counted by that the details name."""
    ids = [
        _text(_dict(violation).get("quotaId"))
        for detail in _list(inner.get("details"))
        for violation in _list(_dict(detail).get("violations"))
    ]
    return frozenset(
        mark for word, mark in _QUOTA_MARKS.items() if any(word in quota for quota in ids)
    )


def _message(inner: dict[str, Any], outer: dict[str, Any]) -> str:
    for source in (inner, outer):
        for name in _MESSAGES:
            text = _said(source.get(name))
            if text:
                raw = _text(_dict(inner.get("metadata")).get("raw"))
                return _readable(f"{text}: {raw}" if raw else text)
    return ""


def _said(value: object) -> str:
    """A message, also from a validation error's list of ``{"loc": ..., "msg": ...}``."""
    if isinstance(value, list):
        return "; ".join(
            filter(None, (_said(item) for item in value[:5] if not isinstance(item, list)))
        )
    if isinstance(value, dict):
        return _text(value.get("msg")) or _text(value.get("message"))
    return _text(value)


def _readable(text: str) -> str:
    """One line or more of plain text: of HTML its title, else its words."""
    if text[:200].lstrip().startswith("<"):
        text = text[:_LONGEST_HTML]
        title = _TITLE.search(text)
        text = html.unescape(title[1] if title and title[1].strip() else _TAG.sub(" ", text))
        text = " ".join(text.split())
    return text.strip()[:_LONGEST_MESSAGE]


def _headers(value: object) -> Headers | None:
    if not isinstance(value, dict):
        return None
    return Headers(
        [
            (str(name).encode("latin-1", "replace"), str(text).encode("latin-1", "replace"))
            for name, text in value.items()
        ]
    )


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
