"""LMRotate: the pool's face. Thin methods only."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, cast

from .arguments import Steering, Tags, check_call, checked, messages_of, worded
from .config import LMRotateConfig
from .core.events import Listener
from .core.wire import Bounds, ChatRequest, Request
from .engine.assembly import Narrowed, narrowed_to
from .engine.exchange import HttpExchange, alike, bounds_of
from .engine.extra_headers import check_headers
from .engine.google import is_cold, warm
from .engine.lending import Loan, LoanExchange, SyncLoan
from .engine.pool import Pool, Seams
from .engine.portal import PORTAL
from .engine.report import HealthReport
from .engine.run import Grant, Plan
from .engine.stages import Stage
from .engine.stream import ChatStream
from .engine.sync_stream import SyncChatStream
from .engine.transport.httpx_client import check_client
from .engine.transport.seam import Timeouts
from .errors import ConfigurationError
from .helpers.chat_batches import ChatBatches
from .helpers.contents import Contents
from .helpers.embeddings import Embeddings
from .helpers.files import Files
from .helpers.transcriptions import Transcriptions
from .keys import Keys
from .types import ChatMessage, ChatResponse

if TYPE_CHECKING:
    from .lmclient.client import PoolClient

N = TypeVar("N", int, float)


class LMRotate(ChatBatches, Embeddings, Transcriptions, Contents, Files):
    """A pool of keys over many providers that behaves like one endpoint.

    Every coroutine, stream and context manager has a twin with ``_sync`` at its end, which
    works in scripts, notebooks and threads alike. ``http_client``: an httpx (or httpx2)
    AsyncClient of yours to send with; it is used as it is and not closed. ``seams`` is for
    tests (see llm_rotate.testing).
    """

    _takes_chains: ClassVar[bool] = True

    def __init__(
        self, config: LMRotateConfig, *, http_client: Any = None, seams: Seams | None = None
    ) -> None:
        if http_client is not None:
            check_client(http_client)
        self._pool = Pool(_checked(config), seams or Seams(), http_client)
        self.keys = Keys(self._pool)

    def __repr__(self) -> str:
        return f"LMRotate({len(self._pool.assembly.keys)} keys)"

    @property
    def config(self) -> LMRotateConfig:
        """What the pool was last told."""
        return self._pool.config

    # -- chat

    async def chat(  # noqa: PLR0913 - a public face: each a thing a call may say
        self,
        model: str,
        messages: str | Sequence[ChatMessage] | Sequence[Mapping[str, Any]],
        *,
        provider: str | None = None,
        endpoint: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        max_retries: int | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - a deadline for the whole call
        timeouts: Mapping[str, float] | None = None,
        max_wait_seconds: float | None = None,
        affinity: str | int | None = None,
        key_id: str | None = None,
        tags: Tags = None,
        region: str | None = None,
        **kwargs: Any,
    ) -> ChatResponse:
        """One answer. ``messages``: a list of them, or a text, which is one of the user's.

        ``provider``: only that one, no chain. ``endpoint``: "responses" sends to OpenAI's
        responses API, "chat_completion" to chat completions; None to what the provider is
        configured for. ``max_retries``: sends after a provider's fault
        (other keys after a refusal are not counted). ``timeout``: seconds for the whole call;
        ``timeouts``: connect, first_byte, first_event and idle of single steps, in seconds.
        ``max_wait_seconds``: how long to wait when every key rests. ``affinity``: calls with
        the same word keep to one key, for the provider's prompt cache. ``key_id``, ``tags``,
        ``region`` narrow the pool. ``extra_headers``: of this call, by their names. Everything
        else goes into the request: OpenAI's names (tools, response_format, stop, ...) are
        converted for each provider, the rest is sent as it is.

        Raises ConfigurationError, CapabilityError, NoAvailableKeyError, DeadlineError, or the
        ProviderError of the last attempt.
        """
        check_call(model, kwargs, endpoint)
        given = messages_of(messages)
        steering = Steering(
            *(provider, max_retries, timeout, timeouts, max_wait_seconds, affinity),
            *(key_id, tags, region),
        )
        request = ChatRequest(model, given, False, max_tokens, temperature, None, kwargs, endpoint)
        response: ChatResponse = await self._ask(request, steering)
        return response

    def chat_sync(
        self,
        model: str,
        messages: str | Sequence[ChatMessage] | Sequence[Mapping[str, Any]],
        **kwargs: Any,
    ) -> ChatResponse:
        """:meth:`chat` for code without a loop; inside a running one it blocks that loop."""
        return PORTAL.run(lambda: self.chat(model, messages, **kwargs))

    def chat_stream(  # noqa: PLR0913 - as chat
        self,
        model: str,
        messages: str | Sequence[ChatMessage] | Sequence[Mapping[str, Any]],
        *,
        provider: str | None = None,
        endpoint: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        max_retries: int | None = None,
        timeout: float | None = None,
        timeouts: Mapping[str, float] | None = None,
        max_wait_seconds: float | None = None,
        affinity: str | int | None = None,
        key_id: str | None = None,
        tags: Tags = None,
        region: str | None = None,
        **kwargs: Any,
    ) -> ChatStream:
        """A streamed answer: ``async for chunk in lm.chat_stream(...)``, without await.

        The arguments of :meth:`chat`. Nothing is sent before the first chunk is asked for.
        """
        check_call(model, kwargs, endpoint)
        given = messages_of(messages)
        steering = Steering(
            *(provider, max_retries, timeout, timeouts, max_wait_seconds, affinity),
            *(key_id, tags, region),
        )
        request = ChatRequest(model, given, True, max_tokens, temperature, None, kwargs, endpoint)
        return self._stream(request, steering)

    def _stream(self, request: ChatRequest, steering: Steering) -> ChatStream:
        narrowed = _narrowed(steering)
        opened: list[HttpExchange] = []

        async def start() -> tuple[Any, Any]:
            pinned = self._pool.pinned(request.options, narrowed, request.messages)
            plan = self._plan(request.model, steering, pinned)
            plan.is_stream = True
            plan.response_format = request.options.get(request.format_field)
            opened.append(self._exchange(request, steering.timeouts))
            return await self._run(plan, opened[0])

        return ChatStream(start, self._pool.judge, lambda: opened[0].idle_s)

    def chat_stream_sync(
        self,
        model: str,
        messages: str | Sequence[ChatMessage] | Sequence[Mapping[str, Any]],
        **kwargs: Any,
    ) -> SyncChatStream:
        """:meth:`chat_stream` as a plain iterator and context manager."""
        return SyncChatStream(self.chat_stream(model, messages, **kwargs))

    # -- raw keys

    def acquire(
        self,
        provider: str,
        *,
        model: str | None = None,
        max_wait_seconds: float | None = None,
        key_id: str | None = None,
        tags: Tags = None,
        region: str | None = None,
    ) -> Loan:
        """Lends a raw key: ``async with lm.acquire("openai", model=...) as key``.

        Leaving the block cleanly counts as a success; an SDK's exception on its way out is
        judged by its status, and comes out. Raises ConfigurationError and
        NoAvailableKeyError on entering.
        """
        narrowed = narrowed_to(key_id, tags, region)
        return Loan(
            lambda: self._borrow(provider, model, max_wait_seconds, narrowed), self._pool.judge
        )

    def acquire_sync(
        self,
        provider: str,
        *,
        model: str | None = None,
        max_wait_seconds: float | None = None,
        key_id: str | None = None,
        tags: Tags = None,
        region: str | None = None,
    ) -> SyncLoan:
        """:meth:`acquire` as a plain context manager; its reports are not awaited."""
        narrowed = narrowed_to(key_id, tags, region)
        return SyncLoan(
            lambda: PORTAL.run(lambda: self._borrow(provider, model, max_wait_seconds, narrowed)),
            self._pool.judge,
        )

    async def _borrow(
        self, provider: str, model: str | None, max_wait_s: float | None, narrowed: Narrowed | None
    ) -> Grant:
        defaults = self._pool.config.defaults
        wait = _or(defaults.max_wait_seconds, "max_wait_seconds", max_wait_s)
        stage = self._pool.stages(model, provider, narrowed)[0]
        plan = Plan(model or provider, (stage,), 0, wait)
        verdict, _ = await self._pool.rotation.run(plan, LoanExchange())
        return cast("Grant", verdict.value)

    # -- looking and steering

    async def health(self) -> HealthReport:
        """The state of every key and provider, now."""
        return await self._pool.health()

    def health_sync(self) -> HealthReport:
        """:meth:`health` for code without a loop."""
        return PORTAL.run(self.health)

    async def usage_summary(self) -> dict[str, Any]:
        """Counts since the pool was made; with state in Redis, of all who share it. ``total``,
        ``by_provider``, ``by_key`` and ``by_model``, each with successes, failures, tokens,
        prompt_tokens, completion_tokens and cost (USD or None). Successes and failures are
        attempts.
        """
        return await self._pool.usage()

    def cost(self, response: ChatResponse) -> float | None:
        """What an answer cost, in US dollars; None where no price is known."""
        return self._pool.price(response.provider, response.model, response.usage)

    def usage_summary_sync(self) -> dict[str, Any]:
        """:meth:`usage_summary` for code without a loop."""
        return PORTAL.run(self.usage_summary)

    def listen(self, listener: Listener) -> AbstractContextManager[None]:
        """``with lm.listen(print): ...`` hears one Event per thing that happens, in the thread
        where it happens. What the listener raises is logged, never passed on.
        """
        return _listening(self._pool.judge.herald.listeners, listener)

    def reload_config(self, config: LMRotateConfig) -> None:
        """Takes a new configuration for the next call. Keys that stay keep their health;
        calls in flight end on the old one.
        """
        self._pool.reload(_checked(config))

    async def close(self) -> None:
        """Closes this loop's connections in order, other loops' at once. Calls under way end with
        PoolClosedError, streams that have begun with StreamInterruptedError. The pool can be used
        again; it then opens new ones.
        """
        await self._pool.aclose()

    def close_sync(self) -> None:
        """:meth:`close` for code without a loop."""
        PORTAL.run(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_sync()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def client(self, model: str | Mapping[str, float], **options: Any) -> PoolClient:
        """An :class:`LMClient` of this pool: its methods, bound to ``model`` (or several, as
        {name: weight}). ``endpoint``, ``max_parallel_requests``, ``timeout`` and
        ``default_request_kwargs`` as there; limits, keys and strategy are the pool's.
        """
        from .lmclient.client import PoolClient  # noqa: PLC0415 - it stands on this module

        return PoolClient(self, model, **options)

    # -- from arguments to a plan

    def _bounds(
        self, kind: type[Request], models: Sequence[str], steering: Steering
    ) -> Sequence[Bounds]:
        """What each stage of the call takes in one request of this kind, where it can."""
        narrowed = _narrowed(steering)
        ways = (self._pool.stages(name, steering.provider, narrowed) for name in models)
        return [each for stages in ways for each in bounds_of(alike(stages, kind), kind)]

    def _check(self, models: Sequence[str], steering: Steering, options: Mapping[str, Any]) -> None:
        """Raises ConfigurationError for what would be wrong for every row of a batch."""
        self._plan(models, steering, _narrowed(steering))
        _timeouts({} if steering.timeouts is None else steering.timeouts)
        check_headers(options)

    async def _ask(
        self, request: Request, steering: Steering, models: Sequence[str] | None = None
    ) -> Any:
        """Any request but a stream, through the rotation. ``models``: the request's own, and
        those that it goes on to.
        """
        messages = getattr(request, "messages", ())
        pinned = self._pool.pinned(request.options, _narrowed(steering), messages)
        plan = self._plan(models or request.model, steering, pinned)
        plan.response_format = request.options.get("response_format")
        plan.stages = alike(plan.stages, type(request))
        verdict, run = await self._run(plan, self._exchange(request, steering.timeouts))
        return self._pool.judge.answered(run, verdict)

    async def _run(self, plan: Plan, exchange: HttpExchange) -> tuple[Any, Any]:
        if is_cold(plan.stages):
            await warm()
        return await self._pool.rotation.run(plan, exchange)

    def _plan(
        self, model: str | Sequence[str], steering: Steering, narrowed: Narrowed | None
    ) -> Plan:
        pool, provider, timeout = self._pool, steering.provider, steering.timeout
        defaults = pool.config.defaults
        if isinstance(model, str):
            stages = pool.stages(model or None, provider, narrowed)
        else:
            ways = (pool.stages(name, provider, narrowed) for name in model)
            stages = tuple(chain.from_iterable(ways))
        limit = stages[0].provider.deadline_s if timeout is None else checked("timeout", timeout)
        return Plan(
            asked=_first(model),
            stages=stages,
            max_retries=_or(defaults.max_retries, "max_retries", steering.max_retries),
            max_wait_s=_or(
                defaults.max_wait_seconds, "max_wait_seconds", steering.max_wait_seconds
            ),
            timeout_s=limit,
            deadline=math.inf if limit is None else pool.clock.now() + limit,
            affinity=worded(steering.affinity),
            is_pinned=provider is not None,
            takes_chains=self._takes_chains,
        )

    def _exchange(self, request: Request, timeouts: Mapping[str, float] | None) -> HttpExchange:
        pool = self._pool
        own = _timeouts(timeouts) if timeouts is not None else _provider_timeouts
        return HttpExchange(request, pool.loops.served(), pool.judge, own)


def _checked(config: object) -> LMRotateConfig:
    if isinstance(config, LMRotateConfig):
        return config
    raise ConfigurationError(
        f"a pool takes an LMRotateConfig, not {type(config).__name__}: "
        "configure_from_dict(registry) or configure_from_file(path) makes one"
    )


def _narrowed(steering: Steering) -> Narrowed | None:
    return narrowed_to(steering.key_id, steering.tags, steering.region)


def _provider_timeouts(stage: Stage) -> Timeouts:
    return stage.provider.timeouts


def _timeouts(own: Mapping[str, float]) -> Callable[[Stage], Timeouts]:
    known = Timeouts.__dataclass_fields__
    if not isinstance(own, Mapping):
        raise ConfigurationError(
            f"timeouts must be a mapping of steps ({', '.join(known)}) to seconds; "
            "one time for the whole call is timeout="
        )
    for name, seconds in own.items():
        if name not in known:
            raise ConfigurationError(
                f"timeouts has no {name!r}; it has {', '.join(known)} (seconds each)"
            )
        checked(f"timeouts[{name!r}]", seconds)
    return lambda stage: replace(stage.provider.timeouts, **own)


def _or(default: N, name: str, given: N | None) -> N:
    return default if given is None else checked(name, given, may_be_zero=True)


def _first(model: str | Sequence[str]) -> str:
    return model if isinstance(model, str) else model[0]


@contextmanager
def _listening(listeners: list[Listener], listener: Listener) -> Iterator[None]:
    listeners.append(listener)
    try:
        yield
    finally:
        listeners.remove(listener)
