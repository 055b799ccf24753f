"""``aws://NAME``, ``aws://ARN``, ``aws://NAME#FIELD``: AWS Secrets Manager.

Credentials and region are those of the AWS chain (environment, profile, role); an ARN brings
its own region.
"""

from __future__ import annotations

import os
import threading
from functools import lru_cache
from typing import Any

from .extras import TIMEOUT_SECONDS, field_of, kept_out_of_the_log, needed
from .secret import SecretError

_MAKING = threading.Lock()  # making clients is not thread-safe, using them is


def read(rest: str) -> str:
    name, _, field = rest.partition("#")
    if not name:
        raise SecretError("aws:// names no secret")
    source = f"aws://{name}"
    errors = needed("botocore.exceptions", "aws")
    try:
        with kept_out_of_the_log():
            with _MAKING:
                client = _client(_region_of(name), os.getpid())
            answer = client.get_secret_value(SecretId=name)
    except errors.ClientError as error:
        _client.cache_clear()  # the credentials that it asks with may have been changed, too
        code = error.response.get("Error", {}).get("Code", "no code")
        raise SecretError(f"{source} cannot be read: AWS answered {code}") from error
    except errors.BotoCoreError as error:
        raise SecretError(f"{source} cannot be read: {error}") from error
    text = answer.get("SecretString")
    if not isinstance(text, str):
        raise SecretError(f"{source} holds bytes, not text")
    return field_of(text, field, source)


def _region_of(name: str) -> str | None:
    """arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME"""
    return name.split(":")[3] if name.startswith("arn:") and name.count(":") > 5 else None


@lru_cache(maxsize=16)
def _client(region: str | None, process: int) -> Any:
    """One per region and process: its connections must not be shared with a fork."""
    del process
    session = needed("botocore.session", "aws").get_session()
    config = needed("botocore.config", "aws").Config(
        connect_timeout=TIMEOUT_SECONDS,
        read_timeout=TIMEOUT_SECONDS,
        retries={"mode": "standard", "total_max_attempts": 2},
    )
    return session.create_client("secretsmanager", region_name=region, config=config)
