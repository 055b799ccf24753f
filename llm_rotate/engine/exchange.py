"""One attempt over HTTP: make the key ready, build, send, read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..core.outcome import Outcome
from ..core.wire import ChatRequest, EventReader, Ready, Verdict
from ..secrets import SecretError, resolve, scheme_of
from ..types import ChatResponse, StreamChunk
from .judge import Judge
from .run import Grant
from .stages import PoolKey, Stage
from .transport.seam import Answer, Timeouts, Transport, TransportError

# Secrets of these schemes are at hand; any other may block, and is read off the loop.
AT_HAND = ("env", "literal")


async def read_secret(key: PoolKey) -> str | None:
    """The key's secret, kept with it. None for servers without keys. Raises SecretError."""
    if key.endpoint.auth == "none" and not key.secret_ref:
        return None
    if scheme_of(key.secret_ref) in AT_HAND:
        secret = resolve(key.secret_ref)
    else:
        secret = await asyncio.to_thread(resolve, key.secret_ref)
    key.secret = secret.reveal()
    return key.secret


async def make_ready(key: PoolKey) -> Ready:
    """The key made ready to send, kept with it. Raises SecretError."""
    key.ready = key.provider.dialect.prepare(await read_secret(key), key.endpoint)
    return key.ready


@dataclass(slots=True)
class Opened:
    """A stream that has begun: what came up to its first chunk, and where more comes from."""

    answer: Answer
    reader: EventReader
    early: list[StreamChunk | Verdict[ChatResponse]]


def read_events(reader: EventReader, raw: bytes) -> list[StreamChunk | Verdict[ChatResponse]]:
    """What ``raw`` brings; no bytes are the end of the stream."""
    return reader.feed(raw) if raw else [reader.end()]


def _as_sent(asked: ChatRequest, stage: Stage) -> ChatRequest:
    """The request with the stage's own model, upstream and keywords."""
    options = {**asked.options, **stage.options}
    named = {
        name: options.pop(name, getattr(asked, name)) for name in ("max_tokens", "temperature")
    }
    model = stage.model or asked.model
    return replace(asked, model=model, upstream=stage.upstream, options=options, **named)


USUAL = Timeouts()


class HttpExchange:
    """A chat as attempts over HTTP. The body is encoded once per stage, for all its keys."""

    def __init__(
        self,
        request: ChatRequest,
        transport: Transport,
        judge: Judge,
        timeouts: Callable[[Stage], Timeouts],
    ) -> None:
        self._asked = request
        self._transport = transport
        self._judge = judge
        self._timeouts_of = timeouts
        self._request = request
        self._body = b""
        self._timeouts = USUAL
        self._stage: Stage | None = None

    def prepare(self, stage: Stage) -> None:
        """Encodes the request for the stage; CapabilityError if its dialect cannot."""
        if self._stage is stage:
            return
        asked = self._asked
        if stage.model != asked.model or stage.upstream or stage.options:
            asked = _as_sent(asked, stage)
        self._request = asked
        self._body = stage.provider.dialect.encode(asked, stage.endpoint)
        self._timeouts = self._timeouts_of(stage)
        self._stage = stage

    async def __call__(self, grant: Grant) -> Verdict[Any]:
        """Sends once."""
        try:
            ready = grant.key.ready or await make_ready(grant.key)
        except SecretError as error:
            return Verdict(Outcome.SECRET_MISSING, message=str(error), error=error)
        dialect = grant.stage.provider.dialect
        request = dialect.build(self._request, self._body, ready, self._judge.wall())
        try:
            answer = await self._transport.send(request, self._timeouts, grant.go, grant.limit_s)
            if self._request.stream and answer.status < 300:
                return await self._open(grant, answer)
            return await self._read(grant, answer)
        except TransportError as error:
            cause = error.__cause__ or error
            return Verdict(error.outcome, message=str(error), error=cause)

    async def _read(self, grant: Grant, answer: Answer) -> Verdict[Any]:
        if answer.status < 300:
            self._judge.decide(grant)
        try:
            body = await answer.read(self._timeouts.idle)
        except BaseException:
            answer.discard()
            raise
        return grant.stage.provider.dialect.parse(
            self._request, answer.status, answer.headers, body, self._judge.wall()
        )

    async def _open(self, grant: Grant, answer: Answer) -> Verdict[Any]:
        """Reads up to the first chunk that will be handed out. Until then the stream may fail
        like any answer, and another key takes over.
        """
        reader = grant.stage.provider.dialect.events(self._request)
        patience = self._timeouts.first_event
        try:
            while True:
                raw = await answer.next(patience)
                early = read_events(reader, raw)
                if early:
                    break
                if raw.strip():
                    patience = self._timeouts.idle
        except BaseException:
            answer.discard()
            raise
        first = early[0]
        if isinstance(first, Verdict) and first.outcome is not Outcome.OK:
            answer.discard()
            return first
        grant.first_s = self._judge.now() - grant.started
        self._judge.decide(grant)
        return Verdict(Outcome.OK, Opened(answer, reader, early), held=True)

    @property
    def idle_s(self) -> float:
        """Seconds that a stream may be silent."""
        return self._timeouts.idle
