"""``llm-rotate config``: registry files, before they are used."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from ..config import FallbackEntry, KeyConfig, LMRotateConfig, StateStoreConfig
from ..config.schema import registry_schema
from ..providers import DIALECTS
from .source import configuration, pool
from .wording import Worded

app = typer.Typer(
    help="Check a registry file, or print the schema of such files.", no_args_is_help=True
)

# How a secret of its own is sent; other ways find credentials by themselves.
HEADERS = frozenset({"bearer", "api-key", "x-api-key", "x-goog-api-key"})
UNSPOKEN = "chains skip it, calls to it are refused, acquire lends its keys"


@app.command(cls=Worded)
def validate(
    path: Annotated[Path, typer.Argument(metavar="FILE", hidden=True)],
) -> None:
    """Say all that is wrong with a registry file, or what is in it.

    FILE is a JSON or YAML file. Notes say what this version will not do of it. The exit
    status is 2 if anything is wrong. Secrets are not read, nothing is sent.
    """
    config = configuration(path)
    here = config.model_copy(update={"state_store": StateStoreConfig()})  # another needs its extra
    pool(here, path)  # finds what cannot run
    typer.echo(f"{path}: well")
    for line in summary(config):
        typer.echo(f"  {line}")
    for note in notes(config):
        typer.echo(f"note: {note}")


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


def notes(config: LMRotateConfig) -> Iterator[str]:
    """What is well said, and yet will not happen."""
    served = {key.provider for key in config.keys if key.enabled}
    stages = {(n, e.provider): None for n, es in config.fallback_chains.items() for e in es}
    for name, provider in stages:
        if provider not in served:
            yield f"the chain of {name} skips {provider}, which has no enabled key"
    for provider in dict.fromkeys(key.provider for key in config.keys):
        spoken = config.providers[provider].dialect
        if spoken not in DIALECTS:
            yield f"{provider} speaks {spoken!r}, which this version does not: {UNSPOKEN}"
    for key in config.keys:
        if key.enabled and not key.secret_ref and config.endpoint(key).auth in HEADERS:
            yield f"{key.key_id} has no secret_ref: calls with it fail"
    groups = {key.quota_group for key in config.keys}
    for name in config.quota_groups:
        if name not in groups:
            yield f"no key belongs to the quota group {name}"
    if config.state_store.backend == "redis" and find_spec("redis") is None:
        yield "state_store.backend redis needs where it runs: pip install 'llm_rotate[redis]'"


def _named(key: KeyConfig) -> str:
    return key.key_id if key.enabled else f"{key.key_id}, not enabled"


def _stage(entry: FallbackEntry) -> str:
    via = f" via {entry.upstream}" if entry.upstream else ""
    names = [entry.model] if entry.model else [f"{a} as {b}" for a, b in entry.models.items()]
    told = f" ({', '.join(names)})" if names else ""
    return f"{entry.provider}{via}{told}"
