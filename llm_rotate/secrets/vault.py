"""``vault://PATH#FIELD``: HashiCorp Vault, with the path of its HTTP interface.

For a KV engine of version 2 that is ``secret/data/NAME``, for one of version 1 ``secret/NAME``.
Without a field, the only one that is there. Address and token are those of Vault's own command
line: VAULT_ADDR, VAULT_TOKEN or ``~/.vault-token``, VAULT_NAMESPACE, VAULT_CACERT.
"""

from __future__ import annotations

import os
from typing import Any

from .extras import TIMEOUT_SECONDS, needed, text_in
from .secret import SecretError


def read(rest: str) -> str:
    path, _, field = rest.partition("#")
    if not path:
        raise SecretError("vault:// names no path")
    source = f"vault://{path}"
    found = _found(path, source)
    if not field and len(found) != 1:
        raise SecretError(f"{source} has {len(found)} fields: say which, as in {source}#FIELD")
    return text_in(found, field or next(iter(found)), source)


def _found(path: str, source: str) -> dict[str, Any]:
    """The fields at ``path``; of KV version 2 those of the latest version."""
    hvac = needed("hvac", "vault")
    failures = needed("requests.exceptions", "vault").RequestException
    try:
        client = hvac.Client(namespace=os.environ.get("VAULT_NAMESPACE"), timeout=TIMEOUT_SECONDS)
        try:
            answer = client.read(path)
        finally:
            client.adapter.close()
    except hvac.exceptions.VaultError as error:
        reason = f"Vault answered {type(error).__name__}"
        raise SecretError(f"{source} cannot be read: {reason}") from error
    except failures as error:
        raise SecretError(f"{source} cannot be read: {type(error).__name__}") from error
    data = answer.get("data") if isinstance(answer, dict) else None
    if isinstance(data, dict) and isinstance(data.get("metadata"), dict):
        data = data.get("data")
    if not isinstance(data, dict):
        raise SecretError(f"{source} is not there")
    return data
