"""``llm-rotate config``: registry files, before they are used."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ..client import LMRotate
from ..config import FallbackEntry, KeyConfig, LMRotateConfig
from ..config.schema import registry_schema
from .source import configuration

app = typer.Typer(
    help="Check a registry file, or print the schema of such files.", no_args_is_help=True
)


@app.command()
def validate(path: Annotated[Path, typer.Argument(help="A JSON or YAML file.")]) -> None:
    """Say all that is wrong with a registry file, or in short what is in it.

    The exit status is 2 if anything is wrong. Secrets are not read, nothing is sent.
    """
    config = configuration(path)
    LMRotate(config)  # finds what a pool of this version cannot run
    typer.echo(f"{path}: well")
    for line in summary(config):
        typer.echo(f"  {line}")


@app.command()
def schema() -> None:
    """Print the JSON Schema of registry files, for editors."""
    typer.echo(json.dumps(registry_schema(), indent=2))


def summary(config: LMRotateConfig) -> Iterator[str]:
    """Keys by provider, chains, strategy."""
    for provider, count in Counter(key.provider for key in config.keys).items():
        ids = ", ".join(_named(key) for key in config.keys if key.provider == provider)
        yield f"{provider}: {count} {'key' if count == 1 else 'keys'} ({ids})"
    for name, entries in config.fallback_chains.items():
        yield f"chain of {name}: {', then '.join(map(_stage, entries))}"
    yield f"strategy: {config.defaults.selection_strategy}"


def _named(key: KeyConfig) -> str:
    return key.key_id if key.enabled else f"{key.key_id}, not enabled"


def _stage(entry: FallbackEntry) -> str:
    via = f" via {entry.upstream}" if entry.upstream else ""
    names = [entry.model] if entry.model else [f"{a} as {b}" for a, b in entry.models.items()]
    told = f" ({', '.join(names)})" if names else ""
    return f"{entry.provider}{via}{told}"
