"""What passes between the engine and a dialect: requests, answers, verdicts. All pure values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from ..errors import CapabilityError
from ..types import Attempt, ChatResponse, StreamChunk, TranscriptionResponse, UploadedFile, Usage
from .estimate import Estimator
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
    """Where a key's requests go. ``auth`` is bearer, none, or the name of a header.

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


# Keywords of a chat that become part of the prompt, and those that cap the answer.
_PROMPTED = ("tools", "response_format")
_CAPS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
# A recording of 128 kbit/s at ten tokens a second; only where counting starts.
_SOUND_BYTES_PER_TOKEN = 1_600.0


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat as one stage sends it: ``model`` is the name the provider knows; ``endpoint``
    which of its service's it goes to, None for the usual.
    """

    what: ClassVar[str] = "chat"
    format_field: ClassVar[str] = "response_format"
    model: str
    messages: Sequence[Mapping[str, Any]]
    stream: bool = False
    max_tokens: int | None = None
    temperature: float | None = None
    upstream: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    endpoint: str | None = None

    def units(self, estimator: Estimator) -> float:
        """Tokens of the prompt by the bare rule."""
        more = [self.options[name] for name in _PROMPTED if self.options.get(name)]
        return estimator.units(self.model, self.messages, more)

    def most_output(self, options: Mapping[str, Any]) -> int | None:
        """Tokens that the answer may have at most; ``options``: the stage's own."""
        options = {**options, **self.options}
        stated = (self.max_tokens, *(options.get(name) for name in _CAPS))
        return next((cap for cap in stated if type(cap) is int and cap > 0), None)


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """Texts to be made vectors of, each by itself. ``dimensions``: of each vector;
    ``task_type``: what the vectors are for, where the provider asks.
    """

    what: ClassVar[str] = "embeddings"
    stream: ClassVar[bool] = False
    endpoint: ClassVar[str | None] = None
    model: str
    texts: Sequence[str]
    dimensions: int | None = None
    task_type: str | None = None
    upstream: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def units(self, estimator: Estimator) -> float:
        """As :meth:`ChatRequest.units`."""
        return estimator.units(self.model, (), self.texts)

    def most_output(self, options: Mapping[str, Any]) -> int | None:  # noqa: ARG002 - as a chat's
        """Vectors are no tokens."""
        return 0


@dataclass(frozen=True, slots=True)
class Upload:
    """A body of ``size`` bytes that is read while it is sent, and anew for each sending.

    ``open`` gives its pieces, exactly ``size`` bytes together, or raises an LMRotateError. It
    may block: whoever sends asks for pieces off the loop.
    """

    size: int
    open: Callable[[], Iterator[bytes]] = field(repr=False)

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[bytes]:
        return filter(None, self.open())  # an empty piece would look like the end


Body = bytes | Upload


@dataclass(frozen=True, slots=True)
class TranscribeRequest:
    """A recording to be written down. ``filename``: by its end providers tell the format;
    ``boundary``: a word that is not in the recording, for bodies of many parts.
    ``is_bounded``: a service refuses what is larger than it takes before it is sent.
    """

    what: ClassVar[str] = "transcriptions"
    stream: ClassVar[bool] = False
    endpoint: ClassVar[str | None] = None
    model: str
    audio: Upload
    filename: str
    mime_type: str
    boundary: str
    is_bounded: bool = True
    upstream: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def units(self, estimator: Estimator) -> float:  # noqa: ARG002 - no text is there to be measured
        """As :meth:`ChatRequest.units`."""
        return self.audio.size / _SOUND_BYTES_PER_TOKEN

    def most_output(self, options: Mapping[str, Any]) -> int | None:  # noqa: ARG002 - as a chat's
        """Unknown."""
        return None


@dataclass(frozen=True, slots=True)
class FileRequest:
    """A file that the provider is to keep: ``content`` is its path, or bytes."""

    what: ClassVar[str] = "file uploads"
    stream: ClassVar[bool] = False
    endpoint: ClassVar[str | None] = None
    model: str
    content: str | bytes = field(repr=False)
    mime_type: str | None = None
    display_name: str | None = None
    upstream: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def units(self, estimator: Estimator) -> float:  # noqa: ARG002 - no prompt
        """As :meth:`ChatRequest.units`."""
        return 0.0

    def most_output(self, options: Mapping[str, Any]) -> int | None:  # noqa: ARG002 - as a chat's
        """It answers nothing."""
        return 0


Request = ChatRequest | EmbedRequest | TranscribeRequest | FileRequest


@dataclass(slots=True)
class Vectors:
    """What comes of an EmbedRequest: a vector for each text, in their order."""

    found: list[Sequence[float]] = field(repr=False)
    model: str
    usage: Usage
    request_id: str | None = None
    upstream: str | None = None
    provider: str = ""
    key_id: str = ""
    latency_ms: float = 0.0
    attempts: tuple[Attempt, ...] = ()


