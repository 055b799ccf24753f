"""Which provider, wire format and key a request means: read from its path and headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# A path's end -> the wire format, and the provider meant where the path names none.
_ENDS: Mapping[str, tuple[str, str]] = {
    "/chat/completions": ("openai", "openai"),
    "/embeddings": ("openai embeddings", "openai"),
    "/audio/transcriptions": ("openai transcriptions", "openai"),
    "/messages": ("anthropic", "anthropic"),
}
# What the base URL of a provider has below the provider's own folder; others have /v1.
_TAILS: Mapping[str, str] = {"openrouter": "/api/v1", "anthropic": "", "azure_openai": ""}
_SECRET_HEADERS = ("authorization", "api-key", "x-api-key")


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes. ``deployment`` is Azure's name of the model, "" elsewhere."""

    dialect: str
    provider: str
    deployment: str = ""


def dialect_of(provider: str) -> str:
    """The wire format that the simulator speaks as ``provider``."""
    return "anthropic" if provider == "anthropic" else "openai"


def base_path(provider: str) -> str:
    """The path of a provider's base URL on the simulator."""
    return f"/{provider}{_TAILS.get(provider, '/v1')}"


def find_route(path: str) -> Route | None:
    """``/{provider}/...`` with the provider's own path below it; the folder may be left out."""
    path = path.partition("?")[0]
    for end, (dialect, provider) in _ENDS.items():
        if path.endswith(end):
            folders = path.removesuffix(end).strip("/").split("/")
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


def secret_in(headers: Mapping[str, str]) -> str:
    """The secret that a request carries, "" for none."""
    value = next((headers[name] for name in _SECRET_HEADERS if name in headers), "")
    return value.removeprefix("Bearer ").strip()


def without_secrets(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that may be kept."""
    return {name: value for name, value in headers.items() if name not in _SECRET_HEADERS}
