"""Attempts that the google-genai SDK sends, over the pool's own transport."""

from __future__ import annotations

import importlib
import re
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

from ..core.outcome import Outcome
from ..core.wire import ChatRequest, Endpoint, Headers, HttpRequest, Ready, Verdict
from ..errors import CapabilityError, ConfigurationError
from ..providers.jsonio import dumps, loads
from .judge import Judge
from .run import Grant
from .stages import PoolKey
from .transport.seam import Answer, Timeouts, Transport, TransportError, Withdrawn

# Seconds left to a read whose patience is spent: it takes what is there.
SHORTEST_WAIT = 0.001
_VERSIONED = re.compile(r"(.*)/(v\d\w*)")


class Unsendable(Exception):  # noqa: N818 - the SDK's own error is its cause
    """The SDK made no request of its arguments: nothing was sent."""


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


# -- arguments


@dataclass(frozen=True, slots=True)
class SdkCall:
    """Arguments of ``generate_content``, in the SDK's own types."""

    model: str
    contents: Any
    config: Any
    is_stream: bool


def chat_call(request: ChatRequest, body: bytes) -> SdkCall:
    """A chat, as the dialect encoded it. Raises CapabilityError for what the SDK refuses."""
    arguments = _read(body)
    config = arguments.config
    # One attempt is one request. Older versions of the SDK know the first of the two only.
    types = _genai("google.genai.types")
    config.automatic_function_calling = types.AutomaticFunctionCallingConfig(disable=True)
    if "automatic_continuation" in type(config).model_fields:
        config.automatic_continuation = False
    return SdkCall(request.model, arguments.contents, config, request.stream)


@cache
def _arguments() -> Any:
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
    shape = _arguments()
    try:
        return shape.model_validate_json(body)
    except ValueError as error:
        unknown = _unknown_fields(error)
    arguments = loads(body)
    options = arguments["config"]
    # As they are, like every keyword that nobody knows: beside what the SDK writes.
    beside = {name: options.pop(name) for name in unknown}
    options["httpOptions"] = {"extraBody": beside}
    try:
        return shape.model_validate_json(dumps(arguments))
    except ValueError as error:
        raise CapabilityError(f"gemini cannot carry the request: {_complaints(error)}") from None


def _unknown_fields(error: Any) -> list[str]:
    return [
        each["loc"][1]
        for each in error.errors(include_input=False, include_url=False)
        if each["type"] == "extra_forbidden" and each["loc"][0] == "config" and len(each["loc"]) == 2
    ]


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
            held = self._held[key] = ready, self._open(key.secret, ready.endpoint)
        return held[1]

    def _open(self, secret: str | None, endpoint: Endpoint) -> Any:
        types = _genai("google.genai.types")
        base_url, version = _split_version(endpoint)
        asynchronous, blocking = self._http_clients()
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

    def _http_clients(self) -> tuple[Any, Any]:
        from .transport import guest  # noqa: PLC0415 - imports httpx

        if self._http is None:
            self._http = guest.guest_client(), guest.no_client()
        return self._http

    async def send(
        self, grant: Grant, ready: Ready, call: SdkCall, timeouts: Timeouts, judge: Judge
    ) -> SdkAnswer:
        """Sends once. Raises what the transport raises, and Unsendable."""
        answer = SdkAnswer(self._transport, grant, timeouts, judge, is_stream=call.is_stream)
        models = self.of(grant.key, ready).aio.models
        await answer.begin(models, call)
        return answer

    async def aclose(self) -> None:
        """Lets go of the clients; a call under way ends with the transport's sockets."""
        self._held.clear()
        http, self._http = self._http, None
        if http is not None:
            await http[0].aclose()
            http[1].close()


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


