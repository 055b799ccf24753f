"""The shared state of a running fleet, as a command looks at it or acts on it."""

from __future__ import annotations

import logging
from pathlib import Path

from ..client import LMRotate
from ..errors import ConfigurationError
from .source import configuration, pool

PATIENCE_MS = 5_000  # a person waits longer for Redis than a call does


def fleet(path: Path | None) -> LMRotate:
    """A pool that shares the state which ``path`` names, and raises StoreError where it cannot
    be reached. No secret is read. Raises ConfigurationError if nothing is shared.
    """
    config = configuration(path)
    store = config.state_store
    if store.backend == "memory":
        raise ConfigurationError(
            f"{f'{path}: ' if path else ''}state_store.backend is 'memory': each process keeps "
            "the health of its keys to itself, so there is nothing here to read or to change. "
            "With 'redis' they share it"
        )
    logging.getLogger("llm_rotate").addHandler(logging.NullHandler())  # the error says it
    patient = {
        "store_timeout_ms": max(store.store_timeout_ms, PATIENCE_MS),
        "on_store_failure": "raise",
    }
    own = {"state_store": store.model_copy(update=patient)}
    return pool(config.model_copy(update=own), path)
