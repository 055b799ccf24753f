"""Keys lent to vendors' own SDKs: their real exceptions move the health machine by the table."""

from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import anthropic
import boto3
import botocore.config
import httpx
import httpx2
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors

from llm_rotate import ConfigurationError, NoAvailableKeyError
from llm_rotate.core.events import Event, EventKind
from llm_rotate.core.outcome import FAULTS, Outcome

from .dialects import PROVIDERS, each_dialect
from .doors import Sockets, fake_time, sockets
from .world import HELLO, MODELS

PAUSE = {"timeout": 0.3, "max_retries": 0}  # seconds


@dataclass(frozen=True)
class Sdk:
    """One vendor's SDK: what it is made with, and how one asks it. boto3 has no coroutines."""

    sync: Any
    coroutines: Any
    ask: Callable[..., Any]
    fault: type[Exception]
    more: tuple[type[Exception], ...] = ()  # what comes through it from the HTTP library below

    @property
    def raises(self) -> tuple[type[Exception], ...]:
        return (self.fault, *self.more)


def ask_openai(client: Any, **more: Any) -> Any:
    return client.chat.completions.create(model=MODELS["openai"], messages=HELLO, **more)


def ask_anthropic(client: Any, **more: Any) -> Any:
    return client.messages.create(
        model=MODELS["anthropic"], messages=HELLO, **{"max_tokens": 9, **more}
    )


class Google:
    """google-genai's client as the others are made and left."""

    def __init__(
        self, api_key: str, base_url: str, max_retries: int, timeout: float | None = None
    ) -> None:
        assert max_retries == 0
        milliseconds = None if timeout is None else int(timeout * 1000)
        options = genai.types.HttpOptions(
            base_url=base_url, api_version="v1beta", timeout=milliseconds
        )
        self._client = genai.Client(vertexai=False, api_key=api_key, http_options=options)

    def __enter__(self) -> Any:
        return self._client.__enter__()

    def __exit__(self, *error: object) -> None:
        self._client.__exit__(*error)

    async def __aenter__(self) -> Any:
        return await self._client.aio.__aenter__()

    async def __aexit__(self, *error: object) -> None:
        await self._client.aio.__aexit__(*error)
        self._client.close()


def ask_google(client: Any, *, stream: bool = False) -> Any:
    models = client.models
    ask = models.generate_content_stream if stream else models.generate_content
    return ask(model=MODELS["google_ai_studio"], contents="hello")


def ask_responses(client: Any, **more: Any) -> Any:
    return client.responses.create(model=MODELS["openai_responses"], input="hello", **more)


SDKS = {
    "openai_responses": Sdk(openai.OpenAI, openai.AsyncOpenAI, ask_responses, openai.APIError),
    "openai": Sdk(openai.OpenAI, openai.AsyncOpenAI, ask_openai, openai.APIError),
    "anthropic": Sdk(
        anthropic.Anthropic, anthropic.AsyncAnthropic, ask_anthropic, anthropic.APIError
    ),
    "google_ai_studio": Sdk(
        Google,
        Google,
        ask_google,
        genai_errors.APIError,
        (httpx.HTTPError, httpx2.HTTPError),
    ),
}


SESSION = boto3.Session()  # it reads what the service's operations are once


class Boto3:
    """boto3 with the face of the other SDKs."""

    def __init__(self, *, api_key: str, base_url: str, timeout: float = 60, max_retries: int):
        self.client = SESSION.client(
            "bedrock-runtime",
            region_name="us-east-1",
            endpoint_url=base_url,
            aws_access_key_id=api_key.replace("sk-sim", "AKIASIM"),
            aws_secret_access_key=api_key,
            config=botocore.config.Config(
                read_timeout=timeout, retries={"total_max_attempts": max_retries + 1}
            ),
        )

    def __enter__(self) -> Any:
        return self.client

    def __exit__(self, *_: object) -> None:
        self.client.close()


def ask_bedrock(client: Any, *, stream: bool = False) -> Any:
    messages = [{"role": "user", "content": [{"text": "hello"}]}]
    if stream:
        answer = client.converse_stream(modelId=MODELS["aws_bedrock"], messages=messages)
        return closing_after(answer["stream"])
    return client.converse(modelId=MODELS["aws_bedrock"], messages=messages)


def closing_after(stream: Any) -> Iterator[Any]:
    """boto3 leaves a stream's connection open when an exception was in it."""
    with closing(stream):
        yield from stream


SDKS["aws_bedrock"] = Sdk(Boto3, None, ask_bedrock, Exception)
ASYNC = [provider for provider, sdk in SDKS.items() if sdk.coroutines]
WAYS = [*((provider, "sync") for provider in SDKS), *((provider, "async") for provider in ASYNC)]
each_way = pytest.mark.parametrize(("provider", "mode"), WAYS)


