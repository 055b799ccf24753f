"""Libraries that only some options need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ...errors import ConfigurationError


def needed(module: str, extra: str, purpose: str) -> Any:
    """The module. Raises ConfigurationError, which names the extra, if it is not installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError:
        raise ConfigurationError(
            f"{purpose} needs {module.partition('.')[0]}; from a checkout: pip install '.[{extra}]'"
        ) from None
