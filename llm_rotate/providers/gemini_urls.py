"""Where Gemini has the operations that are sent without an SDK, at AI Studio and at Vertex."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote

from ..core.wire import Endpoint
from .parts import cannot

_VERSIONED = re.compile(r"(.*)/(v\d\w*)")
_GLOBAL = re.compile(r"https://global-(aiplatform\.googleapis\.com)")  # there is no such host


def is_vertex(endpoint: Endpoint) -> bool:
    """Its keys are tokens, and its paths name a project."""
    return endpoint.auth == "google"


def url_of(endpoint: Endpoint, model: str, verb: str) -> str:
    """``verb``: of the model, such as "generateContent". Raises CapabilityError where neither
    the configuration nor the credentials say whose project it is.
    """
    if not is_vertex(endpoint):
        version = endpoint.flags.get("api_version", "v1beta")
        return f"{_versioned(endpoint.base_url, version)}/{named(model)}:{verb}"
    place = _versioned(root(endpoint), endpoint.flags.get("api_version", "v1"))
    return f"{place}/{_folder(endpoint)}/{quote(model, safe='')}:{verb}"


def root(endpoint: Endpoint) -> str:
    """The address, with the name that the host of all regions has."""
    return _GLOBAL.sub(r"https://\1", endpoint.base_url)


def split_version(endpoint: Endpoint) -> tuple[str, str | None]:
    """(address, version) of an API whose version may stand in the address."""
    base = root(endpoint)
    found = _VERSIONED.fullmatch(base.rstrip("/"))
    return (found[1], found[2]) if found else (base, endpoint.flags.get("api_version"))


def named(model: str) -> str:
    """A model as a path names it; tuned ones have a folder of their own."""
    return quote(model if "/" in model else f"models/{model}")


def _folder(endpoint: Endpoint) -> str:
    project, region = (endpoint.auth_config.get(name) for name in ("project", "region"))
    if not project:
        cannot(endpoint.provider, "this without auth_config.project")
    place = f"projects/{quote(str(project))}/locations/{quote(str(region or 'global'))}"
    return f"{place}/publishers/google/models"


@lru_cache(maxsize=256)
def _versioned(base: str, version: str) -> str:
    base = base.rstrip("/")
    return base if _VERSIONED.fullmatch(base) else f"{base}/{version}"
