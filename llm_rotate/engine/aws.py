"""AWS credentials: where a key's come from, and the signatures made with them.

botocore (the extra ``bedrock``) does the work, off the loop where it may block. A key's secret
is JSON here: the three arguments that boto3 takes.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from typing import Any

from ..core.redact import redact
from ..core.wire import Endpoint, HttpRequest
from ..secrets import SecretError, scheme_of
from .joined import Joined

_SERVICE = "bedrock"
_STAMP = "%Y%m%dT%H%M%SZ"
_ROLE_SESSION = "llm-rotate"
# Seconds between two questions whether credentials that expire are still good. botocore fetches
# new ones from 15 minutes before they expire on.
_ASKED_AGAIN_S = 60.0

LookUp = Callable[[str], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class AccessKey:
    """Credentials at one moment, as botocore's signer takes them."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)

    def written(self) -> str:
        """As JSON."""
        token = {"aws_session_token": self.token} if self.token else {}
        return json.dumps(
            {
                "aws_access_key_id": self.access_key,
                "aws_secret_access_key": self.secret_key,
                **token,
            }
        )


def _access_key(secret: str) -> AccessKey:
    said = json.loads(secret)
    return AccessKey(
        said["aws_access_key_id"], said["aws_secret_access_key"], said.get("aws_session_token")
    )


def session_token(secret: str) -> str | None:
    """The only part of the credentials that goes over the wire."""
    return _access_key(secret).token


class AwsSource:
    """Where one key's credentials come from, by its auth_config.

    ``access_key_id`` (with the secret access key behind secret_ref, and a ``session_token`` by
    reference); else ``profile``; else what botocore finds in the environment, its files, the
    container or the machine. ``role_arn`` (with ``external_id``) is then assumed with them.
    """

    def __init__(self, endpoint: Endpoint, secret_ref: str, look_up: LookUp) -> None:
        self._auth = endpoint.auth_config
        self._secret_ref = secret_ref
        self._look_up = look_up
        self._credentials: Any = None
        self._lock = threading.Lock()
        self._given: AccessKey | None = None
        self._joined = Joined(self._fetch)

    @property
    def _is_static(self) -> bool:
        return "access_key_id" in self._auth and "role_arn" not in self._auth

    async def read(self) -> str:
        """The credentials that are good now. Raises SecretError."""
        if "access_key_id" in self._auth:
            self._given = await self._read_given()
            if self._is_static:
                return self._given.written()
        return (await self._joined()).written()

    def until(self, wall: float) -> float:
        """When to read again, in epoch seconds like ``wall``."""
        return math.inf if self._is_static else wall + _ASKED_AGAIN_S

    async def _read_given(self) -> AccessKey:
        token = self._auth.get("session_token")
        return AccessKey(
            await self._resolved(self._auth["access_key_id"]),
            await self._look_up(self._secret_ref),
            await self._resolved(token) if token else None,
        )

    async def _resolved(self, value: str) -> str:
        """What ``value`` refers to, or the value itself."""
        return await self._look_up(value) if scheme_of(value) else value

    def _fetch(self) -> AccessKey:
        """Blocks: reads files, runs programs, asks services."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - an extra

        try:
            with self._lock:
                self._credentials = self._credentials or self._opened()
            found = self._credentials.get_frozen_credentials()
        except (BotoCoreError, ClientError) as error:
            reason = redact(str(error))
        else:
            return AccessKey(found.access_key, found.secret_key, found.token)
        raise SecretError(f"AWS gave no credentials: {reason}")

    def _opened(self) -> Any:
        import botocore.session  # noqa: PLC0415 - an extra
        from botocore import credentials as found_by  # noqa: PLC0415
        from botocore.exceptions import NoCredentialsError  # noqa: PLC0415

        session = botocore.session.Session(profile=self._auth.get("profile"))
        given = self._given
        base = (
            session.get_credentials()
            if given is None
            else found_by.Credentials(given.access_key, given.secret_key, given.token)
        )
        if base is None:
            raise NoCredentialsError
        if "role_arn" not in self._auth:
            return base
        role = found_by.AssumeRoleCredentialFetcher(
            partial(session.create_client, region_name=self._auth.get("region")),
            base,
            self._auth["role_arn"],
            extra_args=_role_arguments(self._auth),
        )
        return found_by.DeferredRefreshableCredentials(role.fetch_credentials, "assume-role")


def _role_arguments(auth: Mapping[str, Any]) -> dict[str, str]:
    external = {"ExternalId": auth["external_id"]} if "external_id" in auth else {}
    return {"RoleSessionName": _ROLE_SESSION, **external}


async def signer(secret: str, endpoint: Endpoint) -> Callable[[HttpRequest, float], HttpRequest]:
    """Signs requests with the credentials in ``secret``."""
    if "botocore.auth" not in sys.modules:
        await asyncio.to_thread(import_module, "botocore.auth")  # takes a tenth of a second
    return partial(_signed, _access_key(secret), endpoint.auth_config["region"])


def _signed(access: AccessKey, region: str, request: HttpRequest, wall: float) -> HttpRequest:
    """``request`` with the headers of its signature, made at ``wall`` in epoch seconds.

    The steps of ``SigV4Auth.add_auth``, which would take the machine's clock, and write the
    session token into the log.
    """
    from botocore.auth import SigV4Auth  # noqa: PLC0415 - an extra
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415

    headers = {"Content-Type": "application/json"}
    headers["X-Amz-Date"] = datetime.fromtimestamp(wall, UTC).strftime(_STAMP)
    if access.token:
        headers["X-Amz-Security-Token"] = access.token
    unsigned = AWSRequest(request.method, request.url, headers, request.body)
    unsigned.context["timestamp"] = headers["X-Amz-Date"]
    signing = SigV4Auth(access, _SERVICE, region)
    said = signing.string_to_sign(unsigned, signing.canonical_request(unsigned))
    headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={signing.scope(unsigned)}, "
        f"SignedHeaders={signing.signed_headers(signing.headers_to_sign(unsigned))}, "
        f"Signature={signing.signature(said, unsigned)}"
    )
    del headers["Content-Type"]  # signed as it stands in the request
    own = tuple((name.lower().encode(), value.encode()) for name, value in headers.items())
    return replace(request, headers=(*request.headers, *own))
