"""Checks AWS signatures by making them once more, with botocore's own signer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from hmac import compare_digest

from .exchange import SimRequest

ACCESS_KEY_PREFIX = "AKIASIM-"  # what the access key ids of simulated keys begin with
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<day>\d{8})/(?P<region>[^/]+)/"
    r"(?P<service>[^/]+)/aws4_request, ?SignedHeaders=(?P<headers>[^,]+), ?Signature=(?P<sum>\w+)"
)
_STAMP = "%Y%m%dT%H%M%SZ"
_MOST_SKEW = 300  # seconds
_MUST_BE_SIGNED = frozenset({"host", "x-amz-date"})


def access_key_in(headers: Mapping[str, str]) -> str:
    """The access key id of a signed request, "" if it is not signed."""
    said = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    return said["key"] if said else ""


def wrong_signature(request: SimRequest, secret: str, wall: float) -> str | None:
    """What AWS would refuse a signed request for, or None. ``wall``: epoch seconds."""
    from botocore.auth import SigV4Auth  # noqa: PLC0415 - an extra, for signed requests only
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415
    from botocore.credentials import Credentials  # noqa: PLC0415

    said = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    stamp = request.headers.get("x-amz-date", "")
    if said is None or not _is_near(stamp, wall):
        return f"Signature expired or not yet current: {stamp}"
    names = said["headers"].split(";")
    if not set(names) >= _MUST_BE_SIGNED or said["service"] != "bedrock":
        return "Credential should be scoped to correct service: 'bedrock'."
    if "x-amz-security-token" in request.headers and "x-amz-security-token" not in names:
        return "The session token is not signed."
    signed = {name: request.headers.get(name, "") for name in names}
    url = f"http://{request.headers.get('host', '')}{request.path}"
    again = AWSRequest(request.method, url, signed, request.body)
    again.context["timestamp"] = stamp
    signer = SigV4Auth(Credentials(said["key"], secret), said["service"], said["region"])
    due = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)
    if compare_digest(due, said["sum"]):
        return None
    return "The request signature we calculated does not match the signature you provided."


def _is_near(stamp: str, wall: float) -> bool:
    try:
        at = datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return False
    return abs(at - wall) <= _MOST_SKEW
