"""Reads the body of a form with a file in it (RFC 7578)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_NAMES = re.compile(r'\b(name|filename)="([^"]*)"')
_BOUNDARY = re.compile(r'boundary="?([^";]+)')


def form_of(headers: Mapping[str, str], raw: bytes) -> dict[str, Any] | None:
    """Fields by name, one of several as a list; a file as its ``filename`` and ``size`` in
    bytes. None if it is no form.
    """
    kind = headers.get("content-type", "")
    mark = _BOUNDARY.search(kind)
    if not kind.startswith("multipart/form-data") or mark is None:
        return None
    found: dict[str, Any] = {}
    for part in (b"\r\n" + raw).split(b"\r\n--" + mark[1].encode())[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        named = dict(_NAMES.findall(head.decode("utf-8", "replace")))
        _put(found, named, content)
    return found


def _put(found: dict[str, Any], named: Mapping[str, str], content: bytes) -> None:
    name = named.get("name", "")
    if "filename" in named:
        found[name] = {"filename": named["filename"], "size": len(content)}
    elif name.endswith("[]"):
        found.setdefault(name.removesuffix("[]"), []).append(content.decode("utf-8", "replace"))
    else:
        found[name] = content.decode("utf-8", "replace")
