"""The whole configuration, and what it says to the rooms that run it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, ModelWrapValidatorHandler, model_validator

from ..core.keyspec import KeySpec
from ..core.policy import Policy, TimeLimits
from ..core.route import ChainEntry, ProviderSpec, Routes
from ..core.wire import Endpoint
from .catalogue import overlaid, remember_written
from .entries import (
    DefaultsConfig,
    Entry,
    FallbackEntry,
    HttpConfig,
    KeyConfig,
    LimitsConfig,
    ProviderConfig,
    QuotaGroupConfig,
    StateStoreConfig,
    TimeoutsConfig,
)
from .references import cross_checks, is_signed, with_tokens

# Fields of auth_config that llm-rotate 0.3 sent as headers.
AUTH_CONFIG_HEADERS: Mapping[str, str] = {
    "org_id": "OpenAI-Organization",
    "http_referer": "HTTP-Referer",
    "x_title": "X-Title",
}
# Fields of auth_config that say how a key's resource is spoken to.
AUTH_CONFIG_FLAGS: Mapping[str, str] = {
    "api_version": "api_version",
    "azure_deployment": "deployment",
    "azure_deployments": "deployments",
}


class LMRotateConfig(Entry):
    """Everything. The built-in providers are there without being named.

    Raises ConfigurationError, which lists all that is wrong. Warns of ``literal://`` secrets.
    """

    defaults: DefaultsConfig = Field(default_factory=DefaultsConfig)
    providers: dict[str, ProviderConfig] = Field(default_factory=dict, validate_default=True)
    keys: list[KeyConfig] = Field(default_factory=list)
    fallback_chains: dict[str, list[FallbackEntry]] = Field(default_factory=dict)
    quota_groups: dict[str, QuotaGroupConfig] = Field(default_factory=dict)
    limits: LimitsConfig = Field(default_factory=LimitsConfig)
    state_store: StateStoreConfig = Field(default_factory=StateStoreConfig)
    http: HttpConfig = Field(default_factory=HttpConfig)

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        warn_of_literals(self)

    # as in Entry; loading a registry, which checks more keys than it uses, warns by itself
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined] # functions take any

    @classmethod
    def _cross_checks(cls, given: Any) -> list[str]:
        return cross_checks(given)

    @model_validator(mode="wrap")
    @classmethod
    def _over_the_catalogue(cls, given: Any, fill: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(given, Mapping):
            return fill(given)
        own = given.get("providers", {})
        config = fill({**given, "providers": overlaid(own)})
        for name, provider in config.providers.items():
            remember_written(provider, own.get(name))
        if "providers" not in given:
            config.model_fields_set.discard("providers")
        return config

    def policy(self, provider: str) -> Policy:
        """How long ``provider``'s keys rest."""
        entry = self.providers[provider]
        return Policy(
            self._told(entry, "default_cooldown_seconds", "cooldown_seconds"),
            self._told(entry, "default_quarantine_seconds", "quarantine_seconds"),
            self._told(entry, "max_consecutive_failures", "max_consecutive_failures"),
        )

    def _told(self, entry: ProviderConfig, field: str, default: str) -> Any:
        """The user's word for this provider, else for all, else the catalogue's, else ours."""
        if field not in entry.model_fields_set and default in self.defaults.model_fields_set:
            return getattr(self.defaults, default)
        return getattr(entry, field)

    def timeouts(self, provider: str) -> TimeLimits:
        """How long a call waits for ``provider``."""
        own, general = self.providers[provider].timeouts, self.defaults.timeouts
        layers = {
            name: general
            if name not in own.model_fields_set and name in general.model_fields_set
            else own
            for name in TimeoutsConfig.model_fields
        }
        return TimeLimits(**{name: getattr(layer, name) for name, layer in layers.items()})

    def endpoint(self, key: KeyConfig) -> Endpoint:
        """Where ``key``'s requests go."""
        provider, auth = self.providers[key.provider], key.auth_config
        base_url = (
            key.base_url
            or auth.get("base_url")
            or auth.get("azure_endpoint")
            or provider.base_url
            or ""
        )
        named = {header: auth[name] for name, header in AUTH_CONFIG_HEADERS.items() if name in auth}
        own = {flag: auth[name] for name, flag in AUTH_CONFIG_FLAGS.items() if name in auth}
        routes = {"upstream_names": provider.upstream_names} if provider.upstream_names else {}
        return Endpoint(
            provider=key.provider,
            base_url=base_url.replace("{region}", auth.get("region", "")),
            auth=_auth(provider, key),
            headers={**provider.headers, **auth.get("default_headers", {}), **named},
            flags={**routes, **provider.flags, **own},
            auth_config=auth,
        )

    def keyspecs(self) -> tuple[KeySpec, ...]:
        """The keys in their order, as selection and routing see them."""
        return tuple(self._keyspec(key) for key in self.keys)

    def _keyspec(self, key: KeyConfig) -> KeySpec:
        deployed = list(key.auth_config.get("azure_deployments", ()))
        models = key.models or deployed or self.providers[key.provider].supported_models
        return KeySpec(
            key_id=key.key_id,
            provider=key.provider,
            priority=key.priority,
            weight=key.weight,
            models=frozenset(models) if models else None,
            regions=frozenset(key.regions) if key.regions else None,
            tags=key.tags,
            enabled=key.enabled,
            auth_method=key.auth_method,
        )

    def routes(self) -> Routes:
        """The way of each model through providers and chains."""
        specs = {name: _provider_spec(name, p) for name, p in self.providers.items()}
        chains = {
            name: tuple(_chain_entry(entry) for entry in entries)
            for name, entries in self.fallback_chains.items()
        }
        return Routes(specs, self.keyspecs(), chains)


def _auth(provider: ProviderConfig, key: KeyConfig) -> str:
    if with_tokens(key):
        return "entra"
    return "sigv4" if is_signed(provider, key) else provider.auth


def _provider_spec(name: str, provider: ProviderConfig) -> ProviderSpec:
    return ProviderSpec(
        name=name,
        families=tuple(provider.families),
        is_broker=provider.provider_type == "broker",
        vendors=provider.upstream_vendors,
        variables=tuple(provider.env),
    )


def _chain_entry(entry: FallbackEntry) -> ChainEntry:
    return ChainEntry(entry.provider, entry.upstream, entry.model, entry.models, entry.options)


def warn_of_literals(config: LMRotateConfig) -> None:
    """Warns once if secrets stand in the configuration itself."""
    literal = [key.key_id for key in config.keys if key.is_literal]
    if literal:
        more = ", ..." if len(literal) > 3 else ""
        warnings.warn(
            f"literal:// keeps a secret in the configuration ({', '.join(literal[:3])}{more}); "
            "env:// and file:// keep it out",
            stacklevel=3,
        )