def test_every_dialect_has_its_sdk():
    assert set(SDKS) == set(PROVIDERS.values())


@contextmanager
def world_of(provider: str, **arguments: Any) -> Iterator[tuple[Sockets, list[Event]]]:
    """A pool and the ends of its attempts."""
    heard: list[Event] = []

    def listener(event: Event) -> None:
        if event.kind is EventKind.ATTEMPT_ENDED:
            heard.append(event)

    with sockets(provider=provider, **arguments) as world, world.lm.listen(listener):
        yield world, heard
        world.check_idle()


def borrow(world: Sockets, mode: str, work: Callable[..., Any], url: str | None = None) -> Any:
    """``work(sdk client, lent key)`` inside the block; in ``async`` mode awaited."""
    sdk = SDKS[world.provider]

    async def with_async() -> Any:
        async with (
            world.lm.acquire(world.provider, model=world.model) as key,
            sdk.coroutines(api_key=key.key_value, base_url=url or key.base_url, **PAUSE) as client,
        ):
            return await work(client, key)

    if mode == "async":
        return asyncio.run(with_async())
    with (
        world.lm.acquire_sync(world.provider, model=world.model) as key,
        sdk.sync(api_key=key.key_value, base_url=url or key.base_url, **PAUSE) as client,
    ):
        return work(client, key)


def asks(provider: str, **more: Any) -> Callable[..., Any]:
    return lambda client, _key: SDKS[provider].ask(client, **more)


FAULTY: dict[str, tuple[Callable[[Any], Any], Outcome]] = {
    "429": (lambda key: key.rate_limit(retry_after=7), Outcome.RATE_LIMITED),
    "no money": (lambda key: key.quota_exhausted(), Outcome.QUOTA_EXHAUSTED),
    "402": (lambda key: key.then(402), Outcome.QUOTA_EXHAUSTED),
    "401": (lambda key: key.bad_key(), Outcome.AUTH_FAILED),
    "403": (lambda key: key.forbidden(), Outcome.FORBIDDEN),
    "404": (lambda key: key.unknown_model(None), Outcome.MODEL_NOT_FOUND),
    "400": (lambda key: key.then(400), Outcome.BAD_REQUEST),
    "413": (lambda key: key.then(413), Outcome.BAD_REQUEST),
    "418": (lambda key: key.then(418), Outcome.BAD_REQUEST),
    "422": (lambda key: key.then(422), Outcome.BAD_REQUEST),
    "408": (lambda key: key.then(408), Outcome.TIMED_OUT),
    "409": (lambda key: key.then(409), Outcome.SERVER_ERROR),
    "500": (lambda key: key.then(500), Outcome.SERVER_ERROR),
    "502": (lambda key: key.then(502), Outcome.SERVER_ERROR),
    "503": (lambda key: key.then(503), Outcome.OVERLOADED),
    "504": (lambda key: key.then(504), Outcome.TIMED_OUT),
    "529": (lambda key: key.then(529), Outcome.OVERLOADED),
    "599": (lambda key: key.then(599), Outcome.SERVER_ERROR),
    "dropped": (lambda key: key.drop(), Outcome.SERVER_ERROR),
    "too slow": (lambda key: key.slow(float("inf")), Outcome.TIMED_OUT),
}
# What an outcome leaves: the key's own state, and that of its scope for the model.
STATES = {
    Outcome.RATE_LIMITED: ("active", "cooldown"),
    Outcome.QUOTA_EXHAUSTED: ("quarantine", None),
    Outcome.AUTH_FAILED: ("quarantine", None),
    Outcome.FORBIDDEN: ("active", "quarantine"),
    Outcome.MODEL_NOT_FOUND: ("active", "quarantine"),
}


def check_state(world: Sockets, outcome: Outcome) -> None:
    """What is not in STATES leaves everything as it was."""
    own, scoped = STATES.get(outcome, ("active", None))
    key = world.lm.health_sync().providers[world.provider].keys["k1"]
    assert key.state == own
    scopes = {name: scope.state for name, scope in key.scopes.items()}
    assert scopes == ({world.model: scoped} if scoped else {})


@each_way
@pytest.mark.parametrize("case", FAULTY)
def test_C05_an_sdks_exception_is_judged_as_the_table_says(provider, mode, case):
    script, outcome = FAULTY[case]
    with world_of(provider) as (world, ended):
        key = world.sim.key("k1")
        if case == "404":
            key.unknown_model(world.model)
        else:
            script(key)
        with pytest.raises(SDKS[provider].raises):
            borrow(world, mode, asks(provider))
        assert [event.outcome for event in ended] == [outcome]
        check_state(world, outcome)
        assert world.sim.requests() == 1


