"""From a configuration to keys, providers and stages. Holds no state of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from ..config import LMRotateConfig
from ..config.entries import KeyConfig
from ..core.keyspec import KeySpec
from ..core.pool import Candidate
from ..core.route import RouteStage
from ..errors import ConfigurationError
from ..strategies import STRATEGIES, Strategy
from .clock import Clock
from .quotas import Quotas, days_of, key_name
from .stages import PoolKey, ProviderFacts, Stage, candidate
from .transport.seam import Timeouts


@dataclass(frozen=True, slots=True)
class Narrowed:
    """How a call narrows the pool: to one key, to keys with these tags (names, or names with
    their values), or to those of a region.
    """

    key_id: str | None = None
    tags: tuple[str, ...] | tuple[tuple[str, str], ...] = ()
    region: str | None = None

    def fits(self, key: KeySpec) -> bool:
        """Whether the key is one of those."""
        return (
            self.key_id in (None, key.key_id)
            and (self.region is None or key.regions is None or self.region in key.regions)
            and all(
                tag in key.tags if isinstance(tag, str) else key.tags.get(tag[0]) == tag[1]
                for tag in self.tags
            )
        )

    def __str__(self) -> str:
        parts = {"key_id": self.key_id, "tags": self.tags or None, "region": self.region}
        return ", ".join(f"{name}={value!r}" for name, value in parts.items() if value is not None)


def narrowed_to(
    key_id: str | None, tags: Mapping[str, str] | Iterable[str] | None, region: str | None
) -> Narrowed | None:
    """As a call says it; None if it says nothing."""
    if key_id is None and tags is None and region is None:
        return None
    if isinstance(tags, str):
        tags = (tags,)
    named = tuple(tags.items()) if isinstance(tags, Mapping) else tuple(tags or ())
    return Narrowed(key_id, named, region)


class Assembly:
    """One configuration's keys and routes. Raises ConfigurationError for what cannot be."""

    def __init__(self, config: LMRotateConfig, clock: Clock, watched: set[str]) -> None:
        self._config = config
        self._clock = clock
        self.quotas = Quotas(config, watched, days_of("UTC", clock))
        self._keys_by_id = {key.key_id: key for key in config.keys}
        self.specs = config.keyspecs()
        self.routes = config.routes()
        named = dict.fromkeys(key.provider for key in config.keys)
        self.providers = {name: self._provider(name) for name in named}
        self.keys = {key.key_id: self._key(i, key) for i, key in enumerate(config.keys)}
        self._strategy = _strategy(config.defaults.selection_strategy)

    def _provider(self, name: str) -> ProviderFacts:
        entry, limits = self._config.providers[name], self._config.timeouts(name)
        return ProviderFacts(
            name=name,
            dialect_name=entry.dialect,
            policy=self._config.policy(name),
            timeouts=Timeouts(limits.connect, limits.first_byte, limits.first_event, limits.idle),
            deadline_s=limits.deadline,
            resets=days_of(entry.day_ends, self._clock),
            prices=(entry.cost_per_1k_input_tokens, entry.cost_per_1k_output_tokens),
            header_scope=entry.header_bucket_scope,
        )

    def _key(self, index: int, key: KeyConfig) -> PoolKey:
        return PoolKey(
            self.specs[index],
            self.providers[key.provider],
            self._config.endpoint(key),
            key.secret_ref,
            key.metadata,
            self.quotas,
        )

    def routed(self, model: str | None, provider: str | None) -> tuple[RouteStage, ...]:
        """The way of a model; a provider named alone is a way by itself."""
        if model is not None:
            return self.routes.stages(model, provider)
        if provider not in self.providers:
            raise ConfigurationError(
                f"the pool has no key of provider {provider!r}; "
                f"it has keys of: {', '.join(self.providers) or 'nobody'}"
            )
        return (RouteStage(provider, None),)

    def stage(self, route: RouteStage, narrowed: Narrowed | None) -> Stage | None:
        """The stage of a route, narrowed; None when no key is left."""
        serving = [self.specs[i] for i in self.routes.eligible(route)]
        kept = [self.keys[spec.key_id] for spec in serving if not narrowed or narrowed.fits(spec)]
        if not kept:
            return None
        return Stage(
            provider=self.providers[route.provider],
            route=route,
            keys=kept,
            everyone=frozenset(spec.key_id for spec in serving),
            strategy=self._strategy,
        )

    def limited(self) -> list[tuple[Candidate, list[str]]]:
        """Every limit there is, key by key, with the names of its buckets."""
        found: list[tuple[Candidate, list[str]]] = []
        quotas = self.quotas
        models = quotas.models()
        for index, key in enumerate(() if quotas.are_none else self.keys.values()):
            owners = (key_name(key.key_id), quotas.quota(key.key_id))
            named = dict.fromkeys(model for owner in owners for model in models.get(owner, ()))
            for model in (None, *named):
                made = candidate(index, key, model, None)
                if made.buckets:
                    found.append((made, [spec.name for spec in made.buckets]))
        return found

    def unknown_key(self, key_id: str) -> str:
        """Words for a key that is not there."""
        near = get_close_matches(key_id, self.keys, 1)
        hint = f" Did you mean {near[0]!r}?" if near else f" There are: {', '.join(self.keys)}"
        return f"the pool has no key {key_id!r}.{hint}"

    def identities(self) -> dict[str, Any]:
        """What makes a key another one, by key_id."""
        return {
            key.key_id: (
                key.secret_ref,
                key.auth_method,
                key.auth_config,
                key.base_url,
                key.enabled,
            )
            for key in self._keys_by_id.values()
        }

    def by_provider(self) -> Mapping[str, list[str]]:
        """The key_ids of each provider."""
        named: dict[str, list[str]] = {name: [] for name in self.providers}
        for spec in self.specs:
            named[spec.provider].append(spec.key_id)
        return named


def _strategy(chosen: Any) -> Strategy:
    return chosen if callable(chosen) else STRATEGIES[chosen]
