"""Opens the store that a configuration names."""

from __future__ import annotations

from ..config.entries import StateStoreConfig
from ..config.redis_url import redis_address
from ..core.pool import StateStore
from ..errors import ConfigurationError
from ..stores.memory import MemoryStore
from .clock import Clock


def open_store(config: StateStoreConfig, clock: Clock) -> StateStore:
    """Nothing is connected yet. Raises ConfigurationError if a package is missing."""
    if config.backend == "memory":
        return MemoryStore()
    try:
        from ..stores.redis import RedisStore  # noqa: PLC0415 - few need it
        from .lines import Lines  # noqa: PLC0415 - brings redis
        from .link import Link  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(
            f"state_store.backend 'redis' needs {error.name}: pip install 'llm_rotate[redis]'"
        ) from error
    timeout_s = config.store_timeout_ms / 1000.0
    link = Link(Lines(redis_address(config.redis_url), timeout_s), timeout_s, clock)
    raises = config.on_store_failure == "raise"
    store = RedisStore(config.redis_namespace, link, raises=raises)
    if raises:
        link.meanwhile = "calls end with StoreError meanwhile"
    link.serve(store)
    return store
