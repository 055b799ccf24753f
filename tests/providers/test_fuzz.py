"""Whatever a server sends, to every dialect: nothing but the package's own exceptions comes out.

The answers that are spoiled are those of tests/contract/test_dialects.py, so a new dialect is
among them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_rotate.core.outcome import Outcome
from llm_rotate.core.wire import (
    ChatRequest,
    EmbedRequest,
    FileRequest,
    Headers,
    TranscribeRequest,
    Upload,
    Verdict,
)
from llm_rotate.errors import LMRotateError
from llm_rotate.providers import DIALECTS, dialect
from llm_rotate.types import StreamChunk
from tests.contract.test_dialects import CASES, WALL, Case

each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
many = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
CHAT = ChatRequest("m", [{"role": "user", "content": "hello"}])
REQUESTS: dict[type, list[Any]] = {
    EmbedRequest: [
        EmbedRequest("m", ["a", "b"]),
        EmbedRequest("cohere.embed-v4:0", ["a", "b"]),
        EmbedRequest("amazon.titan-embed-text-v2:0", ["a"]),
    ],
    TranscribeRequest: [
        TranscribeRequest("m", Upload(1, lambda: iter([b"x"])), "a.mp3", "audio/mpeg", "boundary")
    ],
    FileRequest: [FileRequest("m", b"x", "text/plain")],
}
GOOD_TO_OPERATIONS: list[Any] = [
    {"data": [{"index": 1, "embedding": [0.5, 1]}, {"index": 0, "embedding": [1, 2]}],
     "model": "m", "usage": {"prompt_tokens": 3, "total_tokens": 3}},
    {"embeddings": {"float": [[0.5, 1], [1, 2]]}, "embedding": [1, 2], "inputTextTokenCount": 3},
    {"text": "hello", "language": "en", "duration": 1.5, "segments": [{"start": 0, "text": "h"}]},
]  # fmt: skip


def test_every_dialect_is_attacked() -> None:
    assert {case.name for case in CASES} == set(DIALECTS)
    kinds = {kind for name in DIALECTS for kind in dialect(name).operations}
    assert kinds <= set(REQUESTS)


# -- how bodies are spoiled

scalar = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["", "429", "error", "Exception", "\ud800", "0" * 5000, -1, 1e308, 10**400])
)
junk = st.recursive(
    scalar,
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=6) | st.sampled_from(["message", "code"]), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything inside a JSON value."""
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()  # fmt: skip
    for key, item in inner:
        yield from places(item, (*at, key))


