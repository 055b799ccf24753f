"""Which provider, wire format and key a request means: read from its path and headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import unquote

# A path's end -> the wire format, and the provider meant where the path names none.
_ENDS: Mapping[str, tuple[str, str]] = {
    "/chat/completions": ("openai", "openai"),
    "/responses": ("openai_responses", "openai"),
    "/embeddings": ("openai embeddings", "openai"),
    "/audio/transcriptions": ("openai transcriptions", "openai"),
    "/messages": ("anthropic", "anthropic"),
    ":batchEmbedContents": ("gemini embeddings", "google_ai_studio"),
    ":predict": ("gemini embeddings", "google_vertex"),
    ":generateContent": ("gemini", "google_ai_studio"),
    ":streamGenerateContent": ("gemini", "google_ai_studio"),
    "/converse": ("bedrock", "aws_bedrock"),
    "/invoke": ("bedrock embeddings", "aws_bedrock"),
    "/converse-stream": ("bedrock", "aws_bedrock"),
}
_STREAMS = frozenset({"/converse-stream", ":streamGenerateContent"})
# The folder behind which a model's name stands.
_BEFORE_MODELS = ("deployments", "model", "models")
_VERSIONS = ("v1", "v1beta", "v1beta1")
# What the base URL of a provider has below the provider's own folder; others have /v1.
_TAILS: Mapping[str, str] = {
    "openrouter": "/api/v1",
    "anthropic": "",
    "azure_openai": "",
    "google_ai_studio": "",
    "google_vertex": "",
    "aws_bedrock": "",
}
_DIALECTS: Mapping[str, str] = {
    "anthropic": "anthropic",
    "aws_bedrock": "bedrock",
    "google_ai_studio": "gemini",
    "google_vertex": "gemini",
    "openai_responses": "openai_responses",
}
_SECRET_HEADERS = ("authorization", "api-key", "x-api-key", "x-goog-api-key")
_KEPT_OUT = (*_SECRET_HEADERS, "x-amz-security-token")


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes. ``model`` and ``stream``: what its path says of them, "" and False
    where the body does. ``answer_id``: the kept answer that is asked for, "" for a new one.
    """

    dialect: str
    provider: str
    model: str = ""
    stream: bool = False
    answer_id: str = ""


def dialect_of(provider: str) -> str:
    """The wire format that the simulator speaks as ``provider``."""
    return _DIALECTS.get(provider, "openai")


def base_path(provider: str) -> str:
    """The path of a provider's base URL on the simulator."""
    return f"/{provider}{_TAILS.get(provider, '/v1')}"


def find_route(path: str) -> Route | None:
    """``/{provider}/...`` with the provider's own path below it; the folder may be left out."""
    path, _, query = path.partition("?")
    path, answer_id = _without_answer(path)
    for end, (dialect, provider) in _ENDS.items():
        if path.endswith(end):
            folders = path.removesuffix(end).strip("/").split("/")
            route = _route(Route(dialect, provider, answer_id=answer_id), folders, query)
            return route and replace(route, stream=end in _STREAMS)
    return None


def _without_answer(path: str) -> tuple[str, str]:
    folder, _, last = path.rpartition("/")
    return (folder, last) if folder.endswith("/responses") else (path, "")


def _route(usual: Route, folders: list[str], query: str) -> Route | None:
    """None where Azure has nothing: its dated paths are there with their date alone."""
    provider, is_dated = usual.provider, "api-version=" in query
    if "deployments" in folders[:-1] and not is_dated:
        return None
    if folders[:2] == ["openai", "deployments"] or (folders == ["openai"] and is_dated):
        provider = "azure_openai"
    elif folders[0] not in {"", "api", "projects", *_BEFORE_MODELS, *_VERSIONS}:
        provider = folders[0]
    elif "projects" in folders:
        provider = "google_vertex"
    named = next((folder for folder in _BEFORE_MODELS if folder in folders[:-1]), None)
    model = unquote(folders[folders.index(named) + 1]) if named else ""
    return replace(usual, provider=provider, model=model)


def secret_in(headers: Mapping[str, str]) -> str:
    """The secret that a request carries, "" for none."""
    value = next((headers[name] for name in _SECRET_HEADERS if name in headers), "")
    return value.removeprefix("Bearer ").strip()


def without_secrets(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that may be kept."""
    return {name: value for name, value in headers.items() if name not in _KEPT_OUT}
