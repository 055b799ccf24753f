"""Headers of a single call: ``extra_headers=`` among its keywords, or a chain entry's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..config.checks import header_fields
from ..core.wire import HttpRequest, Request
from ..errors import ConfigurationError

KEYWORD = "extra_headers"
Pairs = tuple[tuple[bytes, bytes], ...]
# The pool writes these itself: who is asked, with which key, and where the body ends.
OURS = frozenset(
    {
        "authorization",
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "x-amz-date",
        "x-amz-security-token",
        "host",
        "content-type",
        "content-length",
        "transfer-encoding",
    }
)


def check_headers(options: Mapping[str, Any]) -> None:
    """Raises ConfigurationError if the keyword among them says what no request can carry."""
    _pairs(options.get(KEYWORD) or {})


def without_headers(asked: Request) -> tuple[Request, Pairs]:
    """The request without the keyword, and what it said. Raises ConfigurationError."""
    options = dict(asked.options)
    given: Any = options.pop(KEYWORD)
    return replace(asked, options=options), _pairs(given or {})


def _pairs(given: Any) -> Pairs:
    try:
        found = {name.lower(): value for name, value in header_fields(given).items()}
    except ValueError as error:
        raise ConfigurationError(f"{KEYWORD}: {error}") from None
    if own := OURS & found.keys():
        raise ConfigurationError(f"{KEYWORD}: the pool itself writes {', '.join(sorted(own))}")
    return tuple((name.encode(), value.encode("latin-1")) for name, value in found.items())


def with_headers(request: HttpRequest, extra: Pairs) -> HttpRequest:
    """The request with these too; one of the same name is replaced."""
    named: Mapping[bytes, bytes] = dict(extra)
    kept = tuple(pair for pair in request.headers if pair[0].lower() not in named)
    return replace(request, headers=(*kept, *extra))
