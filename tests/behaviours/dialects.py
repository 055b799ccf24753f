"""The dialects that every behaviour is proved with. A new one joins by adding its provider."""

from __future__ import annotations

from typing import Any

import pytest

from llm_rotate.engine.report import KeyHealth, ProviderHealth
from llm_rotate.types import ChatResponse

from .world import World

# dialect -> a provider that speaks it and that the simulator plays
PROVIDERS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "openai_responses": "openai_responses",
    "bedrock": "aws_bedrock",
    "gemini": "google_ai_studio",
}
# Azure speaks as OpenAI does, at paths and with headers of its own
AZURE = "azure_openai"
SERVICES = {**PROVIDERS, "azure": AZURE}
# Vertex speaks as Google AI Studio does and is sent by the same SDK, to paths of its own
VERTEX = "google_vertex"
ADDRESSES = {**SERVICES, "vertex": VERTEX}
DIALECT_OF = {provider: dialect for dialect, provider in PROVIDERS.items()} | {
    AZURE: "openai",
    VERTEX: "gemini",
}
# a second provider for chains, of the other dialect
OTHER = {
    "openai": "anthropic",
    "anthropic": "openai",
    "openai_responses": "anthropic",
    "aws_bedrock": "openai",
    "google_ai_studio": "openai",
    AZURE: "anthropic",
    VERTEX: "openai",
}

# providers that answer a wrong key with another status than 401
REFUSED_AS = {"aws_bedrock": 403, "google_ai_studio": 400, VERTEX: 400}
# providers whose streams end with their last byte, and by nothing before it
ENDING_UNSAID = ("google_ai_studio", VERTEX)
# providers whose answers say what is left of their limits
TELLING = ("openai", "anthropic", "openai_responses")

each_dialect = pytest.mark.parametrize("provider", PROVIDERS.values(), ids=PROVIDERS)
each_service = pytest.mark.parametrize("provider", SERVICES.values(), ids=SERVICES)
# for the tests that touch on where and how a request is sent
each_address = pytest.mark.parametrize("provider", ADDRESSES.values(), ids=ADDRESSES)


async def health_of(world: World, key_id: str, provider: str | None = None) -> KeyHealth:
    """What ``health()`` shows of one key."""
    return (await provider_health(world, provider)).keys[key_id]


async def provider_health(world: World, provider: str | None = None) -> ProviderHealth:
    report = await world.lm.health()
    return report.providers[provider or world.provider]


def asked(world: World) -> list[str]:
    """The keys that the server saw, in order."""
    return [seen.key for seen in world.sim.log]


def moments(world: World, key_id: str) -> list[float]:
    """When the server saw a key, in seconds since the world began."""
    return [seen.at - 1000.0 for seen in world.sim.log if seen.key == key_id]


def weighted_keys(*weights: float) -> Any:
    """Edits a configuration: the keys get these weights, in their order."""

    def edit(config: Any) -> Any:
        for key, weight in zip(config.keys, weights, strict=True):
            key.weight = weight
        return config

    return edit


def all_answered(results: list[Any]) -> bool:
    return all(isinstance(each, ChatResponse) for each in results)
