"""Pools whose providers are simulated."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from .routes import dialect_of

if TYPE_CHECKING:
    from ..config import LMRotateConfig
    from ..engine.pool import Seams
    from .clock import FakeTime
    from .memory import MemoryTransport

Chains = Mapping[str, Sequence[Mapping[str, Any]]]


def pool_config(
    keys: Mapping[str, str],
    url: Callable[[str], str],
    secret: Callable[[str], str],
    priorities: Mapping[str, int],
    *,
    fallback_chains: Chains,
    **fields: Any,
) -> LMRotateConfig:
    """The configuration of a pool of ``keys`` (key id -> provider) served below ``url``.

    Every key serves any model. ``fields`` are further fields of a configuration.
    """
    from ..config import LMRotateConfig  # noqa: PLC0415  pydantic is slow to import

    stages = (entry["provider"] for chain in fallback_chains.values() for entry in chain)
    # model_validate does not warn of literal:// secrets: these are no secrets.
    return LMRotateConfig.model_validate(
        {
            "providers": {name: _provider(name, url) for name in {*keys.values(), *stages}},
            "keys": [
                {
                    "key_id": key_id,
                    "provider": provider,
                    "secret_ref": f"literal://{secret(key_id)}",
                    "priority": priorities.get(key_id, 0),
                }
                for key_id, provider in keys.items()
            ],
            "fallback_chains": {name: [*chain] for name, chain in fallback_chains.items()},
            **fields,
        }
    )


def _provider(name: str, url: Callable[[str], str]) -> dict[str, Any]:
    families = {"families": ["gpt-*"]} if name == "openai_responses" else {}
    return {"base_url": url(name), "dialect": dialect_of(name), **families}


def providers_of(keys: Sequence[str] | Mapping[str, str], provider: str) -> Mapping[str, str]:
    """Key id -> provider, from such a mapping or from ids that are all of ``provider``.

    Raises ConfigurationError for a text, whose letters would be ids.
    """
    if isinstance(keys, str):
        raise ConfigurationError(f"keys must be a list of key_ids: [{keys!r}]")
    return keys if isinstance(keys, Mapping) else dict.fromkeys(keys, provider)


def fake_seams(clock: FakeTime, open_transport: Callable[[], MemoryTransport]) -> Seams:
    """What an engine needs to live in fake time, its dice the same in every run."""
    from ..engine.pool import Seams  # noqa: PLC0415  who only serves needs no engine

    return Seams(clock=clock, rng=random.Random(0), open_transport=open_transport)
