"""Access tokens as Google's token endpoint gives them for a service account's assertion."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from .exchange import SimRequest

_END = "/token"
_LIFE_SECONDS = 3600


def token_for(request: SimRequest, issue: Callable[[str], str]) -> dict[str, Any] | None:
    """The token's JSON; None if the request asks for none. The account ``k1@...`` gets what
    ``issue`` gives for key id ``k1``. Signatures are not checked.
    """
    if not request.path.partition("?")[0].endswith(_END):
        return None
    form = parse_qs(request.body.decode("utf-8", "replace"))
    account = _issuer(form.get("assertion", [""])[0])
    if account is None:
        return {"error": "invalid_grant", "error_description": "Invalid JWT."}
    token = issue(account.partition("@")[0])
    return {"access_token": token, "expires_in": _LIFE_SECONDS, "token_type": "Bearer"}


def _issuer(assertion: str) -> str | None:
    parts = assertion.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return None
    found = claims.get("iss") if isinstance(claims, dict) else None
    return found if isinstance(found, str) else None
