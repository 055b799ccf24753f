"""What keys, providers and upstreams are told to do: scripts made of lines, read per request."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Protocol, Self

_SLACK = 1e-6  # seconds: sums of floats must not refuse who waited as long as told

Body = bytes | str | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Scripted:
    """One explicit answer. ``body`` None is the body that the provider sends with ``status``."""

    status: int = 200
    body: Body | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not served; the provider's wire format gives it words and a status.

    ``kind`` is a row of that format's error table, or "status" for a bare ``status``.
    ``retry_after`` is in seconds.
    """

    kind: str
    status: int | None = None
    retry_after: float | None = None
    detail: str = ""
    body: Body | None = None
    upstream: str | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """What is left of a limit: requests, and seconds until all of it is back."""

    limit: int
    remaining: int
    reset: float


@dataclass(slots=True)
class Plan:
    """How one request will be answered; every line of a script may change it.

    ``cut_after``, ``silent_after`` and ``error_at`` count the chunks with content before
    the fault; ``error_at`` -1 puts the error before everything.
    """

    refusal: Refusal | None = None
    dropped: bool = False
    body: Body | None = None
    first_byte: float = 0.0
    between: float = 0.0
    cut_after: int | None = None
    silent_after: int | None = None
    error_at: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    room: Room | None = None

    @property
    def settled(self) -> bool:
        """Nothing that follows can serve this request any more."""
        return self.refusal is not None or self.dropped


@dataclass(frozen=True, slots=True)
class Visit:
    """A request as scripts see it. ``number`` is 1 for the first; ``now`` in seconds."""

    number: int
    now: float
    model: str
    stream: bool = False


class Line(Protocol):
    """One line of a script."""

    def edit(self, plan: Plan, visit: Visit) -> None: ...


@dataclass(slots=True)
class Always:
    """Sets ``fields`` of the plan from request number ``after`` + 1 on, ``times`` times
    (None: always); for ``model`` alone if there is one, for streams alone if so told.
    """

    fields: Mapping[str, Any]
    after: int = 0
    times: int | None = None
    model: str | None = None
    streams: bool = False

    def edit(self, plan: Plan, visit: Visit) -> None:
        if visit.number <= self.after or self.times == 0:
            return
        if self.model not in (None, visit.model) or (self.streams and not visit.stream):
            return
        if self.times is not None:
            self.times -= 1
        for name, value in self.fields.items():
            setattr(plan, name, value)


@dataclass(frozen=True, slots=True)
class Extra:
    """Headers that every answer carries too."""

    headers: Mapping[str, str]

    def edit(self, plan: Plan, visit: Visit) -> None:  # noqa: ARG002  a Line sees the visit
        plan.headers.update(self.headers)


@dataclass(slots=True)
class Queue:
    """Explicit answers, one for each request, then nothing."""

    answers: deque[Scripted]

    def edit(self, plan: Plan, visit: Visit) -> None:  # noqa: ARG002  a Line sees the visit
        if not self.answers:
            return
        answer = self.answers.popleft()
        plan.headers.update(answer.headers)
        if answer.status == 200:
            plan.body = answer.body
        else:
            plan.refusal = Refusal("status", status=answer.status, body=answer.body)


@dataclass(slots=True)
class Rest:
    """One refusal for ``seconds`` from the first request that meets it; then it is over."""

    refuse: Callable[[float], Refusal]
    seconds: float
    after: int = 0
    until: float | None = None

    def edit(self, plan: Plan, visit: Visit) -> None:
        if visit.number <= self.after:
            return
        if self.until is None:
            self.until = visit.now + self.seconds
        if visit.now < self.until - _SLACK:
            plan.refusal = self.refuse(self.until - visit.now)


@dataclass(slots=True)
class Limit:
    """At most ``limit`` requests served in any ``window`` seconds; refused ones are free."""

    limit: int
    window: float
    is_stated: bool = True
    served: deque[float] = field(default_factory=deque)

    def edit(self, plan: Plan, visit: Visit) -> None:
        while self.served and self.served[0] + self.window <= visit.now + _SLACK:
            self.served.popleft()
        if len(self.served) >= self.limit:
            wait = self.served[0] + self.window - visit.now if self.served else self.window
            plan.refusal = Refusal("rate_limited", retry_after=wait)
        else:
            self.served.append(visit.now)
        if self.is_stated:
            reset = self.served[-1] + self.window - visit.now if self.served else self.window
            plan.room = Room(self.limit, self.limit - len(self.served), reset)


class Script:
    """Changes, which add up, then refusals in the order of writing: the first has the say."""

    __slots__ = ("_changes", "_refusals")

    def __init__(self) -> None:
        # Replaced, never changed in place: a server's thread may be reading them.
        self._changes: tuple[Line, ...] = ()
        self._refusals: tuple[Line, ...] = ()

    def _change(self, line: Line) -> Self:
        self._changes = (*self._changes, line)
        return self

    def _refuse(self, line: Line) -> Self:
        self._refusals = (*self._refusals, line)
        return self

    def apply(self, plan: Plan, visit: Visit) -> None:
        """Lets every change, and the refusals up to the first that applies, edit ``plan``."""
        for line in self._changes:
            line.edit(plan, visit)
        for line in self._refusals:
            if plan.settled:
                return
            line.edit(plan, visit)

    def heal(self) -> Self:
        """Forgets everything it was told: all is well from the next request on."""
        self._changes = self._refusals = ()
        return self


