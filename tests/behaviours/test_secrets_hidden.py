"""F04: whatever a provider echoes, and wherever one looks, a secret is never seen."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from llm_rotate import ConfigurationError, LMRotate, LMRotateError, configure_from_dict
from llm_rotate.engine.pool import Seams
from llm_rotate.testing import FakeTime, Simulator, run_fake
from llm_rotate.testing.exchange import Chunk, SimAnswer
from llm_rotate.testing.routes import base_path

from .dialects import each_address, each_service
from .doors import NoJitter
from .wires import WIRES, sse
from .world import HELLO, MODELS

# One that looks like a key, and one that only its owner can know for one.
SECRETS = ("sk-proj-Zx81kQ92mVb37Lw0", "correct horse battery")
each_secret = pytest.mark.parametrize("secret", SECRETS, ids=("key-like", "plain words"))


def error_bodies(secret: str) -> dict[str, Any]:
    """Errors that show the secret, each in its way."""
    half = len(secret) // 2
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in secret)
    return {
        "message": {"error": {"message": f"Incorrect API key provided: {secret}."}},
        "code": {"error": {"message": "no", "code": secret, "type": secret}},
        "type": {"type": "error", "error": {"type": secret, "message": secret}},
        "top": {"message": secret, "detail": secret, "code": secret, "request_id": secret},
        "list": {"detail": [{"loc": [secret], "msg": secret}]},
        "names": {"error": {secret: {secret: [secret]}, "message": "no"}},
        "raw": {"error": {"message": "x", "metadata": {"raw": secret, "headers": {"a": secret}}}},
        "split": {"error": {"message": secret[:half], "code": secret[half:], "param": secret}},
        "bearer": {"error": {"message": f"got Authorization: Bearer {secret}"}},
        "text": f"403 {secret}",
        "html": f"<html><title>{secret}</title><body>{secret}</body>",
        "string": json.dumps(secret),
        "escaped": f'{{"error": {{"message": "{escaped}"}}}}',
        "cut": f'{{"error": {{"message": "{secret}',
    }


def echoing_headers(secret: str) -> tuple[tuple[str, str], ...]:
    names = (
        "x-request-id",
        "request-id",
        "retry-after",
        "retry-after-ms",
        "x-ratelimit-reset-requests",
        "anthropic-ratelimit-requests-reset",
        "www-authenticate",
        "content-type",
        "x-should-retry",
    )
    value = secret.encode("latin-1", "replace").decode("latin-1")
    return tuple((name, value) for name in names)


class Hostile:
    """A pool whose provider answers with what it was sent."""

    def __init__(self, provider: str, secret: str, **defaults: Any) -> None:
        self.provider, self.model = provider, MODELS[provider]
        self.sim, self.clock = Simulator(), FakeTime()
        self.transport = self.sim.memory_transport()
        registry = {
            "providers": {provider: {"base_url": "http://x.invalid" + base_path(provider)}},
            "keys": [
                {"key_id": key, "provider": provider, "secret_ref": "env://HOSTILE_SECRET"}
                for key in ("k1", "k2")
            ],
            "defaults": {"max_retries": 1, "max_wait_seconds": 0, **defaults},
        }
        self.config = configure_from_dict(registry, ["k1", "k2"])
        seams = Seams(self.clock, NoJitter(), open_transport=lambda: self.transport)
        self.lm = LMRotate(self.config, seams=seams)
        self.events: list[Any] = []

    def answers(self, status: int, headers: Any, *chunks: bytes, stream: bool = False) -> None:
        answer = self.sim.answer

        def echo(*request: Any) -> SimAnswer:
            parts = tuple(Chunk(chunk) for chunk in chunks)
            return replace(
                answer(*request), status=status, headers=headers, chunks=parts, stream=stream
            )

        self.sim.answer = echo  # type: ignore[method-assign]

    async def chat(self) -> Any:
        return await self.lm.chat(self.model, HELLO)

    async def read(self) -> Any:
        stream = self.lm.chat_stream(self.model, HELLO)
        async for _ in stream:
            pass
        return stream.response

    def outcome(self, call: Any) -> Any:
        """The answer, or the exception."""

        async def caught() -> Any:
            try:
                return await call()
            except LMRotateError as error:
                return error

        with self.lm.listen(self.events.append):
            return run_fake(caught(), self.clock)


@contextmanager
def hostile(
    monkeypatch: pytest.MonkeyPatch, provider: str, secret: str, **defaults: Any
) -> Iterator[Hostile]:
    monkeypatch.setenv("HOSTILE_SECRET", secret)
    yield Hostile(provider, secret, **defaults)


def shown(error: BaseException) -> Iterator[str]:
    """All that can be read off an exception and those behind it."""
    seen: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in seen:
        seen.append(at)
        yield from (str(at), repr(at), repr(at.args))
        if isinstance(at, LMRotateError):
            yield repr(vars(at))
            yield pickle.dumps(at, 0).decode("latin-1")
            yield repr(vars(pickle.loads(pickle.dumps(at))))
            yield repr(vars(copy.copy(at)))
        at = at.__cause__ or at.__context__
    yield "".join(traceback.format_exception(error))


def looked_at(world: Hostile, caplog: pytest.LogCaptureFixture) -> Iterator[str]:
    """All that a pool shows of itself and tells."""
    health = world.lm.health_sync()
    yield repr(health)
    yield repr(world.lm.usage_summary_sync())
    yield repr(world.events)
    yield from map(repr, (world.lm, world.lm.keys, world.config, world.config.keys, world.lm._pool))
    yield from (repr(key) for key in world.lm._pool.assembly.keys.values())
    yield from (repr(key.ready) for key in world.lm._pool.assembly.keys.values())
    yield world.config.model_dump_json()
    yield repr(world.config.model_dump())
    for record in caplog.records:
        yield record.getMessage()
        yield repr(record.args)
        yield logging.Formatter().format(record)


def check(secret: str, texts: Iterator[str]) -> None:
    spellings = {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    for text in texts:
        assert not any(spelling in text for spelling in spellings), text


@each_service
@each_secret
@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 429, 500])
@pytest.mark.parametrize("shape", error_bodies("x"))
def test_F04_an_echoed_secret_goes_nowhere(monkeypatch, caplog, provider, secret, status, shape):
    caplog.set_level(logging.DEBUG)
    body = error_bodies(secret)[shape]
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    with hostile(monkeypatch, provider, secret) as world:
        world.answers(status, echoing_headers(secret), raw)
        error = world.outcome(world.chat)
        assert isinstance(error, LMRotateError)
        assert world.sim.requests() >= 1
        check(secret, shown(error))
        check(secret, looked_at(world, caplog))
        assert any(r.name == "llm_rotate.observability.usage" for r in caplog.records)


@each_service
@each_secret
@pytest.mark.parametrize("status", [401, 429, 500])
def test_F04_an_echo_under_a_real_error_goes_nowhere(monkeypatch, caplog, provider, secret, status):
    """The simulator's own words for it."""
    caplog.set_level(logging.DEBUG)
    with hostile(monkeypatch, provider, secret) as world:
        for key in ("unknown-1", "unknown-2"):
            world.sim.key(key).echo_secret(status)
        error = world.outcome(world.chat)
        assert isinstance(error, LMRotateError)
        check(secret, shown(error))
        check(secret, looked_at(world, caplog))


