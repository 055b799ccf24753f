"""One call of the google-genai SDK on its way over our transport, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..core.outcome import Outcome
from ..core.wire import Headers, HttpRequest, Verdict
from ..providers.gemini_answer import together
from ..types import ChatResponse, Usage
from .extra_headers import Pairs, with_headers
from .google_call import FileCall, SdkCall, complaints_of, usage_in
from .run import Grant
from .transport.seam import Answer, Timeouts, Transport, TransportError, Withdrawn

Call = SdkCall | FileCall


class _Sent(BaseException):
    """No error: the answer is there, and the SDK need not read it."""


@dataclass(slots=True)
class SdkAnswer:
    """An answer that the SDK has read. ``error``: what it raised; ``parsed``: what it made of a
    response_schema; ``usages``: of each request, where it sent several.
    """

    status: int
    headers: Headers
    body: bytes
    error: BaseException | None = None
    parsed: Any = None
    usages: Sequence[Usage] = ()

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
        elif isinstance(verdict.value, ChatResponse):
            verdict.value.parsed = self.parsed
            if len(self.usages) > 1:
                verdict.value.usage = verdict.used = together(self.usages)
        return verdict


class Crossing:
    """One call of the SDK: it writes the request, the transport carries it. A good answer is
    the dialect's to read, so the SDK's work ends there, unless more is wanted of it; a refusal
    it reads, for its exception.
    """

    def __init__(
        self, transport: Transport, grant: Grant, timeouts: Timeouts, extra: Pairs, call: Call
    ) -> None:
        self.is_stream = call.is_stream
        self._transport = transport
        self._grant = grant
        self._timeouts = timeouts
        self._extra = extra
        self._call = call
        self._answer: Answer | None = None
        self._bodies: list[bytearray] = []
        self._is_whole = False

    async def make(self, client: Any) -> Answer:
        """The answer of the transport, or one that the SDK has read."""
        from .transport.guest import CROSSING  # noqa: PLC0415 - imports httpx

        error: BaseException | None = None
        response: Any = None
        under_way: list[Any] = [self]
        token = CROSSING.set(under_way)
        try:
            response = await self._call.run(client)
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
        return self._read_by_sdk(response, error)

    def _read_by_sdk(self, response: Any, error: BaseException | None) -> SdkAnswer:
        if self._answer is None:  # nothing was sent
            words = complaints_of(error) if hasattr(error, "errors") else str(error)
            raise TransportError(Outcome.BAD_REQUEST, words) from error
        body = bytes(self._bodies[-1]) if self._bodies else b""
        answer = SdkAnswer(self._answer.status, self._answer.headers, body, error)
        if response is not None:
            answer.parsed = getattr(response, "parsed", None)
            if isinstance(self._call, SdkCall) and self._call.usages:
                answer.body = self._call.whole(response)
                answer.usages = [*self._call.usages, usage_in(body)]
        return answer

    # -- for the SDK

    async def carry(self, request: HttpRequest) -> Answer:
        grant = self._grant
        if self._extra:
            request = with_headers(request, self._extra)
        go = grant.go
        if self._bodies:
            go = _always  # the first answer is paid for
            self._call.go_on(request.body, bytes(self._bodies[-1]))
        answer = await self._transport.send(request, self._timeouts, go, grant.limit_s)
        self._answer, self._is_whole = answer, False
        if self._call.is_over(answer.status):
            raise _Sent
        self._bodies.append(bytearray())
        return answer

    async def pass_on(self) -> bytes:
        if self._answer is None:
            return b""
        data = await self._answer.next(self._timeouts.idle)
        self._bodies[-1] += data
        self._is_whole = not data
        return data

    def let_go(self) -> None:
        """Closed before its end, an answer is of no use to anybody."""
        if self._answer is not None and not self._is_whole:
            self._answer.discard()


def _always() -> bool:
    return True
