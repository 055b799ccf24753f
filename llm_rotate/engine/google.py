"""Attempts that the google-genai SDK sends, over the pool's own transport."""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import ssl
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

from ..core.outcome import Outcome
from ..core.wire import ChatRequest, Endpoint, Headers, HttpRequest, Ready, Verdict
from ..errors import ConfigurationError
from ..providers.jsonio import dumps, loads
from .extra_headers import Pairs, with_headers
from .run import Grant
from .stages import PoolKey, Stage
from .transport.seam import Answer, Timeouts, Transport, TransportError, Withdrawn

_VERSIONED = re.compile(r"(.*)/(v\d\w*)")


@cache
def _genai(name: str = "google.genai") -> Any:
    """The package, or a module of it. Raises ConfigurationError that names the extra."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigurationError(
            "Gemini is sent by the google-genai SDK, which is not installed: "
            "pip install 'llm_rotate[google]'"
        ) from error


def is_cold(stages: Sequence[Stage]) -> bool:
    """Is one of them served by an SDK that is not imported yet?"""
    return not _shape.cache_info().currsize and any(each.provider.sdk for each in stages)


# By process: a fork leaves the thread behind that was at it.
_IMPORTS: dict[int, Future[None]] = {}


async def warm() -> None:
    """Imports what takes half a second to import, off the loop, once for all who wait."""
    own: Future[None] = Future()
    first = _IMPORTS.setdefault(os.getpid(), own)
    if first is own:
        threading.Thread(target=_import_all, args=(own,), daemon=True).start()
    await asyncio.shield(asyncio.wrap_future(first))


def _import_all(done: Future[None]) -> None:
    try:
        _rehearse()
    except BaseException as error:
        del _IMPORTS[os.getpid()]  # it may be installed before the next call
        done.set_exception(error)
    else:
        done.set_result(None)


def _rehearse() -> None:
    """A call that ends before it is sent. What the SDK makes at its first call is made here:
    a fork in the midst of that would leave a lock behind that nobody opens.
    """
    read = _read(b'{"contents": [{"parts": [{"text": "x"}]}], "config": {}}')
    client = _client("x", Endpoint("x", "http://rehearsal.invalid"), *_http_clients())
    with suppress(RuntimeError):
        client.models.generate_content(model="x", contents=read.contents, config=read.config)


# -- arguments


class SdkCall:
    """Arguments of ``generate_content``: as the dialect encoded them, made the SDK's own types
    when the first key sends them.
    """

    def __init__(self, request: ChatRequest, body: Any) -> None:
        self.is_stream = request.stream
        self._request = request
        self._body = body
        self._made: dict[str, Any] | None = None

    def arguments(self) -> dict[str, Any]:
        """Raises ValueError for what the SDK has no word for."""
        if self._made is None:
            read = _read(self._body)
            _one_request(read.config)
            made = {"contents": read.contents, "config": read.config}
            self._made = {"model": self._request.model, **made}
        return self._made


def _one_request(config: Any) -> None:
    """One attempt is one request. Older versions of the SDK know the first of the two only."""
    types = _genai("google.genai.types")
    config.automatic_function_calling = types.AutomaticFunctionCallingConfig(disable=True)
    if "automatic_continuation" in type(config).model_fields:
        config.automatic_continuation = False


@cache
def _shape() -> Any:
    """The dialect's JSON as a pydantic class of the SDK's types."""
    from pydantic import create_model  # noqa: PLC0415 - slow to import; the SDK brings it

    types: Any = _genai("google.genai.types")
    content: Any = types.Content
    return create_model(
        "Arguments",
        contents=(list[content], ...),
        config=(types.GenerateContentConfig, ...),
    )


def _read(body: bytes) -> Any:
    try:
        return _shape().model_validate_json(body)
    except ValueError as error:
        unknown = _unknown_fields(error)
    arguments = loads(body)
    options = arguments["config"]
    # As they are, like every keyword that nobody knows: beside what the SDK writes.
    beside = {name: options.pop(name) for name in unknown}
    options["httpOptions"] = {"extraBody": beside}
    try:
        return _shape().model_validate_json(dumps(arguments))
    except ValueError as error:
        complaints = _complaints(error)
    raise ValueError(complaints)


def _unknown_fields(error: Any) -> list[str]:
    """Those at the top of the configuration."""
    told = error.errors(include_input=False, include_url=False)
    unknown = [each["loc"] for each in told if each["type"] == "extra_forbidden"]
    return [loc[1] for loc in unknown if loc[0] == "config" and len(loc) == 2]


def _complaints(error: Any) -> str:
    """Where and why, never what was given: a request is the caller's own."""
    told = error.errors(include_input=False, include_url=False, include_context=False)[:3]
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in told)


# -- clients


