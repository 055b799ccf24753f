"""Which provider, wire format and key a request means: read from its path and headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import unquote

# A path's end -> the wire format, and the provider meant where the path names none.
_ENDS: Mapping[str, tuple[str, str]] = {
    "/chat/completions": ("openai", "openai"),
    "/embeddings": ("openai embeddings", "openai"),
    "/audio/transcriptions": ("openai transcriptions", "openai"),
    "/messages": ("anthropic", "anthropic"),
    "/converse": ("bedrock", "aws_bedrock"),
    "/converse-stream": ("bedrock", "aws_bedrock"),
}
_STREAMS = frozenset({"/converse-stream"})
# The folder behind which a model's name stands.
_BEFORE_MODELS = ("deployments", "model")
# What the base URL of a provider has below the provider's own folder; others have /v1.
_TAILS: Mapping[str, str] = {
    "openrouter": "/api/v1",
    "anthropic": "",
    "azure_openai": "",
    "aws_bedrock": "",
}
_DIALECTS: Mapping[str, str] = {"anthropic": "anthropic", "aws_bedrock": "bedrock"}
_SECRET_HEADERS = ("authorization", "api-key", "x-api-key")
_KEPT_OUT = (*_SECRET_HEADERS, "x-amz-security-token")


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes. ``model`` and ``stream``: what its path says of them, "" and False
    where the body does.
    """

    dialect: str
    provider: str
    model: str = ""
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
            return replace(_route(dialect, provider, folders), stream=end in _STREAMS)
    return None


def _route(dialect: str, provider: str, folders: list[str]) -> Route:
    if folders[:2] == ["openai", "deployments"]:
        provider = "azure_openai"
    elif folders[0] not in {"", "v1", "api", "model"}:
        provider = folders[0]
    named = next((folder for folder in _BEFORE_MODELS if folder in folders[:-1]), None)
    model = unquote(folders[folders.index(named) + 1]) if named else ""
    return Route(dialect, provider, model)


def secret_in(headers: Mapping[str, str]) -> str:
    """The secret that a request carries, "" for none."""
    value = next((headers[name] for name in _SECRET_HEADERS if name in headers), "")
    return value.removeprefix("Bearer ").strip()


def without_secrets(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that may be kept."""
    return {name: value for name, value in headers.items() if name not in _KEPT_OUT}