@each_way
def test_C05_a_time_that_was_stated_is_kept(provider, mode):
    with world_of(provider) as (world, _):
        world.sim.key("k1").rate_limit(retry_after=77)
        with pytest.raises(SDKS[provider].raises):
            borrow(world, mode, asks(provider))
        key = world.lm.health_sync().providers[provider].keys["k1"]
        scope = key.scopes[world.model]
        assert (scope.until - scope.since).total_seconds() == pytest.approx(77, abs=0.5)
        assert scope.status == 429


@each_way
def test_C05_nobody_there_is_no_keys_fault(provider, mode):
    with world_of(provider) as (world, ended):
        with pytest.raises(SDKS[provider].raises):
            borrow(world, mode, asks(provider), "http://127.0.0.1:1")
        assert [event.outcome for event in ended] == [Outcome.UNREACHABLE]
        check_state(world, Outcome.UNREACHABLE)


@each_way
def test_C05_an_error_event_in_the_sdks_stream_is_judged_too(provider, mode):
    def read(client: Any, _key: Any) -> Any:
        return list(SDKS[provider].ask(client, stream=True))

    async def read_async(client: Any, _key: Any) -> Any:
        return [event async for event in await SDKS[provider].ask(client, stream=True)]

    with world_of(provider) as (world, ended):
        world.sim.key("k1").error_in_stream(1)
        with pytest.raises(SDKS[provider].raises):
            borrow(world, mode, read_async if mode == "async" else read)
        assert [FAULTS[event.outcome].blame for event in ended] == ["provider"]
        check_state(world, Outcome.SERVER_ERROR)


@each_way
def test_C05_leaving_normally_is_a_success(provider, mode):
    with world_of(provider) as (world, ended):
        world.lm.keys.enable_sync("k1")  # on probation: a success brings it back
        borrow(world, mode, asks(provider))
        assert [event.outcome for event in ended] == [Outcome.OK]
        key = world.lm.health_sync().providers[provider].keys["k1"]
        assert (key.state, key.successes, key.in_flight) == ("active", 1, 0)


OWN = [
    ValueError("mine"),
    KeyError("k"),
    TimeoutError(),
    ConnectionError("mine"),
    KeyboardInterrupt(),
]


@each_way
@pytest.mark.parametrize("error", OWN, ids=lambda error: type(error).__name__)
def test_C05_the_callers_own_errors_blame_nobody(provider, mode, error):
    async def fail_async(_client: Any, _key: Any) -> None:
        raise error

    def fail(_client: Any, _key: Any) -> None:
        raise error

    with world_of(provider) as (world, ended):
        with pytest.raises(type(error)) as caught:
            borrow(world, mode, fail_async if mode == "async" else fail)
        assert caught.value is error
        assert [event.outcome for event in ended] == [Outcome.CANCELLED]
        key = world.lm.health_sync().providers[provider].keys["k1"]
        assert (key.state, dict(key.scopes), key.in_flight) == ("active", {}, 0)
        total = world.lm.usage_summary_sync()["total"]
        assert (total["successes"], total["failures"]) == (0, 0)


@each_dialect
def test_C05_cancelled_inside_the_block_blames_nobody_and_gives_the_key_back(provider):
    async def scenario() -> None:
        async def hold() -> None:
            async with world.lm.acquire(provider, model=world.model):
                await asyncio.sleep(3600)

        task = asyncio.ensure_future(hold())
        await asyncio.sleep(1)
        assert len(world.lm._pool.judge.live) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with fake_time(provider=provider) as world:
        world.run(scenario)
        key = world.lm.health_sync().providers[provider].keys["k1"]
        assert (key.state, key.in_flight) == ("active", 0)


