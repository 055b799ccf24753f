"""From a client's words (a model, addresses, keys) to the entries of a configuration."""

from __future__ import annotations

import ipaddress
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from ..config import registry_from_environment
from ..config.catalogue import built_in
from ..config.environment import base_url
from ..errors import ConfigurationError
from .deployment import DeploymentConfig

_log = logging.getLogger("llm_rotate")

# What stands before the slash of a model's name at others, and what we call it.
ALIASES: Mapping[str, str] = {
    "gemini": "google_ai_studio",
    "vertex_ai": "google_vertex",
    "azure": "azure_openai",
    "bedrock": "aws_bedrock",
    "together_ai": "together",
    "fireworks_ai": "fireworks",
    "ollama_chat": "ollama",
}
# Prefixes that say no more than: an OpenAI-compatible server at the address given.
COMPATIBLE = frozenset(
    {"hosted_vllm", "vllm", "sglang", "openai_like", "custom_openai", "litellm_proxy", "lm_studio"}
)
UNNAMED = "server"  # the provider of a bare name at an address of nobody's
ELSEWHERE = "openai_compatible"  # openai/NAME at another address: none of OpenAI's own spellings

# Their credentials may come from the machine itself.
FIND_THEIR_OWN = frozenset({"aws_bedrock", "google_vertex"})

# Fields of extra_kwargs: to the limits of a key, to its auth_config, to the key itself.
LIMITS: Mapping[str, str] = {
    **{name: name for name in ("rpm", "tpm", "rpd", "tpd", "input_tpm", "output_tpm")},
    "max_parallel_requests": "max_concurrency",
    "max_request_burst": "request_burst",
    "max_token_burst": "token_burst",
}
AUTH: Mapping[str, str] = {
    "api_version": "api_version",
    "organization": "org_id",
    "headers": "default_headers",
    "extra_headers": "default_headers",
    "region": "region",
    "aws_region_name": "region",
    "vertex_location": "region",
    "project": "project",
    **{name: name for name in ("tenant_id", "client_id", "azure_ad_token_provider")},
    "aws_profile_name": "profile",
    "vertex_project": "project",
}
OWN = ("weight", "priority", "tags", "metadata")


