"""``keyring://SERVICE/NAME``: an entry of the system's keyring."""

from __future__ import annotations

from .extras import needed
from .secret import SecretError


def read(rest: str) -> str:
    service, _, name = rest.rpartition("/")
    if not (service and name):
        raise SecretError("keyring:// takes a service and a name: keyring://SERVICE/NAME")
    keyring, errors = needed("keyring", "keyring"), needed("keyring.errors", "keyring")
    try:
        found: str | None = keyring.get_password(service, name)
    except errors.KeyringError as error:
        raise SecretError(f"the keyring cannot be read: {error or type(error).__name__}") from error
    if found is None:
        raise SecretError(f"the keyring has no {name!r} of {service!r}")
    return found
