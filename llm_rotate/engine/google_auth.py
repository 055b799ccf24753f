"""Google's access tokens: from a service account, or what the machine has.

google-auth (which the extra ``google`` brings) does the work, off the loop: it reads files and
asks services.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

from ..core.redact import redact
from ..secrets import SecretError

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
# Tokens live an hour. One is renewed this long before its end, so that no request is under way
# with it when it ends.
RENEWED_BEFORE = timedelta(minutes=5)


# google-auth's classes whose words are shown, and the fields of accounts that never are.
_TOLD = frozenset({"DefaultCredentialsError", "RefreshError", "TransportError"})
_PRIVATE = ("private_key", "client_secret", "refresh_token")


@dataclass(frozen=True, slots=True)
class Token:
    """``until``: when to ask again, in seconds since the epoch. ``project``: the one that the
    credentials belong to; ``quota_project``: the one that is billed, if they name another.
    """

    value: str = field(repr=False)
    until: float
    project: str | None = None
    quota_project: str | None = None


class Source:
    """Where a key's tokens come from: ``secret``, the JSON of a service account or of a user's
    own credentials; None for application default credentials.
    """

    def __init__(self, secret: str | None) -> None:
        self._secret = secret
        self._lock = threading.Lock()
        self._credentials: Any = None
        self._project: str | None = None

    def read(self) -> Token:
        """A token that is good for minutes. Blocks. Raises SecretError."""
        try:
            with self._lock:
                return self._read()
        except SecretError:
            raise
        except ModuleNotFoundError as error:
            reason = f"needs {error.name}: pip install 'llm_rotate[google]'"
        except Exception as error:  # whatever google-auth makes of an account of odd types
            reason = f"gave no token: {self._words(error)}"
        raise SecretError(f"Google {reason}")

    def _words(self, error: Exception) -> str:
        """Those that speak of the service. Others may quote a private key, as an answer may
        quote what it was asked with.
        """
        if not _TOLD & {cls.__name__ for cls in type(error).__mro__}:
            return type(error).__name__
        words = redact(str(error.args[0] if error.args else error), self._secret)
        if self._secret is not None:
            for name in _PRIVATE:
                words = redact(words, str(_object(self._secret).get(name)))
        return words

    def _read(self) -> Token:
        from google.auth.transport.requests import Request  # noqa: PLC0415 - an extra

        if self._credentials is None:
            self._credentials, self._project = self._opened()
        credentials = self._credentials
        if not credentials.token or _until(credentials) <= datetime.now(UTC):
            credentials.refresh(Request())
        quota = getattr(credentials, "quota_project_id", None)
        return Token(credentials.token, _until(credentials).timestamp(), self._project, quota)

    def _opened(self) -> tuple[Any, str | None]:
        import google.auth  # noqa: PLC0415 - an extra

        if self._secret is None:
            return google.auth.default(scopes=_SCOPES)
        return _given(_object(self._secret))


def is_json(secret: str) -> bool:
    """Credentials in a file's form; else it is an API key."""
    return secret.lstrip().startswith("{")


def _given(said: Mapping[str, Any]) -> tuple[Any, str | None]:
    kind = _KINDS.get(str(said.get("type")))
    if kind is None:
        raise SecretError(
            "the secret is no service account's JSON: its type is not service_account"
        )
    module, read = kind
    found = getattr(import_module(module).Credentials, read)(said, scopes=_SCOPES)
    return found, said.get("project_id")


# What the JSON calls itself -> who reads it.
_KINDS = {
    "service_account": ("google.oauth2.service_account", "from_service_account_info"),
    "authorized_user": ("google.oauth2.credentials", "from_authorized_user_info"),
}


def _object(secret: str) -> Mapping[str, Any]:
    try:
        said = json.loads(secret)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise SecretError("the secret is not the JSON of a service account")
    return said


def _until(credentials: Any) -> datetime:
    """google-auth keeps times in UTC without saying so."""
    expiry: datetime | None = credentials.expiry
    if expiry is None:
        return datetime.now(UTC) + timedelta(hours=1)
    return expiry.replace(tzinfo=UTC) - RENEWED_BEFORE