@dataclass(slots=True)
class Servers:
    """``models``: the names to ask the pool for, with their weights."""

    models: dict[str, float] = field(default_factory=dict)
    keys: list[dict[str, Any]] = field(default_factory=list)
    providers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, place: Place, key: Mapping[str, Any]) -> None:
        """One more key at ``place``."""
        entry = self.providers.setdefault(place.provider, {})
        if place.provider not in built_in():
            entry.setdefault("base_url", place.base_url)
            entry.setdefault("auth", "none")
            if key.get("secret_ref"):
                entry["auth"] = "bearer"
        self.keys.append({"provider": place.provider, **key})

    def finished(self) -> Servers:
        """Where some keys of an own server have a secret and others none, those get a dummy.

        Raises ConfigurationError for a key of a vendor's that has no secret.
        """
        for key in self.keys:
            if key.get("secret_ref"):
                continue
            name = key["provider"]
            variables = built_in().get(name, {}).get("env")
            has_tokens = "azure_ad_token_provider" in key.get("auth_config", {})
            if variables and name not in FIND_THEIR_OWN and not has_tokens:
                raise ConfigurationError(f"no key of {name}: set {variables[0]}, or give api_key")
            if self.providers.get(name, {}).get("auth") == "bearer":
                key["secret_ref"] = "literal://none"  # noqa: S105 - it says so
        return self


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model is served: who, its name there, and the address if one was given.
    ``lender``: the provider whose environment variables hold its key.
    """

    provider: str
    model: str
    base_url: str | None
    lender: str | None

    @property
    def asked(self) -> str:
        """What to ask the pool for."""
        return f"{self.provider}/{self.model}"


Deployments = Mapping[str, DeploymentConfig | Mapping[str, Any]]


def servers_of(
    model: str | None, api_base: str | None, api_key: str | None, deployments: Deployments | None
) -> Servers:
    """Either one endpoint or deployments. Raises ConfigurationError."""
    if not model:
        raise ConfigurationError("model is missing: give its name, as 'openai/gpt-4.1-mini'")
    if deployments is None:
        return at_one_endpoint(model, api_base, api_key)
    if api_base or api_key:
        raise ConfigurationError(
            "api_base and api_key belong to one endpoint; with deployments each has its own"
        )
    if not isinstance(deployments, Mapping):
        raise ConfigurationError(
            "deployments must be a mapping of labels to DeploymentConfigs (or their fields)"
        )
    if not deployments:
        raise ConfigurationError("deployments is empty: give one at least, by its label")
    return at_deployments(deployments)


def at_one_endpoint(model: str, api_base: str | None, api_key: str | None) -> Servers:
    """A model of one provider, with one key or with all that the environment has for it."""
    place = place_of(model, api_base)
    servers = Servers()
    if place is None:
        servers.models[model] = 1.0
        servers.keys = registry_from_environment(os.environ)["keys"]
        if api_key:
            raise ConfigurationError(
                f"whose key is api_key? Say it in the model's name, as in 'openai/{model}', "
                "or give api_base"
            )
        return servers
    servers.models[place.asked] = 1.0
    address = {**_said_by_variables(place), **_address(place)}
    found = [{"key_id": place.provider, "secret_ref": f"literal://{api_key}"}]
    for key in found if api_key else keys_from_environment(place) or [{"key_id": place.provider}]:
        servers.add(place, {**key, **_joined(address, key)})
    return servers.finished()


def at_deployments(deployments: Deployments) -> Servers:
    """The same model at several servers or accounts; the labels become the keys' names."""
    servers = Servers()
    for label, given in deployments.items():
        deployment = deployment_of(str(label), given)
        place = place_of(deployment.model, deployment.api_base)
        if place is None:
            raise ConfigurationError(
                f"deployments[{label!r}]: give api_base, or name the provider: "
                f"'openai/{deployment.model}'"
            )
        key = _key(str(label), deployment, place)
        servers.add(place, key)
        weight = float(key.get("weight", 1.0))
        servers.models[place.asked] = servers.models.get(place.asked, 0.0) + weight
    return servers.finished()


def deployment_of(label: str, given: DeploymentConfig | Mapping[str, Any]) -> DeploymentConfig:
    """A deployment however it was written. Raises ConfigurationError."""
    if isinstance(given, DeploymentConfig):
        return given
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"deployments[{label!r}] must be a DeploymentConfig or a mapping, "
            f"not {type(given).__name__}"
        )
    known = [each.name for each in fields(DeploymentConfig)]
    for name in given:
        if name not in known:
            near = get_close_matches(str(name), known, 1)
            hint = f"did you mean {near[0]!r}?" if near else "other things go into extra_kwargs"
            raise ConfigurationError(f"deployments[{label!r}] has no field {name!r}; {hint}")
    if not given.get("model"):
        raise ConfigurationError(f"deployments[{label!r}] names no model")
    return DeploymentConfig(**given)


def place_of(model: str, api_base: str | None) -> Place | None:
    """Where ``model`` is; None for a bare name without an address. Raises ConfigurationError."""
    prefix, _, rest = model.partition("/")
    provider = ALIASES.get(prefix, prefix) if rest else ""
    if provider not in built_in() and provider not in COMPATIBLE:
        provider, rest = "", model
    is_given = api_base is not None
    if api_base is None and (api_base := base_url(provider, os.environ)) is None:
        if provider in COMPATIBLE:
            raise ConfigurationError(f"'{model}' is on a server of yours: give its api_base")
        return Place(provider, rest, None, provider) if provider else None
    _warn_of_plain_http(api_base)
    owner = _owner(api_base)
    if provider == "openai" and owner != "openai" and is_given:
        return Place(ELSEWHERE, rest, api_base, "openai")
    if provider:
        return Place(provider, rest, api_base, provider)
    return Place(owner or UNNAMED, rest, api_base, owner)


