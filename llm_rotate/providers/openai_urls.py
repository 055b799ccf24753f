"""Where an OpenAI-compatible service, or Azure, has each of its operations."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote

from ..core.wire import Endpoint

_DEPLOYMENT = "{deployment}"  # stands in the URL until the request names the model


def url_of(endpoint: Endpoint, path: str) -> str:
    """``path``: of the operation, such as "embeddings"."""
    base = endpoint.base_url.rstrip("/")
    if not endpoint.flags.get("azure"):
        return f"{base}/{path}"
    version = endpoint.flags.get("api_version")
    if version is None or version == "v1":
        return f"{base}/openai/v1/{path}"
    return (
        f"{base}/openai/deployments/{_DEPLOYMENT}/{path}?api-version={quote(str(version), safe='')}"
    )


@lru_cache(maxsize=256)
def for_model(url: str, model: str) -> str:
    """The URL with the model's name where Azure wants a deployment's."""
    return url.replace(_DEPLOYMENT, quote(model, safe=""))