class SdkClients:
    """The SDK's clients of one event loop, one per key; they hold no sockets of their own."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._held: WeakKeyDictionary[PoolKey, tuple[Ready, Any]] = WeakKeyDictionary()
        self._http: tuple[Any, Any] | None = None

    def of(self, key: PoolKey, ready: Ready) -> Any:
        """The key's client, made anew when its secret was read again."""
        held = self._held.get(key)
        if held is None or held[0] is not ready:
            self._http = self._http or _http_clients()
            held = self._held[key] = ready, _client(key.secret, ready.endpoint, *self._http)
        return held[1]

    async def send(
        self, grant: Grant, ready: Ready, call: SdkCall, timeouts: Timeouts, extra: Pairs
    ) -> Answer:
        """Sends once. Raises as the transport does; BAD_REQUEST: the SDK wrote no request."""
        crossing = _Crossing(self._transport, grant, timeouts, extra)
        return await crossing.make(self.of(grant.key, ready).aio.models, call)

    async def aclose(self) -> None:
        """Lets go of the clients; a call under way ends with the transport's sockets."""
        self._held.clear()
        http, self._http = self._http, None
        if http is not None:
            await http[0].aclose()
            http[1].close()


def _http_clients() -> tuple[Any, Any]:
    from .transport import guest  # noqa: PLC0415 - httpx is slow to import

    return guest.guest_client(), guest.no_client()


def _client(secret: str | None, endpoint: Endpoint, asynchronous: Any, blocking: Any) -> Any:
    types = _genai("google.genai.types")
    base_url, version = _split_version(endpoint)
    options = types.HttpOptions(
        base_url=base_url,
        api_version=version,
        headers=dict(endpoint.headers),
        httpx_async_client=asynchronous,
        httpx_client=blocking,
        async_client_args={"ssl": _unused_certificates()},
        retry_options=types.HttpRetryOptions(attempts=1),
    )
    return _genai().Client(vertexai=False, api_key=secret, http_options=options)


@cache
def _unused_certificates() -> ssl.SSLContext:
    """The SDK reads the certificates for its web sockets per client, which takes long."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _split_version(endpoint: Endpoint) -> tuple[str, str | None]:
    """(address, version) of an API whose version may stand in the address."""
    found = _VERSIONED.fullmatch(endpoint.base_url.rstrip("/"))
    version: str | None = endpoint.flags.get("api_version")
    return (found[1], found[2]) if found else (endpoint.base_url, version)


# -- answers


class _Sent(BaseException):
    """No error: the answer is there, and the SDK need not read it."""


@dataclass(slots=True)
class SdkAnswer:
    """An answer that the SDK has read. ``error``: what it raised."""

    status: int
    headers: Headers
    body: bytes
    error: BaseException | None = None

    async def read(self, timeout_s: float) -> bytes:  # noqa: ARG002 - it is there
        return self.body

    async def next(self, timeout_s: float) -> bytes:  # noqa: ARG002 - never asked for
        return self.body

    def discard(self) -> None:
        """Nothing is open."""

    def complete(self, verdict: Verdict[Any]) -> Verdict[Any]:
        """Adds what the SDK alone knows."""
        if verdict.outcome is not Outcome.OK:
            verdict.error = self.error
        return verdict


class _Crossing:
    """One call of the SDK: it writes the request, the transport carries it. A good answer is
    the dialect's to read, so the SDK's work ends there; a refusal it reads, for its exception.
    """

    def __init__(
        self, transport: Transport, grant: Grant, timeouts: Timeouts, extra: Pairs
    ) -> None:
        self.is_stream = False
        self._transport = transport
        self._grant = grant
        self._timeouts = timeouts
        self._extra = extra
        self._answer: Answer | None = None
        self._body: list[bytes] = []

    async def make(self, models: Any, call: SdkCall) -> Answer:
        """The answer of the transport, or one that the SDK has read."""
        from .transport.guest import CROSSING, Crossing  # noqa: PLC0415 - imports httpx

        self.is_stream = call.is_stream
        error: BaseException | None = None
        under_way: list[Crossing] = [self]
        token = CROSSING.set(under_way)
        try:
            await self._call(models, call)
        except _Sent:
            if self._answer is not None:
                return self._answer
        except (TransportError, Withdrawn):
            raise
        except Exception as raised:
            error = raised
        finally:
            CROSSING.reset(token)
            under_way.clear()
        if self._answer is None:
            raise TransportError(Outcome.BAD_REQUEST, str(error)) from error  # nothing was sent
        return SdkAnswer(self._answer.status, self._answer.headers, b"".join(self._body), error)

    async def _call(self, models: Any, call: SdkCall) -> None:
        arguments = call.arguments()
        if call.is_stream:
            await anext(await models.generate_content_stream(**arguments))
        else:
            await models.generate_content(**arguments)

    # -- for the SDK

    async def carry(self, request: HttpRequest) -> Answer:
        grant = self._grant
        if self._extra:
            request = with_headers(request, self._extra)
        answer = await self._transport.send(request, self._timeouts, grant.go, grant.limit_s)
        self._answer = answer
        if answer.status < 300:
            raise _Sent
        return answer

    async def pass_on(self) -> bytes:
        if self._answer is None:
            return b""
        data = await self._answer.next(self._timeouts.idle)
        self._body.append(data)
        return data

    def let_go(self) -> None:
        """Harmless after the end of the body."""
        if self._answer is not None and (not self._body or self._body[-1]):
            self._answer.discard()
