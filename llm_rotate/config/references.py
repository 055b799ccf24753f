"""Checks between entries, on what was written, so that they run beside the checks of fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .catalogue import built_in, overlaid
from .problems import Path, hint, nearest, problem

# The dialects whose requests go to a base_url; the others find their own way.
WITH_BASE_URL = frozenset({"openai", "openai_responses", "anthropic", "bedrock"})
# Fields of auth_config that say where AWS credentials come from.
AWS_SOURCES = ("access_key_id", "profile", "role_arn")
# The auth_method of keys whose requests carry tokens of Microsoft Entra ID.
ENTRA = "entra_id"
_NO_APPLICATION = (
    "needs auth_config.tenant_id and client_id, the application whose secret secret_ref is; "
    "without secret_ref the machine's own identity is asked"
)


def field(entry: Any, name: str) -> Any:
    """A field of an entry, be it still a mapping or already made."""
    return entry.get(name) if isinstance(entry, Mapping) else getattr(entry, name, None)


def numbered(given: Mapping[str, Any], name: str) -> list[tuple[int, Any]]:
    entries = given.get(name)
    return list(enumerate(entries)) if isinstance(entries, (list, tuple)) else []


def named(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    entries = given.get(name)
    return entries if isinstance(entries, Mapping) else {}


def cross_checks(given: Any) -> list[str]:
    """What is wrong between the entries of ``given``, the fields of an LMRotateConfig."""
    if not isinstance(given, Mapping):
        return []
    providers = overlaid(named(given, "providers"))
    found = (
        *_duplicates(given),
        *_names(providers),
        *_keys(given, providers),
        *_groups(given),
        *_chains(given, providers),
    )
    return list(found)


def _duplicates(given: Mapping[str, Any]) -> Iterator[str]:
    first: dict[str, int] = {}
    for index, key in numbered(given, "keys"):
        key_id = field(key, "key_id")
        if isinstance(key_id, str) and first.setdefault(key_id, index) != index:
            yield problem(("keys", index, "key_id"), f"the same as that of keys[{first[key_id]}]")


def _names(providers: Mapping[str, Any]) -> Iterator[str]:
    for name, entry in providers.items():
        if field(entry, "name") not in ("", None, name):
            yield problem(("providers", name, "name"), "differs from the name of its entry")


def _keys(given: Mapping[str, Any], providers: Mapping[str, Any]) -> Iterator[str]:
    for index, key in numbered(given, "keys"):
        name = field(key, "provider")
        if not isinstance(name, str):
            continue
        if name not in providers:
            yield _unknown_provider(("keys", index, "provider"), name, providers)
        elif not _has_address(key, providers[name]):
            yield problem(("keys", index), _no_address(name))
        elif _lacks_region(key, providers[name]):
            yield problem(("keys", index), "needs auth_config.region, where its models are")
        elif _lacks_application(key):
            yield problem(("keys", index), _NO_APPLICATION)


def _lacks_region(key: Any, provider: Any) -> bool:
    auth = field(key, "auth_config")
    auth = auth if isinstance(auth, Mapping) else {}
    address = field(key, "base_url") or auth.get("base_url") or field(provider, "base_url")
    return not auth.get("region") and ("{region}" in str(address) or is_signed(provider, key))


def is_signed(provider: Any, key: Any) -> bool:
    """Are the key's requests signed with AWS credentials? Else its secret is an API key."""
    auth = field(key, "auth_config")
    named = isinstance(auth, Mapping) and any(name in auth for name in AWS_SOURCES)
    return field(provider, "dialect") == "bedrock" and (named or not field(key, "secret_ref"))


def with_tokens(key: Any) -> bool:
    """Do tokens of Microsoft Entra ID stand for the key?"""
    auth = field(key, "auth_config")
    given = isinstance(auth, Mapping) and "azure_ad_token_provider" in auth
    return given or field(key, "auth_method") == ENTRA


def _lacks_application(key: Any) -> bool:
    """A secret without the application that it belongs to."""
    auth = field(key, "auth_config")
    auth = auth if isinstance(auth, Mapping) else {}
    is_asked = field(key, "auth_method") == ENTRA and "azure_ad_token_provider" not in auth
    named = auth.get("tenant_id") and auth.get("client_id")
    return bool(is_asked and field(key, "secret_ref") and not named)


def _groups(given: Mapping[str, Any]) -> Iterator[str]:
    groups = named(given, "quota_groups")
    for index, key in numbered(given, "keys"):
        name = field(key, "quota_group")
        if isinstance(name, str) and name not in groups:
            near = hint(name, groups) or "; quota_groups has none"
            yield problem(("keys", index, "quota_group"), f"no such group{near}")


def _has_address(key: Any, provider: Any) -> bool:
    auth = field(key, "auth_config")
    own = ("base_url", "azure_endpoint") if isinstance(auth, Mapping) else ()
    return bool(
        (field(provider, "dialect") or "openai") not in WITH_BASE_URL
        or field(provider, "base_url")
        or field(key, "base_url")
        or any(auth.get(name) for name in own)
    )


def _no_address(provider: str) -> str:
    if "azure_endpoint" in built_in().get(provider, {}).get("env_auth_config", {}):
        return "needs auth_config.azure_endpoint, the URL of its resource"
    return "needs a base_url, its own or its provider's"


def _unknown_provider(path: Path, name: str, providers: Mapping[str, Any]) -> str:
    new = " (a new service needs an entry in providers with its base_url)"
    return problem(path, f"no such provider{new}{hint(name, providers)}")


def _chains(given: Mapping[str, Any], providers: Mapping[str, Any]) -> Iterator[str]:
    chains = named(given, "fallback_chains")
    for name in chains:
        if name not in providers and _is_mistyped(name, providers):
            near = hint(name, providers)
            yield problem(("fallback_chains", name), f"neither a provider nor a model{near}")
        for index, entry in numbered(chains, name):
            yield from _stage(("fallback_chains", name, index), entry, providers)


def _is_mistyped(name: Any, providers: Mapping[str, Any]) -> bool:
    """Is a chain's name no model's, but almost a provider's? Models' names have a version."""
    return nearest(name, list(providers), 0.8) is not None and not any(
        letter.isdigit() or letter in "-./:" for letter in name
    )


def _stage(path: Path, entry: Any, providers: Mapping[str, Any]) -> Iterator[str]:
    name, upstream = field(entry, "provider"), field(entry, "upstream")
    if not isinstance(name, str):
        return
    if name not in providers:
        yield _unknown_provider((*path, "provider"), name, providers)
    elif isinstance(upstream, str) and upstream not in _upstreams(providers[name]):
        known = hint(upstream, _upstreams(providers[name]))
        yield problem((*path, "upstream"), f"{name} has no such upstream{known}")


def _upstreams(provider: Any) -> Sequence[str]:
    found = field(provider, "upstream_providers")
    return found if isinstance(found, (list, tuple)) else ()