class SdkAnswer:
    """An answer that the SDK reads. What it reads is kept on its way, for the dialect.

    Of a call that took several requests (automatic function calling) it is the last one's.
    ``error``: what the SDK raised; ``parsed``: what it made of a response_schema.
    """

    def __init__(
        self,
        transport: Transport,
        grant: Grant,
        timeouts: Timeouts,
        judge: Judge,
        *,
        is_stream: bool,
    ) -> None:
        self.is_stream = is_stream
        self.status = 0
        self.headers = Headers(())
        self.error: BaseException | None = None
        self.parsed: Any = None
        self._transport = transport
        self._grant = grant
        self._timeouts = timeouts
        self._judge = judge
        self._wire: Answer | None = None
        self._chunks: AsyncIterator[Any] | None = None
        self._read: list[bytes] = []
        self._is_reading = self._is_over = self._is_dropped = False
        self._until = judge.now() + timeouts.first_event

    async def begin(self, models: Any, call: SdkCall) -> None:
        """Until there is a whole answer, or of a stream its first piece."""
        arguments = {"model": call.model, "contents": call.contents, "config": call.config}
        if call.is_stream:
            self._chunks = await models.generate_content_stream(**arguments)
            await self._cross(self._advance)
        else:
            await self._cross(lambda: self._whole(models, arguments))

    async def _whole(self, models: Any, arguments: dict[str, Any]) -> None:
        response = await models.generate_content(**arguments)
        self.parsed = response.parsed

    async def _advance(self) -> None:
        try:
            await anext(self._chunks)  # type: ignore[arg-type] # begin() sets it
        except StopAsyncIteration:
            self._is_over = True

    async def _cross(self, step: Callable[[], Any]) -> None:
        """Lets the SDK work, with this call as the one that crosses the seam."""
        from .transport.guest import CROSSING  # noqa: PLC0415 - imports httpx

        token, self._is_reading = CROSSING.set(self), True
        try:
            await step()
        except (TransportError, Withdrawn):
            raise
        except Exception as error:
            self.error, self._is_over = error, True
            if not self.status:
                raise Unsendable(str(error)) from error
        finally:
            self._is_reading = False
            CROSSING.reset(token)

    # -- for the SDK, below

    async def carry(self, request: HttpRequest) -> Answer:
        if self._is_dropped:
            raise TransportError(Outcome.SERVER_ERROR, "the answer was discarded")
        grant = self._grant
        self._wire = await self._transport.send(request, self._timeouts, grant.go, grant.limit_s)
        self.status, self.headers = self._wire.status, self._wire.headers
        if not self.is_stream:
            self._read.clear()
        if self.status < 300 and not self.is_stream:
            self._judge.decide(grant)
        return self._wire

    async def pass_on(self) -> bytes:
        if self._is_dropped or self._wire is None:
            raise TransportError(Outcome.SERVER_ERROR, "the answer was discarded")
        idle = self._timeouts.idle
        left = max(SHORTEST_WAIT, self._until - self._judge.now()) if self.is_stream else idle
        data = await self._wire.next(left)
        if data.strip():
            self._until = self._judge.now() + idle
        self._read.append(data)
        return data

    def let_go(self) -> None:
        """Closed before its end it is of no use to anybody."""
        if self._wire is not None and (not self._read or self._read[-1]):
            self._wire.discard()

    # -- for the exchange, above

    async def read(self, timeout_s: float) -> bytes:  # noqa: ARG002 - the SDK has read it
        """The whole body."""
        return b"".join(self._read)

    async def next(self, timeout_s: float) -> bytes:
        """What the SDK reads for its next chunk; b"" at the end."""
        self._until = self._judge.now() + timeout_s
        while not any(self._read) and not self._is_over:
            await self._cross(self._advance)
        found, self._read = b"".join(self._read), []
        return found

    def discard(self) -> None:
        self._is_dropped = True
        if self._wire is not None:
            self._wire.discard()
        if self._chunks is not None and not self._is_reading and not self._is_over:
            self._is_over = True
            self._unwind(self._chunks)

    @staticmethod
    def _unwind(chunks: Any) -> None:
        """Ends the SDK's generators here and now: their next read raises. Left to themselves
        they would be closed by tasks of the loop, one by one, whenever they are collected.
        """
        step = chunks.__anext__()
        try:
            step.send(None)
        except BaseException:  # noqa: S110 - that is what it is for
            pass
        finally:
            step.close()

    def complete(self, verdict: Verdict[Any]) -> Verdict[Any]:
        """Adds what the SDK alone knows."""
        if verdict.outcome is not Outcome.OK:
            verdict.error = self.error
        elif verdict.value is not None:
            verdict.value.parsed = self.parsed
        return verdict
