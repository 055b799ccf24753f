"""LMClient: the face."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, cast

from ..client import LMRotate
from ..engine.portal import PORTAL
from ..errors import ConfigurationError
from ..helpers.batch import BatchResult, OnProgress, OnResult
from ..helpers.chat import Spray
from ..types import ChatResponse
from .deployment import DeploymentConfig
from .inputs import EndpointType, checked_endpoint, format_of, messages_of, parsed_text, rows_of
from .results import GenerationResult, generation_of
from .servers import servers_of
from .translation import config_of, timeouts_of

T = TypeVar("T")
WINDOW = 32


class LMClient:
    """One model, on one server or on many, with batches first.

    Single endpoint: ``model="openai/gpt-4.1-mini"``, with ``api_base`` and ``api_key`` where
    they are needed. Without ``api_key`` all keys that the environment has for the provider
    are used in turn. Several servers: ``model="llama-3"``, a name of your own, with
    ``deployments``: label -> DeploymentConfig, or a mapping with its fields.

    - ``endpoint``: "chat_completion" or "responses"; a call may say another.
    - ``max_parallel_requests``: requests under way at a time, of all calls and batches
      together; None: no bound for single calls, 32 rows at a time for a batch.
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
            LMRotate(config),
            servers.models,
            endpoint=endpoint,
            window=max_parallel_requests,
            keywords=default_request_kwargs or {},
        )

    def _bind(
        self,
        lm: LMRotate,
        models: Mapping[str, float],
        *,
        endpoint: EndpointType,
        window: int | None,
        keywords: Mapping[str, Any],
    ) -> None:
        self._lm = lm
        self._models = models
        self._spray = Spray(models)
        self._endpoint = checked_endpoint(endpoint)
        self._window = window or WINDOW
        self._keywords = keywords

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._models)}; {self._lm!r})"

    @property
    def lm(self) -> LMRotate:
        """The pool behind it: health(), keys, listen() and what else it has."""
        return self._lm

    # -- generation

    def generate(
        self,
        input_data: Any,
        *,
        endpoint: EndpointType | None = None,
        response_format: Any = None,
        parse_output: bool = False,
        **kwargs: Any,
    ) -> GenerationResult:
        """:meth:`agenerate` for code without a loop; it works in notebooks, too."""
        return _sync(
            lambda: self.agenerate(
                input_data,
                endpoint=endpoint,
                response_format=response_format,
                parse_output=parse_output,
                **kwargs,
            )
        )

    async def agenerate(
        self,
        input_data: Any,
        *,
        endpoint: EndpointType | None = None,
        response_format: Any = None,
        parse_output: bool = False,
        **kwargs: Any,
    ) -> GenerationResult:
        """One answer.

        ``input_data``: a prompt or a list of messages; for the responses endpoint also
        {"input": ..., "instructions": ...}. ``response_format``: a pydantic class, a JSON
        schema, or OpenAI's own form; it goes to the provider, and the answer into
        ``output_parsed``. ``parse_output``: reads the answer as JSON without one. Other
        keywords are those of the pool's ``chat``, except that ``timeout`` is for one request.

        Raises ConfigurationError for an input of a wrong shape, else what ``chat`` raises.
        """
        where = checked_endpoint(endpoint or self._endpoint)
        said = self._said(kwargs, where, response_format)
        messages = messages_of(input_data, where)
        first, *others = self._spray.next()
        if not others:
            response = await self._lm.chat(first, messages, **said)
            return self._result(response, parse_output)
        models = [first, *others]
        batch = await self._lm.chat_batch(models, [messages], return_exceptions=False, **said)
        return self._result(cast("ChatResponse", batch.results[0]), parse_output)

    def generate_batch(
        self,
        input_batch: Iterable[Any],
        *,
        endpoint: EndpointType | None = None,
        response_format: Any = None,
        parse_output: bool = False,
        return_exceptions: bool = True,
        on_progress: OnProgress | None = None,
        on_result: OnResult | None = None,
        **kwargs: Any,
    ) -> BatchResult[GenerationResult]:
        """:meth:`agenerate_batch` for code without a loop; callbacks run in the thread that
        serves such calls.
        """
        return _sync(
            lambda: self.agenerate_batch(
                input_batch,
                endpoint=endpoint,
                response_format=response_format,
                parse_output=parse_output,
                return_exceptions=return_exceptions,
                on_progress=on_progress,
                on_result=on_result,
                **kwargs,
            )
        )

    async def agenerate_batch(
        self,
        input_batch: Iterable[Any],
        *,
        endpoint: EndpointType | None = None,
        response_format: Any = None,
        parse_output: bool = False,
        return_exceptions: bool = True,
        on_progress: OnProgress | None = None,
        on_result: OnResult | None = None,
        **kwargs: Any,
    ) -> BatchResult[GenerationResult]:
        """Every input answered: results in order, errors beside them.

        ``input_batch``: a list, or anything that can be gone through once; of a list every
        input's shape is checked before anything is sent. ``return_exceptions``: False raises
        the first failure and cancels the rest. ``on_progress(completed, total)`` and
        ``on_result(index, result, error)``: after each row. The rest as in :meth:`agenerate`,
        and as in the pool's ``chat_batch``.
        """
        where = checked_endpoint(endpoint or self._endpoint)
        said = self._said(kwargs, where, response_format)
        if isinstance(input_batch, list | tuple):
            for row in input_batch:
                messages_of(row, where)
        return await self._lm.chat_batch(
            self._models,
            rows_of(input_batch, where),
            postprocess=lambda response: self._result(response, parse_output),
            return_exceptions=return_exceptions,
            on_progress=on_progress,
            on_result=on_result,
            **{"max_parallel_requests": self._window, **said},
        )

    # -- from here to the pool and back

    def _said(
        self, given: Mapping[str, Any], endpoint: EndpointType, response_format: Any
    ) -> dict[str, Any]:
        """The keywords of one call. It waits for room as long as it takes."""
        said = {"max_wait_seconds": math.inf, **self._keywords, **given}
        if endpoint != "chat_completion":
            said["endpoint"] = endpoint
        if (seconds := said.pop("timeout", None)) is not None:
            said["timeouts"] = timeouts_of(seconds)
        if response_format is not None:
            said["response_format"] = format_of(response_format)
        return said

    def _result(self, response: ChatResponse, parse_output: bool) -> GenerationResult:
        parsed = response.parsed
        if parsed is None and parse_output:
            parsed = parsed_text(response.content)
        return generation_of(response, parsed, self._lm.cost(response))

    # -- an end

    def close(self) -> None:
        """Closes the connections of the client's own pool. A later call opens new ones."""
        if self._owns_pool:
            self._lm.close_sync()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._owns_pool:
            await self._lm.close()


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


def _sync(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return PORTAL.run(make)
