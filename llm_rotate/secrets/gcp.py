"""``gcp://PROJECT/NAME``, ``gcp://PROJECT/NAME/VERSION``, each with ``#FIELD``, or the full name
``gcp://projects/P/secrets/S/versions/V``: Google Cloud Secret Manager.

Over its REST interface, with google-auth's application default credentials:
https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/access
"""

from __future__ import annotations

import base64
from functools import cache
from typing import Any

from .extras import TIMEOUT_SECONDS, field_of, needed
from .secret import SecretError

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


def read(rest: str) -> str:
    name, _, field = rest.partition("#")
    source = f"gcp://{name}"
    errors = needed("google.auth.exceptions", "gcp")
    transport = needed("requests.exceptions", "gcp")
    try:
        answer = _get(_address(name))
    except errors.GoogleAuthError as error:
        _credentials.cache_clear()  # they may have been changed, too
        raise SecretError(f"{source} cannot be read: {_first_line(error)}") from error
    except (transport.RequestException, TimeoutError) as error:
        raise SecretError(f"{source} cannot be read: {type(error).__name__}") from error
    if answer.status_code != 200:
        raise SecretError(f"{source} cannot be read: Google answered {answer.status_code}")
    return field_of(_text(answer, source), field, source)


def _address(name: str) -> str:
    """A secret of one region is asked for at that region's host."""
    parts = name.split("/")
    if parts[0] != "projects":
        if not 2 <= len(parts) <= 3 or not all(parts):
            raise SecretError("gcp:// takes a project and a name: gcp://PROJECT/NAME")
        project, secret, version = (*parts, "latest")[:3]
        parts = ["projects", project, "secrets", secret, "versions", version]
    if "versions" not in parts:
        parts += ["versions", "latest"]
    region = parts[3] if parts[2:3] == ["locations"] else None
    host = f"secretmanager.{region}.rep" if region else "secretmanager"
    return f"https://{host}.googleapis.com/v1/{'/'.join(parts)}:access"


def _get(url: str) -> Any:
    requests = needed("google.auth.transport.requests", "gcp")
    with requests.AuthorizedSession(_credentials()) as session:
        return session.get(url, timeout=TIMEOUT_SECONDS, max_allowed_time=2 * TIMEOUT_SECONDS)


@cache
def _credentials() -> Any:
    """Kept, for their token serves an hour of reads."""
    found, _ = needed("google.auth", "gcp").default(scopes=_SCOPES)
    return found


def _text(answer: Any, source: str) -> str:
    try:
        return base64.b64decode(answer.json()["payload"]["data"], validate=True).decode()
    except (ValueError, KeyError, TypeError) as error:
        raise SecretError(f"{source} holds no text") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
