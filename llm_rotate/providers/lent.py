"""Where a vendor's own SDK is to send with a key that is lent to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..core.wire import Endpoint
from .gemini_urls import split_version
from .openai_urls import deployment, is_undated, resource


@dataclass(frozen=True, slots=True)
class Address:
    """``base_url``: as the SDK takes it. ``api_version``: what it is to be told beside; None:
    nothing. ``deployment``: Azure's name for the model; None elsewhere, and where it is not known.
    """

    base_url: str
    api_version: str | None = None
    deployment: str | None = None


def address(dialect: str, endpoint: Endpoint, model: str | None) -> Address:
    """Of ``model``, as the provider calls it; None: of no one model."""
    return _ADDRESSES.get(dialect, _plain)(endpoint, model)


def _plain(endpoint: Endpoint, _: str | None) -> Address:
    return Address(endpoint.base_url)


def _openai(endpoint: Endpoint, model: str | None) -> Address:
    if not endpoint.flags.get("azure"):
        return Address(endpoint.base_url)
    named = deployment(model or "", endpoint.flags) or None
    version = endpoint.flags.get("api_version") or "v1"
    base = resource(endpoint)
    if is_undated(endpoint):
        return Address(f"{base}/openai/v1", None if version == "v1" else version, named)
    return Address(base, version, named)


def _anthropic(endpoint: Endpoint, _: str | None) -> Address:
    return Address(endpoint.base_url.rstrip("/").removesuffix("/v1"))


def _gemini(endpoint: Endpoint, _: str | None) -> Address:
    return Address(*split_version(endpoint))


_ADDRESSES: Mapping[str, Callable[[Endpoint, str | None], Address]] = {
    "anthropic": _anthropic,
    "gemini": _gemini,
    "openai": _openai,
    "openai_responses": _openai,
}