@each_service
@each_secret
@pytest.mark.parametrize("at", ["first", "mid"])
@pytest.mark.parametrize(
    "shape", ["message", "code", "type", "top", "names", "split", "cut", "text"]
)
def test_F04_an_echo_in_a_streams_error_event_goes_nowhere(
    monkeypatch, caplog, provider, secret, at, shape
):
    caplog.set_level(logging.DEBUG)
    body, wire = error_bodies(secret)[shape], WIRES[provider]
    event = sse(body, secret) if isinstance(body, dict) else f"data: {body}\n\n".encode()
    begun = [*wire.opening, wire.said("Once")] if at == "mid" else []
    with hostile(monkeypatch, provider, secret) as world:
        headers = (("content-type", "text/event-stream"), ("x-request-id", secret))
        world.answers(200, headers, *begun, event, stream=True)
        error = world.outcome(world.read)
        if isinstance(error, LMRotateError):
            check(secret, shown(error))
        check(secret, looked_at(world, caplog))


@each_service
@each_secret
def test_F04_a_good_answers_headers_do_not_show_it(monkeypatch, caplog, provider, secret):
    caplog.set_level(logging.DEBUG)
    with hostile(monkeypatch, provider, secret) as world:
        world.sim.key("unknown-1").headers(dict(echoing_headers(secret)))
        response = world.outcome(world.chat)
        assert response.content == "You said: hello"
        check(secret, iter([repr(response), repr(response.attempts)]))
        check(secret, looked_at(world, caplog))


@each_address
@each_secret
@pytest.mark.parametrize("call", ["chat", "read", "acquire"])
def test_F04_a_good_call_shows_nothing(monkeypatch, caplog, provider, secret, call):
    caplog.set_level(logging.DEBUG)

    async def acquire() -> str:
        async with world.lm.acquire(provider) as key:
            assert key.key_value == secret
            return repr(key)

    with hostile(monkeypatch, provider, secret) as world:
        work = {"chat": world.chat, "read": world.read, "acquire": acquire}[call]
        result = world.outcome(work)
        assert not isinstance(result, Exception)
        check(secret, iter([repr(result)]))
        check(secret, looked_at(world, caplog))


