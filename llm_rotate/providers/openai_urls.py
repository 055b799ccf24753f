"""Where an OpenAI-compatible service, or Azure, has each of its operations.

What differs at Azure is in ``Endpoint.flags``:

- ``azure``: the paths are Azure's
- ``api_version``: a date for the paths of that version; "v1" or none for those without one
- ``deployments``, ``deployment``: a model's name -> its deployment; the one of all others
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import quote

from ..core.wire import Body, Carrier, Endpoint, HttpRequest, Ready, Request

_PATH, _OF_DEPLOYMENT = "{path}", "deployments/{deployment}/"  # filled in for each request
# At Azure's dated versions these belong to a deployment; the others name it in the body.
_DEPLOYED = frozenset({"chat/completions", "embeddings", "audio/transcriptions"})
_UNDATED = frozenset({"v1", "preview", "latest"})

R = TypeVar("R", bound=Request)


def template(endpoint: Endpoint) -> str:
    """A URL for all operations of the service: it still lacks the path."""
    if not endpoint.flags.get("azure"):
        return f"{endpoint.base_url.rstrip('/')}/{_PATH}"
    version = endpoint.flags.get("api_version") or "v1"
    query = "" if version == "v1" else f"?api-version={quote(str(version), safe='')}"
    base = f"{resource(endpoint)}/openai"
    return f"{base}/{'v1/' if is_undated(endpoint) else _OF_DEPLOYMENT}{_PATH}{query}"


def resource(endpoint: Endpoint) -> str:
    """The address of a resource of Azure, however much of its paths the configuration has."""
    return endpoint.base_url.rstrip("/").removesuffix("/v1").removesuffix("/openai")


def is_undated(endpoint: Endpoint) -> bool:
    """Whether Azure's paths are those of the version without a date."""
    return (endpoint.flags.get("api_version") or "v1") in _UNDATED


def post(carrier: Carrier, path: str, request: R, body: Body, ready: Ready) -> HttpRequest:
    """The request to ``path``, such as "embeddings", with this key, whose deployment may have
    a name of its own.
    """
    flags, model = ready.endpoint.flags, ""
    if flags.get("azure"):
        model = deployment(request.model, flags)
        if model != request.model:
            body = carrier.encode(replace(request, model=model), ready.endpoint)
    return HttpRequest("POST", url_of(ready, path, model), ready.headers, body, request.stream)


def url_of(ready: Ready, path: str, model: str = "") -> str:
    """Where ``path`` is; ``model``: its deployment, at Azure."""
    return _filled(ready.url, path, model)


def deployment(model: str, flags: Mapping[str, Any]) -> str:
    """The name that the key's resource has for ``model``: without a word on it, the same."""
    named = flags.get("deployments", {}).get(model) or flags.get("deployment")
    return str(named or model)


@lru_cache(maxsize=512)
def _filled(url: str, path: str, model: str) -> str:
    if path not in _DEPLOYED:
        url = url.replace(_OF_DEPLOYMENT, "")
    return url.replace("{deployment}", quote(model, safe="")).replace(_PATH, path)