@pytest.mark.parametrize("provider", ASYNC)
def test_C05_cancelled_while_the_sdk_sends(provider):
    async def scenario(world: Sockets) -> None:
        sdk = SDKS[provider]

        async def hold() -> None:
            async with (
                world.lm.acquire(provider) as key,
                sdk.coroutines(
                    api_key=key.key_value, base_url=world.sim.url(provider), max_retries=0
                ) as client,
            ):
                await sdk.ask(client)

        task = asyncio.ensure_future(hold())
        await asyncio.to_thread(world.sim.wait_for, lambda: world.sim.in_flight == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with world_of(provider) as (world, ended):
        world.sim.key("k1").slow(float("inf"))
        asyncio.run(scenario(world))
        assert [event.outcome for event in ended] == [Outcome.CANCELLED]
        check_state(world, Outcome.CANCELLED)


@each_way
def test_C05_reporting_twice_is_harmless_and_the_first_report_counts(provider, mode):
    class RateLimitError(SDKS[provider].fault):  # type: ignore[name-defined]  # as an SDK derives it
        def __init__(self) -> None:
            Exception.__init__(self, "slow down")
            self.status_code = 429
            self.body = None

    class APIStatusError(RateLimitError):
        pass

    async def twice_async(_client: Any, key: Any) -> None:
        await key.report_success()
        await key.report_success("upstream")
        await key.report_error(APIStatusError())
        await key.report_error(ValueError())

    def twice(_client: Any, key: Any) -> None:
        key.report_success()
        key.report_success("upstream")
        key.report_error(APIStatusError())
        key.report_error(ValueError())

    with world_of(provider) as (world, ended):
        borrow(world, mode, twice_async if mode == "async" else twice)
        assert [event.outcome for event in ended] == [Outcome.OK]
        check_state(world, Outcome.CANCELLED)


@each_way
def test_C05_an_error_that_was_caught_inside_can_be_reported(provider, mode):
    """And then leaving normally is no second report."""
    sdk = SDKS[provider]

    async def caught_async(client: Any, key: Any) -> None:
        try:
            await sdk.ask(client)
        except sdk.fault as error:
            await key.report_error(error)

    def caught(client: Any, key: Any) -> None:
        try:
            sdk.ask(client)
        except sdk.fault as error:
            key.report_error(error)

    with world_of(provider) as (world, ended):
        world.sim.key("k1").bad_key()
        borrow(world, mode, caught_async if mode == "async" else caught)
        assert [event.outcome for event in ended] == [Outcome.AUTH_FAILED]
        check_state(world, Outcome.AUTH_FAILED)


@each_way
def test_C05_the_next_one_is_lent_another_key(provider, mode):
    lent: list[str] = []

    def note(client: Any, key: Any) -> Any:
        lent.append(key.key_id)
        return SDKS[provider].ask(client)

    with world_of(provider) as (world, _):
        world.sim.key("k1").bad_key()
        with pytest.raises(SDKS[provider].raises):
            borrow(world, mode, note)
        borrow(world, mode, note)
        borrow(world, mode, note)
    assert lent[0] == "k1"
    assert set(lent[1:]) <= {"k2", "k3"}


@each_way
def test_C05_no_key_to_lend(provider, mode):
    with world_of(provider, keys=["k1"], defaults={"max_wait_seconds": 0}) as (world, _):
        world.lm.keys.rest_sync("k1", 60, "unpaid")
        with pytest.raises(NoAvailableKeyError) as caught:
            borrow(world, mode, asks(provider))
        assert "unpaid" in caught.value.reasons["k1"]
        assert caught.value.earliest_retry_at is not None
        assert world.sim.requests() == 0
        world.lm.keys.reset_sync("k1")


@each_dialect
def test_C05_a_wait_for_a_key_ends_when_it_is_back(provider):
    async def scenario() -> None:
        await world.lm.keys.rest("k1", 30)
        async with world.lm.acquire(provider, max_wait_seconds=60) as key:
            assert key.key_id == "k1"
        assert world.clock.now() == pytest.approx(1030)

    with fake_time(provider=provider, keys=["k1"]) as world:
        world.run(scenario)


def test_C05_an_unknown_provider_is_named():
    async def scenario() -> None:
        with pytest.raises(ConfigurationError, match="nobody-ai"):
            await world.lm.acquire("nobody-ai").__aenter__()

    with fake_time() as world:
        world.run(scenario)


@each_way
def test_F04_a_lent_key_never_shows_its_secret(provider, mode):
    shown: list[str] = []

    def look(_client: Any, key: Any) -> Any:
        assert key.key_value == "sk-sim-k1"
        shown.extend([repr(key), str(key), f"{key}", repr([key]), repr(world.lm)])
        for spread in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="cannot be pickled") as caught:
                spread(key)
            shown.append(str(caught.value))
        return asyncio.sleep(0)

    with world_of(provider) as (world, _):
        result = borrow(world, mode, look)
        if mode == "sync":
            result.close()
    assert "sk-sim" not in "".join(shown)
    assert "k1" in shown[0]


@each_dialect
def test_C05_an_upstream_may_be_told_with_a_success(provider):
    def tell(_client: Any, key: Any) -> None:
        key.report_success(upstream_provider="somebody")

    with world_of(provider) as (world, ended):
        borrow(world, "sync", tell)
        assert [event.outcome for event in ended] == [Outcome.OK]


def test_C05_judged_by_names_never_by_imports():
    """The SDKs may sit on another HTTP library, or not be installed."""
    code = """
import sys, asyncio
from llm_rotate.testing import Simulator
class APIStatusError(Exception):
    status_code = 401
    body = None
with Simulator().serve() as sim:
    lm = sim.pool(["k1"])
    try:
        with lm.acquire_sync("openai"):
            raise APIStatusError("no")
    except APIStatusError:
        pass
    print(lm.health_sync().providers["openai"].keys["k1"].state)
print([name for name in ("openai", "anthropic", "httpx") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == "quarantine\n[]\n"