class KeyScript(Script):
    """What one key does; ``Simulator.key`` gives it. Every method returns the script.

    ``after`` is how many of the key's requests pass first, counted from the first request
    that this key ever made; ``times`` how many are then hit (None: all). Chunks of a stream
    are counted by those with text, reasoning or a tool call in them. Times are in seconds.
    """

    __slots__ = ()

    def rate_limit(self, *, after: int = 0, retry_after: float = 1.0) -> Self:
        """429 with Retry-After, until ``retry_after`` has passed since the first of them."""
        return self._refuse(Rest(_rate_limited, retry_after, after))

    def rpm(self, limit: int, *, window: float = 60.0, is_stated: bool = True) -> Self:
        """A limit that counts: 429 beyond ``limit`` requests served in ``window`` seconds.

        Every answer states what is left, in the provider's own headers, if it ``is_stated``.
        """
        return self._refuse(Limit(limit, window, is_stated))

    def quota_exhausted(self, *, after: int = 0) -> Self:
        """No money left, as the provider says it: waiting does not help."""
        return self._refuse(Always({"refusal": Refusal("quota_exhausted")}, after))

    def bad_key(self, *, after: int = 0) -> Self:
        """401: wrong, expired or revoked."""
        return self._refuse(Always({"refusal": Refusal("bad_key")}, after))

    def forbidden(self, model: str | None = None, *, after: int = 0) -> Self:
        """403, for one model or for all."""
        return self._refuse(Always({"refusal": Refusal("forbidden")}, after, model=model))

    def unknown_model(self, model: str, *, after: int = 0) -> Self:
        """404 for this model."""
        return self._refuse(Always({"refusal": Refusal("unknown_model")}, after, model=model))

    def answers(self, answers: Sequence[Scripted | int]) -> Self:
        """Exactly these answers, one for each of the next requests; a number is a status."""
        return self._refuse(
            Queue(deque(Scripted(one) if isinstance(one, int) else one for one in answers))
        )

    def then(
        self,
        status: int = 200,
        *,
        times: int = 1,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Self:
        """The same for the next ``times`` requests; several in a row follow each other.

        Status 200 without a body is an ordinary answer.
        """
        answers = [Scripted(status, body, headers or {})] * times
        last = self._refusals[-1] if self._refusals else None
        if isinstance(last, Queue):
            last.answers.extend(answers)
            return self
        return self._refuse(Queue(deque(answers)))

    def slow(self, first_byte: float, *, between: float = 0.0, times: int | None = None) -> Self:
        """``first_byte`` passes before the head (inf: it never comes), ``between`` before
        each further chunk of a stream.
        """
        return self._change(Always({"first_byte": first_byte, "between": between}, times=times))

    def drop(self, *, after: int = 0, times: int | None = None) -> Self:
        """Reads the request and breaks the connection without a byte of an answer."""
        return self._refuse(Always({"dropped": True}, after, times))

    def cut_stream(self, after_chunks: int, *, times: int | None = None) -> Self:
        """Streams break after so many chunks; 0 is after the opening events."""
        return self._change(Always({"cut_after": after_chunks}, times=times, streams=True))

    def silent_stream(self, after_chunks: int, *, times: int | None = None) -> Self:
        """Streams say nothing more after so many chunks, and stay open."""
        return self._change(Always({"silent_after": after_chunks}, times=times, streams=True))

    def error_in_stream(self, at: int | None = 0, *, times: int | None = None) -> Self:
        """Streams end in an error event, under status 200, after ``at`` chunks.

        0 is after the opening events; None is the very first event.
        """
        return self._change(
            Always({"error_at": -1 if at is None else at}, times=times, streams=True)
        )

    def malformed(self, body: Body = '{"id": "sim-', *, times: int | None = None) -> Self:
        """Status 200 with this body, whatever it is."""
        return self._change(Always({"body": body}, times=times))

    def headers(self, headers: Mapping[str, str]) -> Self:
        """Every answer carries these too; one of the same name is replaced."""
        return self._change(Extra(dict(headers)))

    def echo_secret(self, status: int = 401) -> Self:
        """An error whose message shows the whole secret: it must not travel further."""
        return self._refuse(Always({"refusal": Refusal("echo", status=status)}))


class ProviderScript(Script):
    """What a whole provider does, whatever the key; ``Simulator.provider`` gives it."""

    __slots__ = ()

    def outage(self, status: int = 503, *, seconds: float = inf) -> Self:
        """Refuses everybody for ``seconds`` from the first request on (inf: until ``heal``)."""
        refusal = Refusal("status", status=status)
        return self._refuse(Rest(lambda _left: refusal, seconds))

    def block(self, status: int = 403) -> Self:
        """Refuses everybody with the same status, as for a blocked address."""
        return self._refuse(Always({"refusal": Refusal("blocked", status=status)}))


class UpstreamScript(Script):
    """What an upstream behind a broker does; ``Simulator.upstream`` gives it."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def down(self, status: int = 502, *, seconds: float = inf) -> Self:
        """Fails with ``status`` for ``seconds`` from the first request on; the broker says so."""
        refusal = Refusal("upstream", status=status, upstream=self.name)
        return self._refuse(Rest(lambda _left: refusal, seconds))


def _rate_limited(left: float) -> Refusal:
    return Refusal("rate_limited", retry_after=left)