def keys_from_environment(place: Place) -> list[dict[str, Any]]:
    """The keys that the environment has for a place: a known provider's, or NAME_API_KEY."""
    if place.lender in built_in():
        return [
            {name: value for name, value in key.items() if name != "provider"}
            for key in _all_from_environment(place)
            if key["provider"] == place.lender
        ]
    variable = f"{place.provider.upper()}_API_KEY"
    if not os.environ.get(variable, "").strip():
        return []
    return [{"key_id": place.provider, "secret_ref": f"env://{variable}"}]


def _all_from_environment(place: Place) -> list[dict[str, Any]]:
    """An address that was given stands for the variable that holds one."""
    addresses = built_in()[place.lender or ""].get("env_auth_config", {}).values()
    given = {name: place.base_url for name in addresses if place.base_url}
    try:
        found: list[dict[str, Any]] = registry_from_environment({**os.environ, **given})["keys"]
    except ConfigurationError:  # there are none
        return []
    return found


def _key(label: str, deployment: DeploymentConfig, place: Place) -> dict[str, Any]:
    key: dict[str, Any] = {"models": [place.model], **_said_by_variables(place), **_address(place)}
    _sort_in(key, label, deployment.extra_kwargs or {})
    if deployment.api_key:
        key["secret_ref"] = f"literal://{deployment.api_key}"
    else:
        found = keys_from_environment(place)
        key = {**(found[0] if found else {}), **key, **_joined(key, found[0] if found else {})}
    return {**key, "key_id": label}


def _said_by_variables(place: Place) -> dict[str, Any]:
    """What the environment says of a provider beside its keys: a region, an address."""
    named = built_in().get(place.provider, {}).get("env_auth_config", {})
    found = {field: os.environ[name] for field, name in named.items() if os.environ.get(name)}
    return {"auth_config": found} if found else {}


def _address(place: Place) -> dict[str, Any]:
    if place.base_url is None:
        return {}
    if place.provider == "azure_openai":
        return {"auth_config": {"azure_endpoint": place.base_url}}
    return {"base_url": place.base_url}


def _joined(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Both auth_configs as one, where there is any."""
    joined = {**theirs.get("auth_config", {}), **ours.get("auth_config", {})}
    base_url = {"base_url": ours["base_url"]} if "base_url" in ours else {}
    return base_url | ({"auth_config": joined} if joined else {})


def _sort_in(key: dict[str, Any], label: str, extra: Mapping[str, Any]) -> None:
    """Puts each of ``extra`` where it belongs. Raises ConfigurationError for others."""
    for name, value in extra.items():
        if name in LIMITS:
            key.setdefault("limits", {})[LIMITS[name]] = value
        elif name in AUTH:
            key.setdefault("auth_config", {})[AUTH[name]] = value
        elif name in OWN:
            key[name] = value
        else:
            known = (*LIMITS, *AUTH, *OWN)
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise ConfigurationError(
                f"deployments[{label!r}].extra_kwargs: no such field {name!r}; {hint} "
                "(keywords of requests go into default_request_kwargs)"
            )


def _owner(api_base: str) -> str | None:
    """The built-in provider at this address."""
    host = urlsplit(api_base).netloc
    for name, entry in built_in().items():
        if "base_url" in entry and urlsplit(entry["base_url"]).netloc == host:
            return name
    return None


def _warn_of_plain_http(api_base: str) -> None:
    parts = urlsplit(api_base)
    if parts.scheme == "http" and not _is_local(parts.hostname or ""):
        _log.warning("%s is plain http: prompts, answers and keys can be read on the way", api_base)


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
