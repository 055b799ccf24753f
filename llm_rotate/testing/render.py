"""From a plan to an answer: bytes, headers, pauses and how it ends."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from .exchange import Chunk, End, Seen, SimAnswer
from .script import Body, Plan, Refusal
from .wire import Call, Event, HeaderList, Wire, seconds
from .words import Says, reply

_JSON = "application/json"


def render(call: Call, wire: Wire, plan: Plan, seen: Seen, says: Says) -> SimAnswer:
    """What the door sends for ``plan``; notes status and tokens in ``seen``."""
    if plan.dropped:
        return SimAnswer(0, (), (), seen, plan.first_byte, end=End.CUT)
    if plan.refusal is not None:
        return _refused(call, wire, plan, plan.refusal, seen)
    seen.status = 200
    if plan.body is not None:
        return _told(call, wire, plan, plan.body, seen)
    asked = wire.asked(call)
    said = reply(asked, says)
    seen.tokens = asked.prompt_tokens + said.tokens
    if call.stream:
        return _streamed(call, wire, plan, wire.events(call, asked, said), seen)
    body = _raw(wire.whole(call, asked, said))
    headers = _headers(call, wire, plan, _kind(body), asked.headers)
    return SimAnswer(200, headers, (Chunk(body),), seen, plan.first_byte)


def _refused(call: Call, wire: Wire, plan: Plan, refusal: Refusal, seen: Seen) -> SimAnswer:
    status, error = wire.error(call, refusal)
    seen.status = status
    extra: HeaderList = wire.error_headers(refusal) if refusal.body is None else []
    if refusal.retry_after is not None:
        extra.append(("retry-after", seconds(refusal.retry_after)))
    body = _raw(error if refusal.body is None else refusal.body)
    headers = _headers(call, wire, plan, _kind(body), extra)
    return SimAnswer(status, headers, (Chunk(body),), seen, plan.first_byte)


def _told(call: Call, wire: Wire, plan: Plan, body: Body, seen: Seen) -> SimAnswer:
    """A body that a script gave, as it is."""
    headers = _headers(call, wire, plan, wire.stream_type if call.stream else _JSON)
    return SimAnswer(200, headers, (Chunk(_raw(body)),), seen, plan.first_byte, call.stream)


def _streamed(call: Call, wire: Wire, plan: Plan, events: Sequence[Event], seen: Seen) -> SimAnswer:
    end = End.CLEAN
    kept = events
    if plan.error_at is not None:
        kept = [*_first(events, plan.error_at), Event(wire.error_event(call))]
    elif plan.cut_after is not None:
        kept, end = _first(events, plan.cut_after), End.CUT
    elif plan.silent_after is not None:
        kept, end = _first(events, plan.silent_after), End.HANG
    chunks = tuple(
        Chunk(event.data, plan.between if index else 0.0) for index, event in enumerate(kept)
    )
    headers = _headers(call, wire, plan, wire.stream_type)
    return SimAnswer(200, headers, chunks, seen, plan.first_byte, stream=True, end=end)


def _first(events: Sequence[Event], contents: int) -> Sequence[Event]:
    """Events up to the ``contents``-th with content; -1 is none, not even the opening."""
    if contents < 0:
        return ()
    places = [index for index, event in enumerate(events) if event.content]
    return events[: places[contents]] if contents < len(places) else events


def _headers(
    call: Call, wire: Wire, plan: Plan, kind: str = _JSON, extra: Sequence[tuple[str, str]] = ()
) -> tuple[tuple[str, str], ...]:
    headers = {"content-type": kind, **dict([wire.id_header(call)]), **dict(extra)}
    if plan.room is not None:
        headers.update(wire.limit_headers(call, plan.room))
    headers.update({name.lower(): value for name, value in plan.headers.items()})
    return tuple(headers.items())


def _raw(body: Body) -> bytes:
    if isinstance(body, Mapping):
        return json.dumps(body).encode()
    return body.encode() if isinstance(body, str) else body


def _kind(body: bytes) -> str:
    """Plain text and proxies' HTML do not call themselves JSON."""
    if body.startswith((b"{", b"[")):
        return _JSON
    return "text/html" if body.startswith(b"<") else "text/plain"