def changed(value: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    """A copy in which ``change`` was done to what stands at ``path``."""
    if not path:
        return change(value)
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = changed(value[path[0]], path[1:], change)
    return copied


def reordered(dice: random.Random, value: Any) -> Any:
    """The same value with its fields and entries in another order."""
    if isinstance(value, dict):
        items = [(key, reordered(dice, item)) for key, item in value.items()]
        dice.shuffle(items)
        return dict(items)
    if isinstance(value, list):
        found = [reordered(dice, item) for item in value]
        dice.shuffle(found)
        return found
    return value


def without(value: Any) -> Any:
    """Half of what is there."""
    if isinstance(value, dict):
        return dict(list(value.items())[::2])
    return value[::2] if isinstance(value, list | str) else None


def wrapped(value: Any) -> Any:
    return [value]


def spoilt_value(picked: st.DataObject, whole: Any) -> Any:
    """``whole`` with one to three things in it of another type, gone, doubled or elsewhere."""
    dice = picked.draw(st.randoms(use_true_random=False))
    for _ in range(picked.draw(st.integers(1, 3))):
        path = picked.draw(st.sampled_from(sorted(places(whole), key=str)))
        new = picked.draw(junk)
        kinds = [lambda _old, new=new: new, without, wrapped, str, partial(reordered, dice)]
        whole = changed(whole, path, picked.draw(st.sampled_from(kinds)))
    return whole


def as_bytes(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


def spoilt_bytes(picked: st.DataObject, raw: bytes) -> bytes:
    """``raw`` cut short, with other bytes in it, twice, or all of it noise."""
    noise = picked.draw(st.binary(max_size=24))
    at = picked.draw(st.integers(0, len(raw)))
    ways = [
        raw[:at],
        raw[at:],
        raw[:at] + noise + raw[at + len(noise) :],
        raw[:at] + noise + raw[at:],
        raw + raw,
        b"\xef\xbb\xbf" + raw,
        raw.decode("utf-8", "replace").encode("utf-16"),
        noise,
    ]
    return picked.draw(st.sampled_from(ways))


NESTED = (b"[" * 100_000, b'{"a":' * 100_000, b'{"error":' * 50_000 + b"1" + b"}" * 50_000)
header_text = st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=12)
KNOWN_HEADERS = (
    "retry-after",
    "retry-after-ms",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
    "anthropic-ratelimit-tokens-remaining",
    "anthropic-ratelimit-tokens-reset",
    "x-amzn-errortype",
    "x-amzn-requestid",
    "x-request-id",
)
odd = st.sampled_from(["", "-1", "0s", "nan", "inf", "soon", "1e999", "9" * 400, "#:", "Ä", ":x#y"])
any_headers = st.dictionaries(st.sampled_from(KNOWN_HEADERS), header_text | odd, max_size=5)


def headers_of(named: dict[str, str]) -> Headers:
    return Headers([(k.encode(), v.encode("latin-1", "replace")) for k, v in named.items()])


# -- what must hold


def check(verdict: object) -> None:
    """A verdict that the engine can go on with, and that can be shown."""
    assert isinstance(verdict, Verdict)
    assert isinstance(verdict.outcome, Outcome)
    assert isinstance(verdict.message, str)
    assert isinstance(verdict.code, str | None)
    assert isinstance(verdict.later_s, float | int | None)
    assert (verdict.outcome is Outcome.OK) == (verdict.value is not None)
    if verdict.used is not None:
        counts = (verdict.used.prompt_tokens, verdict.used.completion_tokens)
        assert all(type(count) is int and count >= 0 for count in counts)
    repr(verdict)


def own_only(call: Callable[[], Any]) -> Any:
    """What ``call`` gives; None if it raises an exception of the package's own."""
    try:
        return call()
    except LMRotateError:
        return None


def parsed(case: Case, raw: bytes, status: int, headers: Headers) -> None:
    chosen = dialect(case.name)
    check(own_only(lambda: chosen.parse(CHAT, status, headers, raw, WALL)))
    for kind, operation in chosen.operations.items():
        for asked in REQUESTS[kind]:
            check(own_only(partial(operation.parse, asked, status, headers, raw, WALL)))
    assert isinstance(list(chosen.readings(headers, WALL)), list)


def read(case: Case, raw: bytes, sizes: list[int]) -> None:
    """Reads a stream whose bytes come in pieces of these sizes."""
    reader = dialect(case.name).events(CHAT)
    found: list[Any] = []
    for size in sizes:
        found += reader.feed(raw[:size])
        raw = raw[size:]
    found += [*reader.feed(raw), reader.end()]
    chunks = [item for item in found if isinstance(item, StreamChunk)]
    assert all(isinstance(chunk.delta, str) for chunk in chunks)
    check(next(item for item in found if isinstance(item, Verdict)))
    assert isinstance(reader.text, str)


# -- the attacks


@each
@many
@given(picked=st.data(), status=st.integers(100, 999) | st.just(200), named=any_headers)
def test_spoilt_answers(
    case: Case, picked: st.DataObject, status: int, named: dict[str, str]
) -> None:
    whole = picked.draw(st.sampled_from([dict(case.answer), dict(case.error), *GOOD_TO_OPERATIONS]))
    raw = as_bytes(spoilt_value(picked, whole))
    if picked.draw(st.booleans()):
        raw = spoilt_bytes(picked, raw)
    parsed(case, raw, status, headers_of(named))


@each
@pytest.mark.parametrize("status", [200, 400, 429, 500])
def test_bodies_without_end(case: Case, status: int) -> None:
    for raw in (*NESTED, b"9" * 100_000, b"<html>" * 20_000, bytes(range(256)) * 100):
        parsed(case, raw, status, headers_of({}))
        read(case, raw, [])


@each
@many
@given(picked=st.data(), sizes=st.lists(st.integers(0, 60), max_size=30))
def test_spoilt_streams(case: Case, picked: st.DataObject, sizes: list[int]) -> None:
    events = list(case.events)
    for _ in range(picked.draw(st.integers(0, 3))):
        at = picked.draw(st.integers(0, len(events) - 1))
        if not isinstance(events[at], str):
            events[at] = spoilt_value(picked, events[at])
    if picked.draw(st.booleans()):
        events = picked.draw(st.permutations(events))
    if picked.draw(st.booleans()):
        events.insert(picked.draw(st.integers(0, len(events))), dict(case.error))
    raw = own_frame(case, events)
    if picked.draw(st.booleans()):
        raw = spoilt_bytes(picked, raw)
    read(case, raw, sizes)


def own_frame(case: Case, events: list[Any]) -> bytes:
    """The events as the dialect's wire has them; what it cannot frame is left out."""
    raw = b""
    for event in events:
        try:
            raw += case.framed(event)
        except (ValueError, OverflowError, UnicodeEncodeError):
            continue
    return raw


@each
@many
@given(picked=st.data())
def test_one_bit_wrong_in_a_stream(case: Case, picked: st.DataObject) -> None:
    raw = bytearray(case.stream)
    for _ in range(picked.draw(st.integers(1, 4))):
        raw[picked.draw(st.integers(0, len(raw) - 1))] ^= 1 << picked.draw(st.integers(0, 7))
    read(case, bytes(raw), [])


class Sometimes:
    """An attribute that raises when it is looked at, as that of a response not yet read."""

    @property
    def content(self) -> Any:
        raise RuntimeError("not read")

    @property
    def headers(self) -> Any:
        raise RuntimeError("not there")


def sdk_error(name: str, module: str) -> type[Exception]:
    return type(name, (Exception,), {"__module__": module})


SDK_ERRORS = [
    ("APIStatusError", "openai"),
    ("RateLimitError", "anthropic"),
    ("APIError", "google.genai.errors"),
    ("ClientError", "botocore.exceptions"),
    ("EventStreamError", "botocore.exceptions"),
    ("HTTPStatusError", "httpx"),
    ("ClientResponseError", "aiohttp"),
]
FIELDS = (
    "status_code",
    "status",
    "code",
    "body",
    "response",
    "response_json",
    "headers",
    "details",
)


@each
@many
@given(picked=st.data(), which=st.sampled_from(SDK_ERRORS))
def test_exceptions_of_sdks_with_anything_in_them(
    case: Case, picked: st.DataObject, which: tuple[str, str]
) -> None:
    error: Any = sdk_error(*which)("words")
    metadata = st.fixed_dictionaries({"HTTPStatusCode": junk, "HTTPHeaders": junk})
    answer = st.fixed_dictionaries({"Error": junk, "ResponseMetadata": junk | metadata})
    values = junk | answer | st.binary(max_size=9) | st.just(Sometimes()) | st.integers(100, 599)
    for field in FIELDS:
        if picked.draw(st.booleans()):
            setattr(error, field, picked.draw(values))
    verdict = own_only(lambda: dialect(case.name).classify(error, WALL))
    if verdict is not None:
        assert verdict.outcome is not Outcome.OK
        check(verdict)
