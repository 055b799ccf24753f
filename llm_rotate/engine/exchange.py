"""One attempt: make the key ready, build, send, read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

from ..core.outcome import Outcome
from ..core.wire import (
    Body,
    Bounds,
    Carrier,
    ChatRequest,
    Dialect,
    EmbedRequest,
    EventReader,
    FileRequest,
    HttpRequest,
    Ready,
    Request,
    Verdict,
    operation,
)
from ..errors import CapabilityError, PoolClosedError
from ..secrets import SecretError
from ..types import ChatResponse, StreamChunk
from .credentials import has_new_secret, make_ready
from .extra_headers import KEYWORD, Pairs, with_headers, without_headers
from .google_answer import SdkAnswer
from .google_call import FileCall, SdkCall, sdk_call
from .judge import Judge
from .loops import Served
from .polling import until_done
from .run import Grant
from .stages import Stage
from .transport.seam import Answer, Timeouts, TransportError


@dataclass(slots=True)
class Opened:
    """A stream that has begun: what came up to its first chunk, and where more comes from."""

    answer: Answer
    reader: EventReader
    early: list[StreamChunk | Verdict[ChatResponse]]


async def next_bytes(answer: Answer, reader: EventReader, seconds: float) -> bytes:
    """More of a stream, b"" at its end; raises as the transport does. What breaks behind a
    whole answer is an end like any other.
    """
    try:
        return await answer.next(seconds)
    except TransportError:
        if reader.finished:
            return b""
        raise


def read_events(reader: EventReader, raw: bytes) -> list[StreamChunk | Verdict[ChatResponse]]:
    """What ``raw`` brings; no bytes are the end of the stream."""
    return reader.feed(raw) if raw else [reader.end()]


def _with_limit(error: TransportError, limit_s: float) -> TransportError:
    """The transport knows only what was left of the limit."""
    if error.outcome is not Outcome.TIMED_OUT:
        return error
    return TransportError(error.outcome, f"no event came for {limit_s:g} s")


def _as_sent(asked: Request, stage: Stage) -> Request:
    """The request with the stage's own model, upstream and keywords."""
    options = {**stage.options, **asked.options}  # what the call says is more specific
    own = {name: options.pop(name, None) for name in _CHATS_OWN}
    sent: dict[str, Any] = {
        "model": stage.model or asked.model,
        "upstream": stage.upstream,
        "options": options,
    }
    if not isinstance(asked, ChatRequest):
        return replace(asked, **sent)
    named: dict[str, Any] = {
        name: value if getattr(asked, name) is None else getattr(asked, name)
        for name, value in own.items()
    }
    return replace(asked, **sent, **named)


def _always() -> bool:
    return True


def closed() -> PoolClosedError:
    return PoolClosedError("the pool was closed while the call was under way")


def _carrier(dialect: Dialect, asked: Request) -> Carrier:
    is_chat = type(asked) is ChatRequest or (isinstance(asked, ChatRequest) and dialect.sdk)
    return cast("Carrier", dialect if is_chat else operation(dialect, type(asked)))


def _completed(verdict: Verdict[Any], answer: Answer) -> Verdict[Any]:
    """With what an SDK knows of it that sent the request."""
    return answer.complete(verdict) if isinstance(answer, SdkAnswer) else verdict


def alike(stages: Sequence[Stage], kind: type[Request]) -> Sequence[Stage]:
    """Those that may answer for each other: vectors of two models cannot be compared."""
    if kind is not EmbedRequest:
        return stages
    same = [stage for stage in stages if stage.is_same]
    return same or stages[:1]


def bounds_of(stages: Sequence[Stage], kind: type[Request]) -> Sequence[Bounds]:
    """What each stage takes in one request, where it can at all."""
    found = []
    for stage in stages:
        with suppress(CapabilityError):
            chosen = operation(stage.provider.dialect, kind)
            found.append(chosen.bounds(stage.model or "", stage.endpoint))
    return found


def _counts_tokens(stage: Stage, kind: type[Request]) -> bool:
    return all(each.counts_tokens for each in bounds_of((stage,), kind))


# What a chain's keywords may say of a chat alone.
_CHATS_OWN = ("max_tokens", "temperature", "endpoint")
USUAL = Timeouts()
# Seconds left to the first event of a stream whose headers took all the time there was.
SHORTEST_WAIT = 0.001


