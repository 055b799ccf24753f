"""LMClient: the face."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ..client import LMRotate
from ..errors import ConfigurationError
from .deployment import DeploymentConfig
from .embeddings import Embeddings
from .generation import Generation
from .inputs import EndpointType
from .servers import servers_of
from .transcriptions import Transcriptions
from .translation import config_of, timeouts_of


class _OwnPool(LMRotate):
    """A client's words have none for chains, so no error advises one."""

    _takes_chains = False


class LMClient(Generation, Embeddings, Transcriptions):
    """One model, on one server or on many, with batches first.

    Single endpoint: ``model="openai/gpt-4.1-mini"``, with ``api_base`` and ``api_key`` where
    they are needed. Without ``api_key`` all keys that the environment has for the provider
    are used in turn. Several servers: ``model="llama-3"``, a name of your own, with
    ``deployments``: label -> DeploymentConfig, or a mapping with its fields.

    - ``endpoint``: "chat_completion" or "responses"; a call may say another.
    - ``max_parallel_requests``: requests under way at a time, of all calls and batches
      together; None: no bound for single calls, and as many rows of a batch as do best.
    - ``rpm``, ``tpm``, ``rpd``, ``tpd``: requests and tokens per minute and day, of all
      deployments together. ``max_request_burst``, ``max_token_burst``: what may go at once.
      Calls wait in order for room.
    - ``header_bucket_scope``: whether rate-limit headers speak of a minute or of a day.
    - ``default_output_tokens``: reserved for answers without ``max_tokens``; 0: what recent
      answers suggest.
    - ``timeout``: seconds for one request; waiting for room is not counted. None: the pool's.
    - ``max_retries``: requests sent again after a provider's fault. Going on to another key or
      deployment after a refusal is not counted.
    - ``default_request_kwargs``: keywords of every request.
    - ``routing_strategy``: "simple-shuffle", "least-busy", "latency-based-routing" or
      "usage-based-routing". ``router_kwargs``: further fields of the pool's ``defaults``, such
      as ``cooldown_seconds``.

    The client is a context manager, with and without ``async``. Every method has an ``a`` twin
    for code with an event loop; the others work everywhere, notebooks included. Raises
    ConfigurationError, which is a ValueError, for what cannot be.
    """

    def __init__(  # noqa: PLR0913 - the reference's own
        self,
        *,
        model: str | None = None,
        api_base: str | None = None,
        api_key: str | None = None,
        deployments: Mapping[str, DeploymentConfig | Mapping[str, Any]] | None = None,
        endpoint: EndpointType = "chat_completion",
        max_parallel_requests: int | None = None,
        rpm: int | None = None,
        tpm: int | None = None,
        rpd: int | None = None,
        tpd: int | None = None,
        max_request_burst: int | None = None,
        max_token_burst: int | None = None,
        header_bucket_scope: Literal["minute", "day", "auto"] = "auto",
        default_output_tokens: int = 0,
        timeout: float | None = None,
        max_retries: int = 3,
        default_request_kwargs: Mapping[str, Any] | None = None,
        routing_strategy: str = "simple-shuffle",
        router_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        servers = servers_of(model, api_base, api_key, deployments)
        config = config_of(
            servers,
            limits=(rpm, tpm, rpd, tpd, max_request_burst, max_token_burst, max_parallel_requests),
            defaults={
                "max_retries": max_retries,
                "output_tokens": default_output_tokens or None,
                "timeouts": timeouts_of(timeout),
            },
            routing_strategy=routing_strategy,
            router_kwargs=router_kwargs,
            header_bucket_scope=header_bucket_scope,
        )
        self._owns_pool = True
        self._bind(
            _OwnPool(config),
            servers.models,
            endpoint=endpoint,
            window=max_parallel_requests,
            keywords=default_request_kwargs or {},
        )


class PoolClient(LMClient):
    """An LMClient of a pool that is there already: see :meth:`LMRotate.client`. Closing it
    leaves the pool open.
    """

    def __init__(
        self,
        lm: LMRotate,
        model: str | Mapping[str, float],
        *,
        endpoint: EndpointType = "chat_completion",
        max_parallel_requests: int | None = None,
        timeout: float | None = None,
        default_request_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        if not model:
            raise ConfigurationError("model is missing: name what the client asks for")
        steps = {"timeouts": timeouts_of(timeout)} if timeout else {}
        self._owns_pool = False
        self._bind(
            lm,
            {model: 1.0} if isinstance(model, str) else model,
            endpoint=endpoint,
            window=max_parallel_requests,
            keywords={**steps, **(default_request_kwargs or {})},
        )
