"""From LMClient's arguments to the configuration of a pool, and to the keywords of its calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from ..config import DefaultsConfig, LMRotateConfig
from ..errors import ConfigurationError
from .servers import Servers

# A strategy of the pool for each of the router's names.
ROUTING: Mapping[str, str] = {
    "simple-shuffle": "health_aware",
    "least-busy": "least_busy",
    "latency-based-routing": "lowest_latency",
    "usage-based-routing": "least_tokens",
}
# What router_kwargs may say, in the router's words, beside the fields of ``defaults``.
ROUTER: Mapping[str, str] = {"cooldown_time": "cooldown_seconds", "num_retries": "max_retries"}
LIMITS = ("rpm", "tpm", "rpd", "tpd", "request_burst", "token_burst", "max_concurrency")
CONNECT_SECONDS = 10.0


def config_of(
    servers: Servers,
    *,
    limits: Sequence[int | None],
    defaults: Mapping[str, Any],
    routing_strategy: str,
    router_kwargs: Mapping[str, Any] | None,
    header_bucket_scope: str,
) -> LMRotateConfig:
    """The configuration of a client's own pool; ``limits`` in the order of LIMITS. Raises
    ConfigurationError.
    """
    named: dict[str, dict[str, Any]] = {key["provider"]: {} for key in servers.keys}
    providers = named | servers.providers
    scope = {"header_bucket_scope": header_bucket_scope}
    return LMRotateConfig.model_validate(
        {
            "keys": servers.keys,
            "providers": {name: {**entry, **scope} for name, entry in providers.items()},
            "limits": dict(zip(LIMITS, limits, strict=True)),
            "defaults": {
                **defaults,
                "selection_strategy": strategy_of(routing_strategy),
                **_router(router_kwargs or {}),
            },
        }
    )


def strategy_of(routing_strategy: str) -> str:
    """The pool's strategy. Raises ConfigurationError."""
    found = ROUTING.get(routing_strategy)
    if found is None:
        known = ", ".join(ROUTING)
        raise ConfigurationError(f"no routing_strategy {routing_strategy!r}; known: {known}")
    return found


def _router(router_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    known = DefaultsConfig.model_fields
    found = {ROUTER.get(name, name): value for name, value in router_kwargs.items()}
    for name in found:
        if name not in known:
            near = get_close_matches(name, [*ROUTER, *known], 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise ConfigurationError(f"router_kwargs: no such field {name!r}; {hint}")
    return found


def timeouts_of(timeout: float | None) -> dict[str, float]:
    """Seconds for one request, whatever it waits for; waiting for room is not counted."""
    if timeout is None:
        return {}
    steps = dict.fromkeys(("first_byte", "first_event", "idle"), timeout)
    return {"connect": min(CONNECT_SECONDS, timeout), **steps}
