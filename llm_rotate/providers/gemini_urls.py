"""Where Gemini has the operations that are sent without an SDK."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote

from ..core.wire import Endpoint

_VERSIONED = re.compile(r".*/v\d\w*")
_VERSION = "v1beta"


def url_of(endpoint: Endpoint, model: str, verb: str) -> str:
    """``verb``: of the model, such as "generateContent"."""
    return _url(endpoint.base_url, endpoint.flags.get("api_version", _VERSION), model, verb)


@lru_cache(maxsize=256)
def _url(base: str, version: str, model: str, verb: str) -> str:
    base = base.rstrip("/")
    if not _VERSIONED.fullmatch(base):
        base = f"{base}/{version}"
    return f"{base}/{named(model)}:{verb}"


def named(model: str) -> str:
    """A model as a path names it; tuned ones have a folder of their own."""
    return quote(model if "/" in model else f"models/{model}")
