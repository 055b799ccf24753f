"""Batches that end early: closed, cancelled, stopped by Ctrl-C. What was paid for is there."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from llm_rotate import BatchError, ChatResponse, PoolClosedError
from llm_rotate.lmclient.results import EmbeddingResult, GenerationResult

from .dialects import each_dialect
from .doors import Sockets, fake_time, sockets
from .test_limits import limited
from .world import World

PROMPTS = [f"row {number}" for number in range(50)]
KEYS = ("k1", "k2", "k3")
EMBEDDER = "text-embedding-3-small"


def slow_down(world: World | Sockets, seconds: float = 1.0) -> None:
    for key in KEYS:
        world.sim.key(key).slow(seconds)


def contents(batch: Any) -> dict[int, str]:
    return {n: each.content for n, each in enumerate(batch.results) if each is not None}


def expected(count: int) -> dict[int, str]:
    return {number: f"You said: row {number}" for number in range(count)}


@pytest.fixture
def world() -> World:
    made = World()
    slow_down(made)
    return made


# -- the pool is closed


@each_dialect
def test_a_call_that_close_ends_says_so_and_blames_nobody(provider):
    async def scenario() -> None:
        call = asyncio.ensure_future(world.chat())
        await asyncio.sleep(1)
        await world.lm.close()
        with pytest.raises(PoolClosedError, match="the pool was closed") as raised:
            await call
        assert [each.outcome for each in raised.value.attempts] == ["cancelled"]
        assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)
        health = await world.lm.health()
        assert {key.failures for key in health.providers[provider].keys.values()} == {0}

    with fake_time(provider=provider) as world:
        world.sim.key("k1").slow(5)
        world.run(scenario)
        assert world.sim.requests() == 1


@pytest.mark.parametrize("limits", [{}, {"rpm": 1}], ids=["it rests", "it is full"])
def test_a_call_that_waits_for_a_key_hears_of_the_close_at_once(limits):
    world = limited({"k1": {"limits": limits}})

    async def scenario() -> None:
        await world.chat()
        if not limits:
            await world.lm.keys.rest("k1", 50)
        calls = [asyncio.ensure_future(world.chat(max_wait_seconds=1000)) for _ in range(3)]
        await asyncio.sleep(1)
        await world.lm.close()
        for call in calls:
            with pytest.raises(PoolClosedError):
                await call
        assert world.clock.now() == 1001.0

    world.run(scenario)


def test_a_batch_whose_pool_is_closed_ends_and_has_what_is_done(world):
    async def scenario() -> None:
        batch = asyncio.ensure_future(
            world.lm.chat_batch(world.model, PROMPTS, max_parallel_requests=8)
        )
        await asyncio.sleep(2.5)
        await world.lm.close()
        with pytest.raises(BatchError, match="PoolClosedError after 24 rows") as raised:
            await batch
        done = raised.value.batch
        assert contents(done) == expected(16)
        assert len(done.results) == len(done.errors) == len(PROMPTS)
        failed = [n for n, error in enumerate(done.errors) if isinstance(error, PoolClosedError)]
        assert failed == list(range(16, 24))
        assert isinstance(raised.value.__cause__, PoolClosedError)

    world.run(scenario)
    assert world.sim.requests() == 24


def test_a_batch_that_waits_for_keys_hears_of_the_close_at_once():
    world = World(["k1"])
    world.sim.key("k1").rate_limit(after=3, retry_after=3000)

    async def scenario() -> None:
        batch = asyncio.ensure_future(world.lm.chat_batch(world.model, PROMPTS))
        await asyncio.sleep(5)
        await world.lm.close()
        with pytest.raises(BatchError, match="PoolClosedError") as raised:
            await batch
        assert world.clock.now() == 1005.0
        assert contents(raised.value.batch) == expected(3)

    world.run(scenario)


def test_as_completed_gives_the_rows_and_then_says_that_the_pool_was_closed(world):
    async def scenario() -> None:
        found: dict[int, Any] = {}

        async def read() -> None:
            rows = world.lm.as_completed(world.model, PROMPTS, max_parallel_requests=8)
            async for index, result in rows:
                found[index] = result

        reader = asyncio.ensure_future(read())
        await asyncio.sleep(1.5)
        await world.lm.close()
        with pytest.raises(PoolClosedError):
            await reader
        assert [isinstance(found[n], ChatResponse) for n in range(16)] == [True] * 8 + [False] * 8

    world.run(scenario)


def test_texts_under_way_fail_together_when_the_pool_is_closed(world):
    async def scenario() -> None:
        batch = asyncio.ensure_future(
            world.lm.embed_batch(EMBEDDER, PROMPTS, micro_batch_size=10, max_parallel_requests=2)
        )
        await asyncio.sleep(1.5)
        await world.lm.close()
        with pytest.raises(BatchError, match="PoolClosedError after 40 rows") as raised:
            await batch
        done = raised.value.batch
        assert [each is None for each in done.results] == [False] * 20 + [True] * 30
        assert done.usage.total_tokens > 0

    world.run(scenario)


def test_a_pool_that_was_closed_serves_again(world):
    async def scenario() -> None:
        await world.lm.close()
        world.transport._closed = False  # the world has one transport only
        assert (await world.chat()).content

    world.run(scenario)


@pytest.mark.parametrize("is_guest", [False, True], ids=["lean", "httpx"])
def test_close_from_another_thread_ends_a_batch_over_sockets(is_guest):
    with sockets() as world:
        slow_down(world, 30.0)
        if is_guest:
            world.lm._pool._http_client = httpx.AsyncClient()
        closer = threading.Thread(
            target=lambda: (
                world.sim.wait_for(lambda: world.sim.in_flight == 8) and world.lm.close_sync()
            )
        )
        closer.start()
        with pytest.raises(BatchError, match="PoolClosedError after 8 rows"):
            world.lm.chat_batch_sync(world.model, PROMPTS, max_parallel_requests=8)
        closer.join()
        assert world.sim.wait_idle()


# -- what has come by then


def test_a_cancelled_batch_has_what_is_done(world):
    async def scenario() -> None:
        batch = asyncio.ensure_future(
            world.lm.chat_batch(world.model, PROMPTS, max_parallel_requests=8)
        )
        await asyncio.sleep(2.5)
        batch.cancel()
        with pytest.raises(asyncio.CancelledError) as raised:
            await batch
        assert contents(raised.value.batch) == expected(16)
        assert raised.value.batch.completed == 16
        assert raised.value.batch.usage.total_tokens > 0

    world.run(scenario)


def test_ctrl_c_in_asyncio_run_has_it_on_the_error_before():
    rows = PROMPTS * 20
    with sockets() as world:
        slow_down(world, 0.02)
        timer = interrupted(world, after=10)
        with pytest.raises(KeyboardInterrupt) as raised:
            asyncio.run(world.lm.chat_batch("m", rows, max_parallel_requests=1))
        timer.join()
        done = raised.value.__context__.batch  # type: ignore[union-attr]
        assert done.completed >= 8
        assert len(done) == len(rows)


def test_so_has_one_that_took_too_long(world):
    async def scenario() -> None:
        with pytest.raises(TimeoutError) as raised:
            async with asyncio.timeout(2.5):
                await world.lm.chat_batch(world.model, PROMPTS, max_parallel_requests=8)
        assert contents(raised.value.__cause__.batch) == expected(16)

    world.run(scenario)


def test_the_first_error_that_ends_a_batch_has_what_was_done_before_it(world):
    world.sim.refuses("row 20")

    async def scenario() -> None:
        with pytest.raises(Exception, match="row 20") as raised:
            await world.lm.chat_batch(
                world.model, PROMPTS, max_parallel_requests=8, return_exceptions=False
            )
        done = raised.value.batch  # type: ignore[attr-defined]
        assert contents(done).items() >= expected(16).items()
        assert done.failed == 1

    world.run(scenario)


@pytest.mark.parametrize("collect", [True, False])
def test_rows_that_on_result_had_no_time_to_take_are_there_too(world, collect):
    async def slow(index: int, *_: Any) -> None:
        await asyncio.sleep(100)

    async def scenario() -> Any:
        batch = asyncio.ensure_future(
            world.lm.chat_batch(
                world.model, PROMPTS, max_parallel_requests=8, on_result=slow, collect=collect
            )
        )
        await asyncio.sleep(10)
        batch.cancel()
        with pytest.raises(asyncio.CancelledError) as raised:
            await batch
        return raised.value.batch

    batch = world.run(scenario)
    answers = contents(batch).values() if collect else [r.content for r in batch.untaken.values()]
    assert set(answers) == set(expected(batch.completed).values())
    assert world.sim.requests() == batch.completed > 8


def interrupted(world: Sockets, after: int) -> threading.Thread:
    """Ctrl-C when the server has seen so many requests."""

    def interrupt() -> None:
        world.sim.wait_for(lambda: world.sim.requests() >= after)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("batch", "kind"),
    [
        (lambda lm, rows: lm.chat_batch_sync("m", rows, max_parallel_requests=1), ChatResponse),
        (
            lambda lm, rows: lm.client("m", max_parallel_requests=1).generate_batch(rows),
            GenerationResult,
        ),
        (
            lambda lm, rows: lm.client(EMBEDDER, max_parallel_requests=1).embed_batch(
                rows, micro_batch_size=1
            ),
            EmbeddingResult,
        ),
    ],
    ids=["chat_batch_sync", "generate_batch", "embed_batch"],
)
def test_ctrl_c_brings_what_is_done(batch, kind):
    rows = PROMPTS * 20
    with sockets() as world:
        slow_down(world, 0.02)
        timer = interrupted(world, after=10)
        with pytest.raises(KeyboardInterrupt) as raised:
            batch(world.lm, rows)  # far more than are done by then
        timer.join()
        done = raised.value.batch  # type: ignore[attr-defined]
        there = [each for each in done.results if each is not None]
        assert {type(each) for each in there} == {kind}
        assert done.completed == len(there) >= 8
        assert len(done.results) == len(done.errors) == len(rows)
        assert done.usage.total_tokens > 0
        world.lm.close_sync()


@pytest.mark.parametrize("face", ["chat_batch_sync", "as_completed_sync"])
def test_ctrl_c_leaves_nothing_behind(face):
    with sockets() as world:
        slow_down(world, 30.0)
        timer = interrupted(world, after=1)
        with pytest.raises(KeyboardInterrupt):
            list(getattr(world.lm, face)(world.model, PROMPTS))
        timer.join()
        assert not world.lm._pool.judge.live
        world.lm.close_sync()
        assert world.sim.wait_idle()


# -- sources that take their time


async def trickled(rows: int, seconds: float) -> AsyncIterator[str]:
    for number in range(rows):
        await asyncio.sleep(seconds)
        yield f"row {number}"


def test_texts_that_come_slowly_are_not_held_back_for_others():
    world = World()

    async def scenario() -> None:
        began = world.clock.now()
        at: dict[int, float] = {}
        async for index, _ in world.lm.embed_as_completed(EMBEDDER, trickled(5, 10.0)):
            at[index] = world.clock.now() - began
        assert at == {n: pytest.approx(10.0 * (n + 1), abs=0.2) for n in range(5)}

    world.run(scenario)
    assert world.sim.requests() == 5


def test_texts_that_come_in_bursts_go_together():
    world = World()

    async def bursts() -> AsyncIterator[str]:
        for number in range(60):
            await asyncio.sleep(5.0 if number % 20 == 0 else 0.001)
            yield f"row {number}"

    async def scenario() -> None:
        batch = await world.lm.embed_batch(EMBEDDER, bursts())
        assert (batch.completed, batch.failed) == (60, 0)

    world.run(scenario)
    assert [len(seen.body["input"]) for seen in world.sim.log] == [20, 20, 20]


def test_a_slow_source_that_is_left_leaves_nothing_behind():
    world = World()
    slow_down(world, 5.0)

    async def scenario() -> None:
        before = len(asyncio.all_tasks())
        rows = trickled(5, 10.0)
        batch = asyncio.ensure_future(world.lm.embed_batch(EMBEDDER, rows, max_parallel_requests=1))
        await asyncio.sleep(12)  # one row is being sent, and the next one asked for
        batch.cancel()
        await asyncio.wait([batch])
        assert len(asyncio.all_tasks()) == before

    world.run(scenario)


@pytest.mark.parametrize("face", ["as_completed", "embed_as_completed"])
def test_a_slow_source_is_not_waited_for_when_the_pool_is_closed(face):
    world = World()
    slow_down(world, 10.0)

    async def scenario() -> None:
        before = len(asyncio.all_tasks())
        found: dict[int, Any] = {}

        async def read() -> None:
            rows = getattr(world.lm, face)(EMBEDDER, trickled(3, 15.0), max_parallel_requests=4)
            async for index, result in rows:
                found[index] = result

        reader = asyncio.ensure_future(read())
        await asyncio.sleep(32)
        await world.lm.close()
        with pytest.raises(PoolClosedError):
            await reader
        assert world.clock.now() == 1032.0
        assert [isinstance(found[n], Exception) for n in range(2)] == [False, True]
        assert len(asyncio.all_tasks()) == before

    world.run(scenario)


def test_a_slow_source_that_raises_loses_nothing():
    world = World()

    async def breaks() -> AsyncIterator[str]:
        async for row in trickled(3, 10.0):
            yield row
        raise OSError("gone")

    async def scenario() -> None:
        with pytest.raises(BatchError, match="OSError after 3 rows: gone") as raised:
            await world.lm.embed_batch(EMBEDDER, breaks())
        assert len([each for each in raised.value.batch if each]) == 3

    world.run(scenario)


# -- arguments that are wrong for every row


@pytest.mark.parametrize("face", ["chat_batch", "embed_batch", "transcribe_batch"])
@pytest.mark.parametrize("word", ["on_result", "on_progress", "postprocess"])
def test_what_is_no_function_is_refused_before_the_first_request(world, face, word):
    def rows() -> Iterator[Any]:
        raise AssertionError("no row is read")
        yield

    async def scenario() -> None:
        with pytest.raises(Exception, match=f"{word} must be a function, not int"):
            await getattr(world.lm, face)(world.model, rows(), **{word: 5})

    world.run(scenario)
    assert world.sim.requests() == 0
