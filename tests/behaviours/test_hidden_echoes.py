"""Secrets in the small places of an answer, and in what an HTTP client keeps."""

from __future__ import annotations

import asyncio
import json
import pickle
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from llm_rotate import LMRotate, LMRotateError, UnreachableError
from llm_rotate.testing.pool import pool_config

from .dialects import each_dialect
from .world import HELLO, World

SECRET = "sk-very-secret-0123456789"


@each_dialect
@pytest.mark.parametrize("status", [400, 401, 403, 429, 500])
def test_F04_a_secret_in_a_code_or_a_request_id_is_hidden(provider, status, caplog):
    world = World(["k1"], provider=provider, defaults={"max_retries": 0, "max_wait_seconds": 0})
    world.sim.key("k1", secret=SECRET)
    world.lm._pool.assembly.keys["k1"].secret_ref = f"literal://{SECRET}"
    body = {"error": {"message": f"no {SECRET}", "type": SECRET, "code": SECRET}}
    headers = {"x-request-id": SECRET, "request-id": SECRET}
    world.sim.key("k1").then(status, body=json.dumps(body), headers=headers)
    events: list[Any] = []

    async def scenario() -> None:
        with pytest.raises(LMRotateError) as caught:
            await world.chat()
        error: Any = caught.value.__cause__ or caught.value
        shown = [error.code, error.request_id, error.attempts, error.args, events, caplog.text]
        shown += [repr(await world.lm.health()), str(pickle.dumps(caught.value))]
        assert SECRET not in repr(shown)
        assert error.request_id is not None

    with caplog.at_level("DEBUG"), world.lm.listen(events.append):
        world.run(scenario)


@each_dialect
def test_F04_a_secret_in_a_good_answers_request_id_is_hidden(provider):
    world = World(["k1"], provider=provider)
    world.sim.key("k1", secret=SECRET).headers({"x-request-id": SECRET, "request-id": SECRET})
    world.lm._pool.assembly.keys["k1"].secret_ref = f"literal://{SECRET}"

    async def scenario() -> None:
        answer = await world.chat()
        assert answer.request_id is not None
        assert SECRET not in repr(answer)

    world.run(scenario)


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """The exception and all that it came from."""
    found: list[BaseException | None] = [error]
    seen: set[int] = set()
    while found:
        each = found.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield each
            found += [each.__cause__, each.__context__]


@each_dialect
@pytest.mark.parametrize("library", ["httpx", "httpx2"])
@pytest.mark.parametrize("is_stream", [False, True])
def test_F04_the_callers_own_client_keeps_no_key_in_its_exceptions(provider, library, is_stream):
    http = pytest.importorskip(library)
    config = pool_config(
        {"k1": provider}, lambda _: "http://127.0.0.1:1", lambda _: SECRET, {}, fallback_chains={}
    )

    async def scenario() -> BaseException:
        async with http.AsyncClient(trust_env=False) as client:
            lm = LMRotate(config, http_client=client)
            stream = lm.chat_stream("m", HELLO, max_retries=0)
            call = anext(stream) if is_stream else lm.chat("m", HELLO, max_retries=0)
            with pytest.raises(UnreachableError) as caught:
                await call
            await lm.close()
            return caught.value

    error = asyncio.run(scenario())
    causes = list(chain_of(error))
    assert any(type(each).__module__.startswith("http") for each in causes)
    for each in causes:
        request = getattr(each, "_request", None)
        assert SECRET not in repr(getattr(request, "headers", None) and dict(request.headers))
        assert SECRET not in repr(vars(each))
    assert SECRET not in "".join(traceback.format_exception(error))
