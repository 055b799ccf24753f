"""Which provider, wire format and key a request means: read from its path and headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# A path's end -> the wire format, and the provider meant where the path names none.
_ENDS: Mapping[str, tuple[str, str]] = {
    "/chat/completions": ("openai", "openai"),
    "/embeddings": ("openai embeddings", "openai"),
    "/messages": ("anthropic", "anthropic"),
    ":generateContent": ("gemini", "google_ai_studio"),
    ":streamGenerateContent": ("gemini", "google_ai_studio"),
}
_DIALECTS: Mapping[str, str] = {
    "anthropic": "anthropic",
    "google_ai_studio": "gemini",
    "google_vertex": "gemini",
}
# What the base URL of a provider has below the provider's own folder; others have /v1.
_TAILS: Mapping[str, str] = {
    "openrouter": "/api/v1",
    "anthropic": "",
    "azure_openai": "",
    "google_ai_studio": "",
    "google_vertex": "",
}
_SECRET_HEADERS = ("authorization", "api-key", "x-api-key", "x-goog-api-key")
_VERSIONS = ("v1", "v1beta", "v1beta1")


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes. ``deployment`` is the model where the path names it, else "";
    ``stream``: the path says that the answer is to be streamed.
    """

    dialect: str
    provider: str
    deployment: str = ""
    stream: bool = False


def dialect_of(provider: str) -> str:
    """The wire format that the simulator speaks as ``provider``."""
    return _DIALECTS.get(provider, "openai")


def base_path(provider: str) -> str:
    """The path of a provider's base URL on the simulator."""
    return f"/{provider}{_TAILS.get(provider, '/v1')}"


def find_route(path: str) -> Route | None:
    """``/{provider}/...`` with the provider's own path below it; the folder may be left out."""
    path = path.partition("?")[0]
    for end, (dialect, provider) in _ENDS.items():
        if path.endswith(end):
            folders = path.removesuffix(end).strip("/").split("/")
            if dialect == "gemini":
                return _gemini_route(folders, stream=end == ":streamGenerateContent")
            return _route(dialect, provider, folders)
    return None


def _route(dialect: str, provider: str, folders: list[str]) -> Route:
    deployment = ""
    if "deployments" in folders[:-1]:
        deployment = folders[folders.index("deployments") + 1]
    if folders[:2] == ["openai", "deployments"]:
        provider = "azure_openai"
    elif folders[0] not in {"", "v1", "api"}:
        provider = folders[0]
    return Route(dialect, provider, deployment)


def _gemini_route(folders: list[str], *, stream: bool) -> Route:
    """``v1beta/models/M``, or below a Vertex project ``v1/projects/P/.../models/M``."""
    own = folders[0] if folders[0] not in {*_VERSIONS, "models", "projects"} else ""
    provider = own or ("google_vertex" if "projects" in folders else "google_ai_studio")
    return Route("gemini", provider, folders[-1], stream)


def secret_in(headers: Mapping[str, str]) -> str:
    """The secret that a request carries, "" for none."""
    value = next((headers[name] for name in _SECRET_HEADERS if name in headers), "")
    return value.removeprefix("Bearer ").strip()


def without_secrets(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that may be kept."""
    return {name: value for name, value in headers.items() if name not in _SECRET_HEADERS}