class HttpExchange:
    """A request as attempts. The body is encoded once per stage, for all its keys.

    Where a dialect names an SDK, that sends what was encoded, and its answer is read as any.
    """

    def __init__(
        self,
        request: Request,
        served: Served,
        judge: Judge,
        timeouts: Callable[[Stage], Timeouts],
    ) -> None:
        self._asked = request
        self._served = served
        self._judge = judge
        self._timeouts_of = timeouts
        self._request = request
        self._carrier: Carrier
        self._body: Body | SdkCall | FileCall = b""
        self._timeouts = USUAL
        self._stage: Stage | None = None
        self._dialect: Dialect  # once a stage is prepared
        self._units: float | None = None
        self._extra: Pairs = ()

    def prepare(self, stage: Stage) -> None:
        """Encodes the request for the stage; CapabilityError if its dialect cannot."""
        if self._served.is_closed:
            raise closed()
        if self._stage is stage:
            return
        asked = self._asked
        if stage.model != asked.model or stage.upstream or stage.options:
            asked = _as_sent(asked, stage)
        self._extra = ()
        if KEYWORD in asked.options:
            asked, self._extra = without_headers(asked)
        self._dialect = stage.provider.dialect_at(asked.endpoint)
        self._carrier = _carrier(self._dialect, asked)
        self._request = asked
        if isinstance(asked, ChatRequest) and self._dialect.sdk:
            self._body = sdk_call(self._dialect, asked, stage.endpoint)
        else:
            self._body = self._carrier.encode(asked, stage.endpoint)
            if isinstance(asked, FileRequest) and self._dialect.sdk:
                self._body = FileCall(asked)
        self._timeouts = self._timeouts_of(stage)
        self._stage = stage

    def size(self, stage: Stage) -> tuple[float, int | None]:
        """Measured once: the same words go to every stage."""
        if not (isinstance(self._asked, ChatRequest) or _counts_tokens(stage, type(self._asked))):
            return 0.0, 0
        if self._units is None:
            self._units = self._asked.units(self._judge.books.estimator)
        return self._units, self._asked.most_output(stage.options)

    async def __call__(self, grant: Grant) -> Verdict[Any]:
        """Sends once."""
        ready = await self._ready(grant)
        if isinstance(ready, Verdict):
            return ready
        sent_at = self._judge.now()
        try:
            answer = await self._send(grant, ready)
            if self._request.stream and answer.status < 300:
                return await self._open(grant, answer, sent_at)
            verdict = await self._read(grant, answer)
            if verdict.poll is None:
                return verdict
            return await until_done(verdict, partial(self._ask_again, grant), grant)
        except TransportError as error:
            return self._failed(error)

    async def _ready(self, grant: Grant) -> Ready | Verdict[Any]:
        """The key ready to send, or why it is not."""
        ready = grant.key.ready
        try:
            if ready is None or ready.until <= self._judge.wall():
                ready = await make_ready(grant)
        except SecretError as error:
            return Verdict(Outcome.SECRET_MISSING, message=str(error), error=error)
        except TimeoutError as error:
            return Verdict(
                Outcome.TIMED_OUT, message="reading the secret took too long", error=error
            )
        grant.secret = grant.key.secret
        return ready

    async def _send(self, grant: Grant, ready: Ready) -> Answer:
        body, timeouts = self._body, self._timeouts
        if isinstance(body, SdkCall | FileCall):
            return await self._served.sdk.send(grant, ready, body, timeouts, self._extra)
        wall = self._judge.wall()
        request = self._carrier.build(self._request, body, ready, wall)
        if self._extra:
            request = with_headers(request, self._extra)
        if ready.sign is not None:
            request = ready.sign(request, wall)
        return await self._served.transport.send(request, timeouts, grant.go, grant.limit_s)

    async def _read(self, grant: Grant, answer: Answer) -> Verdict[Any]:
        try:
            if answer.status < 300:
                self._judge.decide(grant)
            body = await answer.read(self._timeouts.idle)
        except BaseException:
            answer.discard()
            raise
        wall = self._judge.wall()
        verdict = self._carrier.parse(self._request, answer.status, answer.headers, body, wall)
        verdict.readings = self._dialect.readings(answer.headers, wall)
        return _completed(verdict, answer)

    async def _ask_again(self, grant: Grant, poll: Callable[[Ready], HttpRequest]) -> Verdict[Any]:
        """Whether the provider has done what it still worked on; also of a key that rests, and
        with the key's new secret if it was changed meanwhile: the work is paid for.
        """
        verdict = await self._look(grant, poll)
        if verdict.outcome is Outcome.AUTH_FAILED and await has_new_secret(grant):
            verdict = await self._look(grant, poll)
        return verdict

    async def _look(self, grant: Grant, poll: Callable[[Ready], HttpRequest]) -> Verdict[Any]:
        ready = await self._ready(grant)
        if isinstance(ready, Verdict):
            return ready
        request = with_headers(poll(ready), self._extra) if self._extra else poll(ready)
        try:
            sent = self._served.transport.send(request, self._timeouts, _always, grant.limit_s)
            return await self._read(grant, await sent)
        except TransportError as error:
            return self._failed(error)

    def _failed(self, error: TransportError) -> Verdict[Any]:
        """What a broken exchange means. Raises PoolClosedError if we broke it."""
        if self._served.is_closed:
            raise closed() from error
        return Verdict(error.outcome, message=str(error), error=error.__cause__ or error)

    async def _open(self, grant: Grant, answer: Answer, sent_at: float) -> Verdict[Any]:
        """Reads up to the first chunk that will be handed out. Until then the stream may fail
        like any answer, and another key takes over.
        """
        dialect, now = self._dialect, self._judge.now()
        reader = dialect.events(cast("ChatRequest", self._request))  # nothing else streams
        readings = dialect.readings(answer.headers, self._judge.wall())
        if readings:
            self._judge.heed(grant, readings, now)
        limit = self._timeouts.first_event
        until = sent_at + limit
        try:
            while True:
                patience = max(SHORTEST_WAIT, until - self._judge.now())
                raw = await next_bytes(answer, reader, patience)
                early = read_events(reader, raw)
                if early:
                    break
                if raw.strip() and not reader.finished:
                    limit = self._timeouts.idle
                    until = self._judge.now() + limit
        except TransportError as error:
            answer.discard()
            if self._judge.now() < until - SHORTEST_WAIT:
                raise
            raise _with_limit(error, limit) from error.__cause__
        except BaseException:
            answer.discard()
            raise
        last = early[-1]
        if isinstance(last, Verdict) and last.outcome is not Outcome.OK:
            answer.discard()  # nothing was handed out, whatever came before it in this read
            return _completed(last, answer)
        grant.first_s = self._judge.now() - grant.started
        self._judge.decide(grant)
        return Verdict(Outcome.OK, Opened(answer, reader, early), held=True)

    @property
    def idle_s(self) -> float:
        """Seconds that a stream may be silent."""
        return self._timeouts.idle
