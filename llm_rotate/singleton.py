"""``configure()`` and ``lm``: one pool for the whole program."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .errors import ConfigurationError

if TYPE_CHECKING:
    from .client import LMRotate
    from .config import LMRotateConfig

_made: LMRotate | None = None


def configure(
    use_keys: Sequence[str] | None = None,
    *,
    registry: Mapping[str, Any] | None = None,
    config: LMRotateConfig | None = None,
    strategy: Any = None,
    priorities: Mapping[str, int] | None = None,
    fallback_chains: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
) -> None:
    """Makes ``lm``, once, before its first use.

    Give ``config=``, or ``registry=`` with ``use_keys`` (all its keys if left out), or
    nothing: then the keys come from the environment (OPENAI_API_KEY, OPENAI_API_KEY_2,
    OPENAI_API_KEYS=a,b and so on for every provider). Raises ConfigurationError when the
    configuration is wrong, when no key is found, and when called a second time.
    """
    global _made  # noqa: PLW0603 - the singleton
    if _made is not None:
        raise ConfigurationError(
            "configure() was called twice: to change the pool, call lm.reload_config(config); "
            "to begin anew, as in a notebook's cell that runs again or in tests, call "
            "reset_singleton() first"
        )
    from .client import LMRotate  # noqa: PLC0415 - httpx and pydantic load with the first pool

    _made = LMRotate(_config(use_keys, registry, config, strategy, priorities, fallback_chains))


def _config(
    use_keys: Sequence[str] | None,
    registry: Mapping[str, Any] | None,
    config: LMRotateConfig | None,
    strategy: Any,
    priorities: Mapping[str, int] | None,
    fallback_chains: Mapping[str, Sequence[Mapping[str, Any]]] | None,
) -> LMRotateConfig:
    from .config import (  # noqa: PLC0415 - as above
        configure_from_dict,
        registry_from_environment,
    )

    if config is not None and registry is not None:
        raise ConfigurationError("configure() takes config= or registry=, not both")
    rest = {"strategy": strategy, "priorities": priorities, "fallback_chains": fallback_chains}
    if config is not None:
        given = [name for name, value in (("use_keys", use_keys), *rest.items()) if value]
        if given:
            raise ConfigurationError(
                f"configure(config=...) is complete: {', '.join(given)} belong with registry="
            )
        return config
    if isinstance(use_keys, str):
        raise ConfigurationError(
            "use_keys must be a list of key_ids, not one text; a file is read by "
            "configure(config=configure_from_file(path))"
        )
    found = registry_from_environment(os.environ) if registry is None else registry
    return configure_from_dict(found, None if use_keys is None else list(use_keys), **rest)


def reset_singleton() -> None:
    """Forgets ``lm``'s pool, so that ``configure()`` can be called again: for tests, and for
    cells of notebooks that run again.
    """
    global _made
    made, _made = _made, None
    if made is not None:
        made.close_sync()


class _Proxy:
    """The configured LMRotate, whatever it is at the moment."""

    def __getattr__(self, name: str) -> Any:
        if _made is None:
            if name.startswith("__"):  # inspection must not fail, as doctest's and mock's
                raise AttributeError(name)
            raise ConfigurationError(
                f"lm.{name} was used before configure(): call "
                "llm_rotate.configure(registry=..., use_keys=[...]) first, or configure() with "
                "OPENAI_API_KEY or the like in the environment"
            )
        return getattr(_made, name)

    def __enter__(self) -> Any:
        _ = self.close  # raises ConfigurationError before configure()
        return _made

    def __exit__(self, *raised: object) -> None:
        self.close_sync()

    async def __aenter__(self) -> Any:
        _ = self.close  # raises ConfigurationError before configure()
        return _made

    async def __aexit__(self, *raised: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return "<lm: not configured>" if _made is None else f"<lm: {_made!r}>"


if TYPE_CHECKING:
    lm: LMRotate
else:
    lm = _Proxy()
