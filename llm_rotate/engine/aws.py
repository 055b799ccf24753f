"""AWS credentials: where a key's come from, and the signatures made with them.

botocore (the extra ``bedrock``) does the work, off the loop where it may block. A key's secret
is JSON here: the three arguments that boto3 takes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from typing import Any

from ..core.redact import redact
from ..core.wire import Endpoint, HttpRequest
from ..secrets import SecretError
from ..secrets.extras import kept_out_of_the_log

_SERVICE = "bedrock"
_STAMP = "%Y%m%dT%H%M%SZ"
_ROLE_SESSION = "llm-rotate"
# Seconds between two questions whether credentials that expire are still good. botocore fetches
# new ones from 15 minutes before they expire on.
ASKED_AGAIN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class AccessKey:
    """Credentials at one moment, as botocore's signer takes them."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(default="", repr=False)

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
        said["aws_access_key_id"], said["aws_secret_access_key"], said.get("aws_session_token", "")
    )


def session_token(secret: str) -> str:
    """The only part of the credentials that goes over the wire."""
    return _access_key(secret).token


class Source:
    """Where credentials that change by themselves come from, by a key's auth_config: ``given``
    ones; else a ``profile``; else what botocore finds in the environment, its files, the
    container or the machine. ``role_arn`` (with ``external_id``) is then assumed with them.
    """

    def __init__(self, auth: Mapping[str, Any], given: AccessKey | None) -> None:
        self._auth = auth
        self._given = given
        self._credentials: Any = None

    def read(self) -> AccessKey:
        """The credentials that are good now. Blocks: reads files, runs programs, asks services.

        Raises SecretError.
        """
        load()
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - an extra

        try:
            with kept_out_of_the_log():
                self._credentials = self._credentials or self._opened()
                found = self._credentials.get_frozen_credentials()
        except (BotoCoreError, ClientError) as error:
            reason = redact(str(error))
        except Exception as error:  # of programs and files that botocore asks: it may quote them
            reason = type(error).__name__
        else:
            return AccessKey(found.access_key, found.secret_key, found.token or "")
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
            else found_by.Credentials(given.access_key, given.secret_key, given.token or None)
        )
        if base is None:
            raise NoCredentialsError
        if "role_arn" not in self._auth:
            return base
        fetch = partial(_assumed, session, base, self._auth)
        return found_by.DeferredRefreshableCredentials(fetch, "assume-role")


def _assumed(session: Any, base: Any, auth: Mapping[str, Any]) -> dict[str, str]:
    """New credentials of the role, in botocore's words."""
    given = base.get_frozen_credentials()
    service = session.create_client(
        "sts",
        region_name=auth.get("region"),
        aws_access_key_id=given.access_key,
        aws_secret_access_key=given.secret_key,
        aws_session_token=given.token,
    )
    external = {"ExternalId": auth["external_id"]} if "external_id" in auth else {}
    try:
        said = service.assume_role(
            RoleArn=auth["role_arn"], RoleSessionName=_ROLE_SESSION, **external
        )["Credentials"]
    finally:
        service.close()
    return {
        "access_key": said["AccessKeyId"],
        "secret_key": said["SecretAccessKey"],
        "token": said["SessionToken"],
        "expiry_time": said["Expiration"].isoformat(),
    }


def is_lasting(auth: Mapping[str, Any]) -> bool:
    """Whether the credentials are given, and do not change by themselves."""
    return "access_key_id" in auth and "role_arn" not in auth


def is_loaded() -> bool:
    """Whether the signer can be used at once."""
    return "botocore.auth" in sys.modules


def load() -> None:
    """Imports the signer, which takes a tenth of a second. Raises SecretError."""
    try:
        import_module("botocore.auth")
    except ImportError:
        reason = "AWS credentials need botocore: pip install 'llm_rotate[bedrock]'"
        raise SecretError(reason) from None


def signer(secret: str, endpoint: Endpoint) -> Callable[[HttpRequest, float], HttpRequest]:
    """Signs requests with the credentials in ``secret``."""
    return partial(_signed, _access_key(secret), endpoint.auth_config["region"])


def _signed(access: AccessKey, region: str, request: HttpRequest, wall: float) -> HttpRequest:
    """``request`` with the headers of its signature, made at ``wall`` in epoch seconds.

    The steps of ``SigV4Auth.add_auth``, which would take the machine's clock, and write the
    session token into the log.
    """
    from botocore.auth import SigV4Auth  # noqa: PLC0415 - an extra
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415

    own = {"x-amz-date": datetime.fromtimestamp(wall, UTC).strftime(_STAMP)}
    if access.token:
        own["x-amz-security-token"] = access.token
    unsigned = AWSRequest(request.method, request.url, _signable(request) | own, request.body)
    unsigned.context["timestamp"] = own["x-amz-date"]
    signing = SigV4Auth(access, _SERVICE, region)
    said = signing.string_to_sign(unsigned, signing.canonical_request(unsigned))
    own["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={signing.scope(unsigned)}, "
        f"SignedHeaders={signing.signed_headers(signing.headers_to_sign(unsigned))}, "
        f"Signature={signing.signature(said, unsigned)}"
    )
    added = tuple((name.encode(), value.encode()) for name, value in own.items())
    return replace(request, headers=(*request.headers, *added))


def _signable(request: HttpRequest) -> dict[str, str]:
    """Those of its headers that AWS wants in the signature."""
    return {
        name.decode(): value.decode("latin-1")
        for name, value in request.headers
        if name == b"content-type" or name.startswith(b"x-amz")
    }
