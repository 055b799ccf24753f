"""The built-in providers, and how a registry's own entries lie over them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from .entries import ProviderConfig

# Mappings inside an entry that an overlay extends; every other field it replaces.
EXTENDED = ("headers", "flags", "upstream_names", "upstream_vendors")


@cache
def built_in() -> Mapping[str, Mapping[str, Any]]:
    """The built-in providers as plain fields, by name."""
    text = files(__package__).joinpath("catalogue.json").read_text("utf-8")
    entries = json.loads(text)["providers"].items()
    return {name: {f: v for f, v in entry.items() if f != "notes"} for name, entry in entries}


def overlaid(providers: Any) -> Any:
    """The built-in providers with ``providers`` over them, unchecked: what is no mapping of
    mappings stays as it is, to be found wrong where it stands.
    """
    if not isinstance(providers, Mapping):
        return providers
    catalogue = built_in()
    own = {name: laid_over(catalogue.get(name, {}), name, e) for name, e in providers.items()}
    return {name: {"name": name, **entry} for name, entry in catalogue.items()} | own


def laid_over(base: Mapping[str, Any], name: str, entry: Any) -> Any:
    given = written(entry)
    if given is None:
        return entry
    for field in EXTENDED:
        if isinstance(given.get(field), Mapping) and field in base:
            given[field] = {**base[field], **given[field]}
    return {"name": name, **base, **given}


def written(entry: Any) -> dict[str, Any] | None:
    """The fields that the user gave an entry; None if it is no entry at all."""
    if isinstance(entry, ProviderConfig):
        return entry.model_dump(exclude_unset=True)
    if not isinstance(entry, Mapping):
        return None
    given = dict(entry)
    adapter = given.pop("adapter", None)
    return given if adapter in (None, "") else {"dialect": adapter, **given}


def remember_written(provider: ProviderConfig, entry: Any) -> None:
    """Leaves in ``model_fields_set`` what the user wrote, so that the rest counts as the
    catalogue's, which has no timeouts.
    """
    provider.model_fields_set.intersection_update(written(entry) or ())