Response = ChatResponse | Vectors | TranscriptionResponse | UploadedFile


@dataclass(frozen=True, slots=True)
class ContentRequest(ChatRequest):
    """The same in the words of a vendor's SDK: ``messages`` are its contents, ``options`` the
    fields of its configuration. Only dialects that name an ``sdk`` carry it.
    """

    what: ClassVar[str] = "generate_content"
    format_field: ClassVar[str] = "response_schema"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request to send as it is. ``headers`` lack only Host and Content-Length."""

    method: str
    url: str
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    body: Body = field(repr=False)
    stream: bool = False


@dataclass(slots=True)
class Verdict(Generic[T]):
    """How one attempt ended, as the dialect reads it.

    ``later_s``: seconds until the provider says it may be asked again. ``message``: its own
    words. ``key_sign``: the answer names this very key as bad, so it is no outage.
    ``is_daily``: refused for an allowance of the day, so out until the provider's midnight;
    ``is_of_model``: the refusal concerns the model only, whatever the fault table's scope.
    ``held``: not over yet; whoever holds it reports the end. ``readings``: what the answer
    says of rate limits. ``poll``: the provider still works on it; makes the request that asks
    again. ``kept``: the name under which the provider keeps the answer for this key alone.
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
    is_daily: bool = False
    is_of_model: bool = False
    held: bool = False
    readings: Sequence[Reading] = ()
    poll: Callable[[Ready], HttpRequest] | None = None
    kept: str | None = None


class EventReader(Protocol):
    """Reads one streamed answer: raw bytes in, chunks out, framing inside.

    ``feed`` returns chunks that carry text or reasoning; an error event, or the proper end
    of the stream, is a Verdict and the last thing returned. ``end`` judges a stream that
    closed without one. A good end is outcome ok with ``value`` the whole ChatResponse.
    ``finished``: the answer is whole, though its stream may go on.
    """

    @property
    def text(self) -> str: ...
    @property
    def finished(self) -> bool: ...
    def feed(self, raw: bytes) -> list[StreamChunk | Verdict[ChatResponse]]: ...
    def end(self) -> Verdict[ChatResponse]: ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one request may hold: ``count`` texts, ``tokens`` of them together, ``size`` bytes.
    ``counts_tokens``: whether the service counts them at all.
    """

    count: int | None = None
    tokens: int | None = None
    size: int | None = None
    counts_tokens: bool = True


class Words(Protocol):
    """One kind of request in a dialect's words.

    ``encode`` gives the body, shared by all keys of a stage, or raises CapabilityError.
    """

    def encode(self, request: Any, endpoint: Endpoint) -> Body: ...
    def parse(
        self, request: Any, status: int, headers: Headers, body: bytes, wall: float
    ) -> Verdict[Any]: ...


class Carrier(Words, Protocol):
    """The same where no vendor's SDK sends: ``build`` gives what is sent."""

    def build(self, request: Any, body: Any, ready: Ready, wall: float) -> HttpRequest: ...


class Operation(Words, Protocol):
    """What a dialect can do beside chat. ``bounds``: the most that the service takes in one."""

    def bounds(self, model: str, endpoint: Endpoint) -> Bounds: ...


class Dialect(Protocol):
    """A provider's wire format as pure functions.

    ``encode`` gives the body, shared by all keys of a stage, or raises CapabilityError.
    ``classify`` reads a vendor SDK's exception; None says it is the caller's own.
    ``readings``: what an answer's headers say of rate limits. ``counts_cached``: whether what
    a prompt cache gave counts towards them. ``operations``: by kind of request, what it can do
    beside chat. ``sdk``: the vendor's package that sends its chats; ``encode`` gives that one's
    arguments then. None: requests are built here.
    """

    name: str
    sdk: str | None
    counts_cached: bool
    operations: Mapping[type, Operation]

    def prepare(self, secret: str | None, endpoint: Endpoint) -> Ready: ...
    def encode(self, request: ChatRequest, endpoint: Endpoint) -> bytes: ...
    def parse(
        self, request: ChatRequest, status: int, headers: Headers, body: bytes, wall: float
    ) -> Verdict[ChatResponse]: ...
    def events(self, request: ChatRequest) -> EventReader: ...
    def readings(self, headers: Headers, wall: float) -> Sequence[Reading]: ...
    def classify(self, error: BaseException, wall: float) -> Verdict[Any] | None: ...


def operation(dialect: Dialect, kind: type[Request]) -> Operation:
    """What ``dialect`` does with requests of this kind. Raises CapabilityError: nothing."""
    try:
        return dialect.operations[kind]
    except KeyError:
        raise CapabilityError(
            f"{dialect.name} cannot carry {kind.what}: send the call to a provider that can"
        ) from None
