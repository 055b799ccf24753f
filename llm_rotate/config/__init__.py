"""Configuration: what a registry holds, the built-in providers, and the loaders."""

from __future__ import annotations

from .entries import (
    DefaultsConfig,
    FallbackEntry,
    HttpConfig,
    KeyConfig,
    LimitsConfig,
    ProviderConfig,
    QuotaGroupConfig,
    StateStoreConfig,
    TimeoutsConfig,
)
from .environment import registry_from_environment
from .load import configure_from_dict, configure_from_file
from .models import LMRotateConfig

__all__ = [
    "DefaultsConfig",
    "FallbackEntry",
    "HttpConfig",
    "KeyConfig",
    "LMRotateConfig",
    "LimitsConfig",
    "ProviderConfig",
    "QuotaGroupConfig",
    "StateStoreConfig",
    "TimeoutsConfig",
    "configure_from_dict",
    "configure_from_file",
    "registry_from_environment",
]
