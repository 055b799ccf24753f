"""Where the sub-commands get their keys, and which model they ask when none is named."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from ..client import LMRotate
from ..config import (
    KeyConfig,
    LMRotateConfig,
    configure_from_dict,
    configure_from_file,
    registry_from_environment,
)
from ..errors import ConfigurationError

# A small model of each provider, for keys that list none. The names are the vendors' own.
SMALL_MODELS: Mapping[str, str] = {
    "openai": "gpt-4o-mini",
    "anthropic": "claude-haiku-4-5",
    "openrouter": "openai/gpt-4o-mini",
    "mistral": "mistral-small-latest",
    "deepseek": "deepseek-chat",
    "groq": "llama-3.1-8b-instant",
}

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="A registry file; without it, the environment's keys.",
    ),
]


def configuration(path: Path | None) -> LMRotateConfig:
    """From a file, or from the environment. Its warnings go to stderr, a line each.

    Raises ConfigurationError.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        config = _from_environment() if path is None else configure_from_file(path)
    for warning in caught:
        typer.echo(f"warning: {warning.message}", err=True)
    return config


def _from_environment() -> LMRotateConfig:
    try:
        registry = registry_from_environment(os.environ)
    except ConfigurationError as error:
        looked_for, _, _ = str(error).rpartition("; or ")  # what follows is for programs
    else:
        return configure_from_dict(registry, None)
    raise ConfigurationError(f"{looked_for}; or pass --config FILE")


def pool(config: LMRotateConfig, path: Path | None) -> LMRotate:
    """The pool of a configuration from ``path``.

    Raises ConfigurationError, with the file's name, for what cannot run here.
    """
    try:
        return LMRotate(config)
    except ConfigurationError as error:
        reason = str(error)
    raise ConfigurationError(f"{path}: {reason}" if path else reason)


def listed_model(config: LMRotateConfig, key: KeyConfig) -> str | None:
    """The first model that ``key``, else its provider, is said to serve."""
    return next(iter(key.models or config.providers[key.provider].supported_models), None)


def model_of(config: LMRotateConfig, key: KeyConfig) -> str | None:
    """What to ask of ``key`` when no model is named; None if nothing is known."""
    return listed_model(config, key) or SMALL_MODELS.get(key.provider)


def default_model(config: LMRotateConfig, provider: str | None) -> str:
    """The first listed model, else a small one of the first key, as ``provider/model``.

    Raises ConfigurationError if none is known.
    """
    enabled = [key for key in config.keys if key.enabled]
    keys = [key for key in enabled if provider in (None, key.provider)]
    for find in (listed_model, model_of):
        for key in keys:
            model = find(config, key)
            if model:
                return f"{key.provider}/{model}"
    if keys:
        raise ConfigurationError("no key lists a model: name one with --model")
    named = ", ".join(dict.fromkeys(key.provider for key in enabled)) or "nobody"
    whose = f" of {provider}" if provider else ""
    raise ConfigurationError(f"no enabled key{whose}; there are keys of: {named}")
