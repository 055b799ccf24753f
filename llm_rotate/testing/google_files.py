"""Files of the simulated AI Studio: sent in two steps, readable with the key that sent them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from .exchange import SimRequest
from .script import Plan, Refusal
from .wire import Call

_ROOM = "/upload/"
_NO_ACCESS = "You do not have permission to access the File {name} or it may not exist."


class GoogleFiles:
    """``owners``: the key id that sent each file, by its uri; ``kinds``: their mime types."""

    def __init__(self) -> None:
        self.owners: dict[str, str] = {}
        self.kinds: dict[str, str] = {}

    def answer(self, request: SimRequest, key: str, call: Call) -> Plan | None:
        """What an upload gets; None for a request that is none."""
        path = request.path.partition("?")[0]
        if _ROOM not in path:
            return None
        base = f"http://{request.headers.get('host', 'simulator.invalid')}"
        plan = Plan()
        if "finalize" not in request.headers.get("x-goog-upload-command", ""):
            started = call.id("", 12)
            uri = f"{base}/v1beta/files/{started}"
            self.owners[uri] = key  # the pieces come without it
            self.kinds[uri] = request.headers.get("x-goog-upload-header-content-type", "")
            plan.headers = {"x-goog-upload-url": f"{base}{path}/{started}"}
            plan.body = "{}"
            return plan
        name = f"files/{path.rpartition('/')[2]}"
        uri = f"{base}/v1beta/{name}"
        told = {"name": name, "uri": uri, "state": "ACTIVE", "mimeType": self.kinds.get(uri, "")}
        told["sizeBytes"] = str(len(request.body))  # of the last piece
        plan.headers = {"x-goog-upload-status": "final"}
        plan.body = json.dumps({"file": told})
        return plan

    def refusal(self, body: Mapping[str, Any], key: str) -> Refusal | None:
        """What a request gets that names a file of another key."""
        for uri in _uris(body.get("contents")):
            if self.owners.get(uri, key) != key:
                name = _NO_ACCESS.format(name=uri.rpartition("/")[2])
                error = {"code": 403, "message": name, "status": "PERMISSION_DENIED"}
                return Refusal("status", status=403, body={"error": error})
        return None


def _uris(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _uris(item)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            if name in {"fileUri", "file_uri"} and isinstance(item, str):
                yield item
            yield from _uris(item)
