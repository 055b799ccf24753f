"""Streams and loans that end in unusual ways: closed by others, twice, in a child, never."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest

from llm_rotate.core.events import Event, EventKind

from .dialects import ENDING_UNSAID, each_dialect, health_of
from .doors import asked, fake_time, read, sends, sockets, text
from .wires import WIRES, whole
from .world import HELLO


def opened(world: Any, **arguments: Any) -> Any:
    return world.lm.chat_stream(world.model, HELLO, **arguments)


def endings(heard: list[Event]) -> list[str]:
    """How each call ended, as its events tell."""
    return [event.detail for event in heard if event.kind is EventKind.CALL_ENDED]


# -- closed while it is being opened


@each_dialect
@pytest.mark.parametrize("times", [1, 2])
def test_S03_closed_before_its_first_chunk_everything_is_back_at_once(provider, times):
    heard: list[Event] = []

    async def scenario() -> None:
        stream = opened(world)
        reader = asyncio.ensure_future(read(stream, []))
        await asyncio.sleep(1)
        for _ in range(times):
            await stream.aclose()
        assert await reader == []
        assert world.clock.now() == 1001.0
        assert (world.transport.open, world.transport.discarded) == (0, 1)
        assert (await health_of(world, "k1")).state == "active"
        await world.chat()

    with fake_time(provider=provider, keys=["k1"]) as world, world.lm.listen(heard.append):
        world.sim.key("k1").slow(500, times=1)
        world.run(scenario)
        assert asked(world) == ["k1", "k1"]
        assert len(endings(heard)) == 2


@each_dialect
def test_S03_closed_while_it_waits_for_a_key_it_waits_no_more(provider):
    async def scenario() -> None:
        await world.lm.keys.rest("k1", 50)
        stream = opened(world, max_wait_seconds=100)
        reader = asyncio.ensure_future(read(stream, []))
        await asyncio.sleep(1)
        await stream.aclose()
        assert await reader == []
        assert world.clock.now() == 1001.0

    with fake_time(provider=provider, keys=["k1"]) as world:
        world.run(scenario)
        assert asked(world) == []


@each_dialect
def test_S03_closed_and_cancelled_while_it_opens_the_cancellation_counts(provider):
    async def scenario() -> None:
        stream = opened(world)
        reader = asyncio.ensure_future(read(stream, []))
        await asyncio.sleep(1)
        reader.cancel()
        await stream.aclose()
        with pytest.raises(asyncio.CancelledError):
            await reader

    with fake_time(provider=provider) as world:
        world.sim.key("k1").slow(5)
        world.run(scenario)


@each_dialect
def test_S03_closed_by_another_thread_before_its_first_chunk(provider):
    with sockets(provider=provider) as world:
        world.sim.key("k1").slow(30)
        stream = world.lm.chat_stream_sync(world.model, HELLO)
        chunks: list[Any] = []
        reader = threading.Thread(target=lambda: chunks.extend(stream))
        reader.start()
        assert world.sim.wait_for(lambda: world.sim.in_flight == 1)
        stream.close()
        reader.join(5)
        assert not reader.is_alive()
        assert chunks == []
        assert world.sim.wait_idle()
        assert not world.lm._pool.judge.live
        world.lm.close_sync()
        world.check_idle()


@each_dialect
def test_S03_closed_between_two_chunks_by_another_task_the_reader_just_ends(provider):
    heard: list[Event] = []

    async def scenario() -> None:
        stream = opened(world)
        chunks = [await anext(stream)]
        reader = asyncio.ensure_future(read(stream, chunks))
        await asyncio.sleep(1)
        await stream.aclose()
        assert len(await reader) == 1

    with fake_time(provider=provider) as world, world.lm.listen(heard.append):
        world.sim.key("k1").slow(0, between=30)
        world.run(scenario)
    assert endings(heard) == [""]


# -- read or entered twice


@each_dialect
def test_S03_two_readers_at_once_are_told_so_and_one_lease_is_lent(provider):
    async def scenario() -> None:
        stream = opened(world)
        first = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(1)
        with pytest.raises(RuntimeError, match="another task"):
            await anext(stream)
        assert len(world.lm._pool.judge.live) == 1
        chunks = [await first, *[chunk async for chunk in stream]]  # nothing was lost by it
        assert text(chunks) == "You said: hello"

    with fake_time(provider=provider) as world:
        world.sim.key("k1").slow(5)
        world.run(scenario)
        assert asked(world) == ["k1"]


@each_dialect
@pytest.mark.parametrize("waits", [False, True])
def test_C05_a_loan_that_is_entered_twice_says_so_and_lends_one_key(provider, waits):
    async def scenario() -> None:
        if waits:
            await world.lm.keys.rest("k1", 5)
        loan = world.lm.acquire(provider)

        async def borrow() -> None:
            async with loan:
                await asyncio.sleep(1)

        results = await asyncio.gather(borrow(), borrow(), return_exceptions=True)
        assert [type(result) for result in results] == [type(None), RuntimeError]
        assert "call acquire() for each" in str(results[1])

    with fake_time(provider=provider, keys=["k1"]) as world:
        world.run(scenario)


def test_C05_a_loan_of_code_without_a_loop_is_entered_once_too():
    with sockets() as world:
        loan = world.lm.acquire_sync("openai")
        with loan, pytest.raises(RuntimeError, match="call acquire"):
            loan.__enter__()
        with pytest.raises(RuntimeError, match="call acquire"):
            loan.__enter__()
        assert not world.lm._pool.judge.live


# -- a server that does not end


def pings_for_ever(world: Any) -> None:
    """The next answer is whole, but its server does not close it."""
    sends(world.sim, [*whole(world.provider, "all of it").events, *[0.1, b": ping\n\n"] * 1000])


@each_dialect
def test_S06_a_server_that_pings_for_ever_after_the_end_is_left(provider):
    async def scenario() -> None:
        stream = opened(world)
        assert text(await read(stream, [])) == stream.response.content == "all of it"
        assert world.clock.now() <= (1060.25 if provider in ENDING_UNSAID else 1000.25)

    with fake_time(provider=provider) as world:
        pings_for_ever(world)
        world.run(scenario)
        assert world.lm.usage_summary_sync()["total"]["successes"] == 1


@each_dialect
def test_S06_cancelled_while_the_server_closes_the_answer_is_counted(provider):
    heard: list[Event] = []
    is_counted = provider not in ENDING_UNSAID  # there it is the answer's end that is cut off

    async def scenario() -> None:
        stream = opened(world)
        reader = asyncio.ensure_future(read(stream, []))
        await asyncio.sleep(0.05)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        if is_counted:
            assert stream.response.content == "all of it"

    with fake_time(provider=provider) as world, world.lm.listen(heard.append):
        pings_for_ever(world)
        world.run(scenario)
        total = world.lm.usage_summary_sync()["total"]
        assert (total["successes"], total["failures"]) == (int(is_counted), 0)
        assert (total["completion_tokens"] > 0) is is_counted
    assert endings(heard) == [""]


# -- several events in one read


@each_dialect
@pytest.mark.parametrize("words", [1, 3])
def test_S01_chunks_and_an_error_in_one_read_are_rotated(provider, words):
    """Nothing was handed out yet, so nobody has seen them."""
    wire = WIRES[provider]
    said = [wire.said(f"word {n} ") for n in range(words)]

    async def scenario() -> None:
        chunks = await read(opened(world), [])
        assert text(chunks) == "You said: hello"
        assert {chunk.key_id for chunk in chunks} == {"k2"}

    with fake_time(provider=provider, keys=["k1", "k2"]) as world:
        sends(world.sim, [b"".join([*wire.opening, *said, wire.limited])])
        world.run(scenario)
        assert asked(world) == ["k1", "k2"]


@each_dialect
def test_S01_a_whole_answer_in_one_read_is_handed_out(provider):
    async def scenario() -> None:
        stream = opened(world)
        assert text(await read(stream, [])) == stream.response.content == "all of it"

    with fake_time(provider=provider) as world:
        sends(world.sim, [whole(provider, "all of it").raw])
        world.run(scenario)
        assert asked(world) == ["k1"]


# -- dropped


@each_dialect
def test_S03_dropped_while_it_is_open_ends_its_call_once(provider):
    heard: list[Event] = []

    async def scenario() -> None:
        stream = opened(world)
        await anext(stream)
        del stream
        gc.collect()
        await asyncio.sleep(0)

    with fake_time(provider=provider) as world, world.lm.listen(heard.append):
        world.run(scenario)
    assert endings(heard) == [""]