@each_service
@each_secret
def test_F04_nobody_there(monkeypatch, caplog, provider, secret):
    """Nor in what the system or the transport raised, which is the cause."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HOSTILE_SECRET", secret)
    registry = {
        "providers": {provider: {"base_url": "http://127.0.0.1:1"}},
        "keys": [{"key_id": "k1", "provider": provider, "secret_ref": "env://HOSTILE_SECRET"}],
        "defaults": {"max_retries": 0},
    }
    lm = LMRotate(configure_from_dict(registry, ["k1"]))
    with pytest.raises(LMRotateError) as caught:
        asyncio.run(lm.chat(MODELS[provider], HELLO))
    assert caught.value.__cause__ is not None
    check(secret, shown(caught.value))
    check(secret, iter(record.getMessage() for record in caplog.records))


@each_service
@pytest.mark.parametrize(
    "secret", ["two\nlines-of-a-secret", "nül-secret-of-bytes\x00", "ключ-секрет"]
)
def test_F04_a_secret_that_no_header_can_carry(monkeypatch, caplog, provider, secret):
    """It is refused before it is sent, without being shown."""
    caplog.set_level(logging.DEBUG)
    if "\x00" in secret:
        secret = secret.replace("\x00", "\x7f\x01")
    monkeypatch.setenv("HOSTILE_SECRET", secret)
    registry = {
        "providers": {provider: {"base_url": "http://127.0.0.1:1"}},
        "keys": [{"key_id": "k1", "provider": provider, "secret_ref": "env://HOSTILE_SECRET"}],
        "defaults": {"max_retries": 0, "max_wait_seconds": 0},
    }
    lm = LMRotate(configure_from_dict(registry, ["k1"]))
    with pytest.raises(LMRotateError) as caught:
        asyncio.run(lm.chat(MODELS[provider], HELLO))
    check(secret, shown(caught.value))
    check(secret, iter([repr(lm.health_sync())]))
    check(secret, iter(record.getMessage() for record in caplog.records))


STATUS_LINES = {
    "status line": "HTTP/1.1 {secret}\r\n\r\n",
    "header line": "HTTP/1.1 200 OK\r\n{secret}\r\n\r\n",
    "header name": "HTTP/1.1 200 OK\r\n{secret}: x\r\n\r\n",
    "length": "HTTP/1.1 200 OK\r\nContent-Length: {secret}\r\n\r\n",
    "encoding": "HTTP/1.1 200 OK\r\nContent-Encoding: {secret}\r\nContent-Length: 2\r\n\r\n{{}}",
    "chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{secret}\r\n\r\n",
    "no http": "{secret}\r\n\r\n",
    "reason": "HTTP/1.1 500 {secret}\r\nContent-Length: 0\r\n\r\n",
    "redirect": "HTTP/1.1 302 Found\r\nLocation: http://{secret}/\r\nContent-Length: 0\r\n\r\n",
}


@each_service
@each_secret
@pytest.mark.parametrize("place", STATUS_LINES)
def test_F04_an_echo_in_what_is_hardly_http(monkeypatch, caplog, provider, secret, place):
    """Real sockets: the HTTP parser's complaint is the cause, and quotes what it read."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HOSTILE_SECRET", secret)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(STATUS_LINES[place].format(secret=secret).encode("latin-1", "replace"))
        await writer.drain()
        writer.close()

    async def scenario() -> BaseException:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        registry = {
            "providers": {provider: {"base_url": f"http://127.0.0.1:{port}"}},
            "keys": [{"key_id": "k1", "provider": provider, "secret_ref": "env://HOSTILE_SECRET"}],
            "defaults": {"max_retries": 0, "max_wait_seconds": 0},
        }
        async with server, LMRotate(configure_from_dict(registry, ["k1"])) as lm:
            try:
                await lm.chat(MODELS[provider], HELLO)
            except LMRotateError as error:
                check(secret, iter([repr(await lm.health())]))
                return error
        raise AssertionError("that was an answer")

    error = asyncio.run(scenario())
    check(secret, shown(error))
    check(secret, iter(record.getMessage() for record in caplog.records))


@each_secret
def test_F04_a_dump_of_a_configuration_hides_literal_secrets(secret):
    registry = {
        "keys": [{"key_id": "k1", "provider": "openai", "secret_ref": f"literal://{secret}"}],
    }
    with pytest.warns(UserWarning, match="literal"):
        config = configure_from_dict(registry, ["k1"])
    lm = LMRotate(config)
    texts = [repr(config), str(config), config.model_dump_json(), repr(config.model_dump())]
    texts += [
        repr(config.keys),
        repr(lm),
        repr(lm.config),
        pickle.dumps(config, 0).decode("latin-1"),
    ]
    check(secret, iter(texts))


@each_secret
def test_F04_a_wrong_registry_is_told_of_without_its_secrets(secret):
    registry = {
        "keys": [
            {"key_id": "k1", "provider": "openai", "secret_ref": secret, "priority": secret},
            {"key_id": "k1", "provider": secret, "secret_ref": f"literal://{secret}"},
        ]
    }
    with pytest.raises(ConfigurationError) as caught:
        configure_from_dict(registry, ["k1"])
    assert f"literal://{secret}" not in "".join(traceback.format_exception(caught.value))
