"""What passes between the engine and a dialect: requests, answers, verdicts. All pure values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from ..types import ChatResponse, StreamChunk, Usage
from .learned import Reading
from .outcome import Outcome

T = TypeVar("T")


class Headers:
    """Answer headers, looked up without regard to case. The first of equal names wins."""

    __slots__ = ("_found", "raw")

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self.raw = raw
        self._found: dict[bytes, bytes] | None = None

    @property
    def by_name(self) -> Mapping[bytes, bytes]:
        """All of them, by their names in lower case."""
        found = self._found
        if found is None:
            found = self._found = {}
            for key, value in self.raw:
                found.setdefault(key.lower(), value)
        return found

    def get(self, name: str) -> str | None:
        """The value of header ``name`` (any case), or None."""
        held = self.by_name.get(name.lower().encode("latin-1", "replace"))
        return None if held is None else held.decode("latin-1")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a key's requests go. ``auth`` is bearer, api-key, x-api-key, sigv4 or none.

    ``flags`` are the catalogue's notes on how this service spells the dialect, for example
    ``max_tokens_field`` or ``api_version``. ``auth_config``: as the key's entry gives it.
    """

    provider: str
    base_url: str
    auth: str = "bearer"
    headers: Mapping[str, str] = field(default_factory=dict)
    flags: Mapping[str, Any] = field(default_factory=dict)
    auth_config: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Ready:
    """A key made ready to send: made once per key, secret and reload.

    ``sign``: signs a built request at a time (epoch seconds), where headers alone do not prove
    the key. ``until``: epoch seconds from which on it has to be made anew.
    """

    endpoint: Endpoint
    url: str
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    sign: Callable[[HttpRequest, float], HttpRequest] | None = field(default=None, repr=False)
    until: float = math.inf


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat as one stage sends it: ``model`` is the name the provider knows."""

    model: str
    messages: Sequence[Mapping[str, Any]]
    stream: bool = False
    max_tokens: int | None = None
    temperature: float | None = None
    upstream: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request to send as it is. ``headers`` lack only Host and Content-Length."""

    method: str
    url: str
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    body: bytes = field(repr=False)
    stream: bool = False


@dataclass(slots=True)
class Verdict(Generic[T]):
    """How one attempt ended, as the dialect reads it.

    ``later_s``: seconds until the provider says it may be asked again. ``message``: its own
    words. ``key_sign``: the answer names this very key as bad, so it is no outage.
    ``held``: not over yet; whoever holds it reports the end. ``readings``: what the answer
    says of rate limits.
    """

    outcome: Outcome
    value: T | None = None
    used: Usage | None = None
    status: int | None = None
    code: str | None = None
    message: str = ""
    later_s: float | None = None
    request_id: str | None = None
    body: Any = None
    error: BaseException | None = None
    key_sign: bool = False
    held: bool = False
    readings: Sequence[Reading] = ()


class EventReader(Protocol):
    """Reads one streamed answer: raw bytes in, chunks out, framing inside.

    ``feed`` returns chunks that carry text or reasoning; an error event, or the proper end
    of the stream, is a Verdict and the last thing returned. ``end`` judges a stream that
    closed without one. A good end is outcome ok with ``value`` the whole ChatResponse.
    """

    @property
    def text(self) -> str: ...
    def feed(self, raw: bytes) -> list[StreamChunk | Verdict[ChatResponse]]: ...
    def end(self) -> Verdict[ChatResponse]: ...


class Dialect(Protocol):
    """A provider's wire format as pure functions.

    ``encode`` gives the body, shared by all keys of a stage, or raises CapabilityError.
    ``classify`` reads a vendor SDK's exception; None says it is the caller's own.
    ``readings``: what an answer's headers say of rate limits. ``counts_cached``: whether what
    a prompt cache gave counts towards them.
    """

    name: str
    counts_cached: bool

    def prepare(self, secret: str | None, endpoint: Endpoint) -> Ready: ...
    def encode(self, request: ChatRequest, endpoint: Endpoint) -> bytes: ...
    def build(
        self, request: ChatRequest, body: bytes, ready: Ready, wall: float
    ) -> HttpRequest: ...
    def parse(
        self, request: ChatRequest, status: int, headers: Headers, body: bytes, wall: float
    ) -> Verdict[ChatResponse]: ...
    def events(self, request: ChatRequest) -> EventReader: ...
    def readings(self, headers: Headers, wall: float) -> Sequence[Reading]: ...
    def classify(self, error: BaseException, wall: float) -> Verdict[Any] | None: ...
