"""Streams: rotated until something was handed out, whole or honest after it, nothing left."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_rotate import (
    BadRequestError,
    DeadlineError,
    LMRotateError,
    NoAvailableKeyError,
    StreamInterruptedError,
    TimedOutError,
)
from llm_rotate.testing.exchange import End

from .dialects import ADDRESSES, each_address, each_service
from .doors import DOORS, asked, fake_time, read, sends, sockets, text, wait_until
from .wires import CALL, IN_LINES, TOOL, WIRES, whole
from .world import HELLO

each_door = pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
SHORT = {"timeouts": {"first_event": 0.3, "idle": 0.2}}  # seconds; in fake time any would do
KEYS = ("k1", "k2")


def test_every_dialect_has_its_events():
    assert set(WIRES) == set(ADDRESSES.values())


def stream(world: Any, **arguments: Any) -> Any:
    return world.lm.chat_stream(world.model, HELLO, **arguments)


def streamed(world: Any, **arguments: Any) -> tuple[list[Any], Any, BaseException | None]:
    """The chunks of one stream, the stream, and what it raised."""

    async def scenario() -> tuple[list[Any], Any, BaseException | None]:
        chunks: list[Any] = []
        opened = stream(world, **arguments)
        try:
            await read(opened, chunks)
        except LMRotateError as error:
            return chunks, opened, error
        return chunks, opened, None

    return world.run(scenario)


def states(world: Any) -> set[str]:
    keys = world.lm.health_sync().providers[world.provider].keys
    return {key.state for key in keys.values()} | {
        scope.state for key in keys.values() for scope in key.scopes.values()
    }


# -- S01: before the first chunk


@each_address
@each_door
@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_S01_a_refused_stream_is_rotated(door, provider, status):
    with door(provider=provider, keys=KEYS) as world:
        world.sim.key("k1").then(status, headers={"retry-after": "0"} if status >= 500 else {})
        chunks, _, error = streamed(world)
    assert error is None
    assert text(chunks) == "You said: hello"
    assert asked(world) == ["k1", "k2"]
    assert {chunk.key_id for chunk in chunks} == {"k2"}


@each_service
@each_door
@pytest.mark.parametrize("at", [None, 0])
def test_S01_an_error_event_before_the_first_chunk_is_rotated(door, provider, at):
    with door(provider=provider, keys=KEYS) as world:
        world.sim.key("k1").error_in_stream(at)
        chunks, opened, error = streamed(world)
    assert error is None
    assert text(chunks) == opened.response.content == "You said: hello"
    assert asked(world) == ["k1", "k2"]
    assert [attempt.outcome for attempt in opened.response.attempts][-1] == "ok"


@each_address
@each_door
def test_S01_an_error_event_is_judged_like_the_status_it_stands_for(door, provider):
    wire = WIRES[provider]
    with door(provider=provider, keys=KEYS) as world:
        sends(world.sim, [*wire.opening, *wire.noise, wire.limited])
        chunks, opened, error = streamed(world)
        assert states(world) == {"active", "cooldown"}
    assert error is None
    assert asked(world) == ["k1", "k2"]
    assert [attempt.outcome for attempt in opened.response.attempts] == ["rate_limited", "ok"]
    assert text(chunks) == "You said: hello"


@each_service
@each_door
def test_S01_the_callers_own_fault_in_an_event_is_raised_at_once(door, provider):
    wire = WIRES[provider]
    with door(provider=provider) as world:
        sends(world.sim, [*wire.opening, wire.wrong])
        chunks, _, error = streamed(world)
        assert states(world) == {"active"}
    assert (chunks, asked(world)) == ([], ["k1"])
    assert isinstance(error, BadRequestError)


@each_service
@each_door
def test_S01_a_tool_call_cut_before_it_was_whole_is_rotated(door, provider):
    """Its pieces are not handed out, so nobody has seen them."""
    wire = WIRES[provider]
    with door(provider=provider, keys=KEYS) as world:
        sends(world.sim, [*wire.opening, *wire.calls[:-1]], end=End.CUT)
        chunks, opened, error = streamed(world, tools=[TOOL])
    assert error is None
    assert (asked(world), opened.response.tool_calls) == (["k1", "k2"], [])
    assert text(chunks) == "You said: hello"


@each_service
@each_door
@pytest.mark.parametrize("body", [b"", b"\n\n", b"data: {\n\n", b"data: 7\n\n", b"<html>sorry"])
def test_S01_a_stream_that_is_none_is_rotated(door, provider, body):
    with door(provider=provider, keys=KEYS) as world:
        sends(world.sim, [body])
        chunks, _, error = streamed(world)
    assert error is None
    assert asked(world) == ["k1", "k2"]
    assert text(chunks) == "You said: hello"


@each_service
@each_door
def test_S01_when_no_key_is_left_the_stream_says_so(door, provider):
    with door(provider=provider, keys=KEYS, defaults={"max_wait_seconds": 0}) as world:
        for key in KEYS:
            world.sim.key(key).rate_limit(retry_after=60)
        chunks, opened, error = streamed(world)
    assert isinstance(error, NoAvailableKeyError)
    assert set(error.reasons) == set(KEYS)
    assert (len(error.attempts), chunks) == (2, [])
    with pytest.raises(LMRotateError, match="has not ended"):
        opened.response  # noqa: B018 - reading it is the test


# -- S01: cut anywhere


def cut_at(provider: str, place: int, words: tuple[str, ...]) -> None:
    """Before a chunk was handed out nobody notices a cut; after it, nothing is sent again."""
    raw = whole(provider, *words).raw
    with fake_time(provider=provider, keys=KEYS) as world:
        sends(world.sim, [raw[:place]], end=End.CUT)
        chunks, opened, error = streamed(world)
    wire = WIRES[provider]
    ends = [
        len(b"".join((*wire.opening, *map(wire.said, words[:n])))) for n in range(len(words) + 1)
    ]
    sure = sum(place >= end for end in ends[1:])  # words whose events are whole
    if error is None and asked(world) == ["k1", "k2"]:
        assert not sure
        assert text(chunks) == "You said: hello"
    elif error is None:
        assert place > ends[-1]
        assert asked(world) == ["k1"]
        assert text(chunks) == opened.response.content == "".join(words)
        assert chunks[-1].finish_reason == wire.finish
    else:
        assert isinstance(error, StreamInterruptedError)
        assert asked(world) == ["k1"]
        assert error.text == text(chunks)
        assert "".join(words).startswith(error.text)
        assert len(error.text) >= len("".join(words[:sure]))
        assert error.text
        assert error.attempts[-1].outcome == error.outcome == "interrupted"
    assert states(world) == {"active"}
    # the answer is whole from its last word's event and the event that says so on
    assert (error is None and asked(world) == ["k1"]) >= (place == len(raw))


@each_service
def test_S01_cut_at_every_byte(provider):
    words = ("One", " tŵo", " three")
    for place in range(len(whole(provider, *words).raw) + 1):
        cut_at(provider, place, words)


@each_address
@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_S01_cut_after_so_many_chunks_on_real_sockets(provider, after):
    with sockets(provider=provider, keys=KEYS) as world:
        world.sim.key("k1").cut_stream(after)
        chunks, _, error = streamed(world)
        assert states(world) == {"active"}
    if after == 0:
        assert (error, text(chunks), asked(world)) == (None, "You said: hello", ["k1", "k2"])
    elif after == 3:
        # all was said: the server only broke the connection after its last event
        assert (error, text(chunks), asked(world)) == (None, "You said: hello", ["k1"])
    else:
        assert isinstance(error, StreamInterruptedError)
        assert error.text == text(chunks) == " ".join(["You", "said:"][:after])
        assert asked(world) == ["k1"]
        assert error.key_id == "k1"
        assert error.__cause__ is not None


@each_service
@each_door
@pytest.mark.parametrize("after", [1, 2])
def test_S01_an_error_event_after_a_chunk_interrupts(door, provider, after):
    with door(provider=provider, keys=KEYS) as world:
        # apart, or the last chunk and the error come in one read: nothing was handed out then
        world.sim.key("k1").slow(0.0, between=0.05).error_in_stream(after)
        chunks, opened, error = streamed(world)
        assert states(world) == {"active"}
        assert world.lm.usage_summary_sync()["by_key"]["k1"]["failures"] == 1
    assert isinstance(error, StreamInterruptedError)
    assert error.text == text(chunks) == " ".join(["You", "said:"][:after])
    assert asked(world) == ["k1"]
    with pytest.raises(LMRotateError, match="has not ended"):
        opened.response  # noqa: B018 - reading it is the test


@each_service
@each_door
def test_S01_an_error_that_came_together_with_the_first_chunk_is_rotated(door, provider):
    """Nothing had been handed out."""
    wire = WIRES[provider]
    with door(provider=provider, keys=KEYS) as world:
        sends(world.sim, [b"".join((*wire.opening, wire.said("never seen"), wire.overloaded))])
        chunks, _, error = streamed(world)
    assert error is None
    assert text(chunks) == "You said: hello"
    assert asked(world) == ["k1", "k2"]


@each_service
@each_door
def test_S01_reasoning_that_was_handed_out_is_never_replayed(door, provider):
    wire = WIRES[provider]
    with door(provider=provider, keys=KEYS) as world:
        sends(world.sim, [*wire.opening, wire.thought("hm")], end=End.CUT)
        chunks, _, error = streamed(world)
    assert isinstance(error, StreamInterruptedError)
    assert error.text == ""
    assert [chunk.reasoning for chunk in chunks] == ["hm"]
    assert asked(world) == ["k1"]


@each_service
@each_door
def test_S01_an_interrupted_stream_is_over(door, provider):
    async def scenario() -> None:
        opened = stream(world)
        assert (await anext(opened)).delta == "You"
        with pytest.raises(StreamInterruptedError):
            await anext(opened)
        with pytest.raises(StopAsyncIteration):
            await anext(opened)
        await opened.aclose()

    with door(provider=provider, keys=KEYS) as world:
        world.sim.key("k1").cut_stream(1)
        world.run(scenario)
    assert asked(world) == ["k1"]


# -- S02


@each_address
@each_door
def test_S02_the_last_chunk_carries_finish_reason_and_usage(door, provider):
    with door(provider=provider) as world:
        chunks, opened, error = streamed(world)
        summary = world.lm.usage_summary_sync()["total"]
    *before, last = chunks
    assert error is None
    assert all((c.finish_reason, c.usage, c.tool_calls) == (None, None, []) for c in before)
    assert last.finish_reason == WIRES[provider].finish
    usage = last.usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (1, 3, 4)
    assert opened.response.usage == usage
    assert opened.response.finish_reason == last.finish_reason
    assert (summary["tokens"], summary["successes"], summary["failures"]) == (4, 1, 0)
    assert {c.provider for c in chunks} == {provider}
    assert {c.key_id for c in chunks} == {opened.response.key_id}


@each_address
def test_S02_the_next_call_uses_the_same_connection(provider):
    async def scenario() -> None:
        for _ in range(3):
            await read(stream(world), [])
        assert world.sim.open_connections == 1

    with sockets(provider=provider) as world:
        world.run(scenario)


# -- S03: leaving early

WAYS = ("aclose", "with", "break and collect", "cancel")


async def leave(world: Any, way: str) -> None:
    opened = stream(world)
    if way == "with":
        async with opened:
            assert (await anext(opened)).delta == "You"
        return
    assert (await anext(opened)).delta == "You"
    if way == "aclose":
        await opened.aclose()
        await opened.aclose()
    elif way == "cancel":
        waiting = asyncio.ensure_future(anext(opened))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    del opened
    gc.collect()
    await asyncio.sleep(0)


@each_address
@each_door
@pytest.mark.parametrize("way", WAYS)
def test_S03_leaving_early_closes_the_connection_and_blames_nobody(door, provider, way):
    async def scenario() -> None:
        await leave(world, way)
        assert not world.lm._pool.judge.live
        if door is sockets:  # closed at the server, while the client lives on
            assert await asyncio.to_thread(world.sim.wait_idle)
            assert await asyncio.to_thread(wait_until, lambda: world.sim.open_connections == 0)

    with door(provider=provider) as world:
        world.sim.key("k1").silent_stream(1)
        world.run(scenario)
        assert world.sim.streams_cut_by_client == 1
        assert states(world) == {"active"}
        assert world.lm.usage_summary_sync()["total"]["failures"] == 0
    assert asked(world) == ["k1"]


@each_service
def test_S03_an_exception_of_the_consumer_leaves_at_once(provider):
    async def consume() -> None:
        async with stream(world) as opened:
            async for _ in opened:
                raise ValueError("mine")

    async def scenario() -> None:
        with pytest.raises(ValueError, match="mine"):
            await consume()

    with fake_time(provider=provider) as world:
        world.sim.key("k1").silent_stream(1)
        world.run(scenario)
        assert world.transport.discarded == 1
        assert states(world) == {"active"}


@each_service
def test_S03_a_stream_collected_in_another_thread_is_given_back(provider):
    async def scenario() -> None:
        held = [stream(world)]
        await anext(held[0])
        thread = threading.Thread(target=held.clear)
        thread.start()
        await asyncio.to_thread(thread.join)
        assert await asyncio.to_thread(world.sim.wait_idle)
        assert not world.lm._pool.judge.live

    with sockets(provider=provider) as world:
        world.sim.key("k1").silent_stream(1)
        world.run(scenario)
    assert world.sim.streams_cut_by_client == 1


@each_service
def test_S03_a_stream_collected_after_its_loop_was_closed_is_given_back(provider):
    async def begin() -> Any:
        opened = stream(world)
        await anext(opened)
        return opened

    with sockets(provider=provider) as world:
        world.sim.key("k1").silent_stream(1)
        held = [asyncio.run(begin())]
        held.clear()
        gc.collect()
        world.check_idle()
        world.run(world.chat)
        assert states(world) == {"active"}


@each_service
def test_S03_a_stream_in_a_reference_cycle_is_given_back_at_collection(provider):
    async def scenario() -> None:
        cycle: list[Any] = [stream(world)]
        cycle.append(cycle)
        await anext(cycle[0])
        del cycle
        gc.collect()
        await asyncio.sleep(0)
        assert not world.lm._pool.judge.live

    with fake_time(provider=provider) as world:
        world.sim.key("k1").silent_stream(1)
        world.run(scenario)
    assert world.transport.discarded == 1


@each_service
def test_S03_a_stream_that_is_never_read_sends_nothing(provider):
    async def scenario() -> None:
        stream(world)
        async with stream(world):
            pass
        await stream(world).aclose()

    with fake_time(provider=provider) as world:
        world.run(scenario)
    assert asked(world) == []


@each_service
def test_S03_closing_while_another_task_reads_ends_that_read(provider):
    async def scenario() -> None:
        opened = stream(world)
        await anext(opened)
        waiting = asyncio.ensure_future(anext(opened, None))
        await asyncio.sleep(0)
        await opened.aclose()
        async with asyncio.timeout(1):
            results = await asyncio.gather(waiting, return_exceptions=True)
        assert results[0] is None or isinstance(results[0], LMRotateError)

    with fake_time(provider=provider) as world:
        world.sim.key("k1").silent_stream(1)
        world.run(scenario)
        assert states(world) == {"active"}
        assert world.lm.usage_summary_sync()["total"]["failures"] == 0


@each_service
def test_S03_a_trial_is_free_when_its_stream_was_left(provider):
    """A key on probation serves again after a stream that was left: it had answered."""

    async def scenario() -> None:
        await world.lm.keys.enable("k1")
        await leave(world, "aclose")
        assert (await world.chat()).key_id == "k1"

    with fake_time(provider=provider, keys=["k1"]) as world:
        world.sim.key("k1").silent_stream(1, times=1)
        world.run(scenario)
        assert states(world) == {"active"}


# -- S04

TEXT = ("a\u2028b", "\u0085c\x0b", ' "d"\\', "\n\nevent: error\ndata: {}\n\n", "é🙂")


def everything(provider: str) -> bytes:
    """All kinds of events among each other."""
    wire = WIRES[provider]
    said = [wire.said(word) for word in TEXT]
    thoughts = [wire.thought("hm "), wire.thought("…")]
    parts = [*wire.opening]
    for event in (*thoughts, *said, *wire.calls):
        parts += [*wire.noise, event]
    return b"".join((*parts, *wire.noise, *wire.closing))


def check_everything(provider: str, pieces: list[bytes]) -> None:
    with fake_time(provider=provider) as world:
        sends(world.sim, pieces)
        chunks, opened, error = streamed(world, tools=[TOOL])
    assert error is None
    assert text(chunks) == opened.response.content == "".join(TEXT)
    assert "".join(c.reasoning for c in chunks) == opened.response.reasoning == "hm …"
    assert all(c.delta or c.reasoning for c in chunks[:-1])
    assert [c.tool_calls for c in chunks[:-1]] == [[]] * (len(chunks) - 1)
    [call] = chunks[-1].tool_calls
    assert call == CALL
    assert opened.response.tool_calls == [CALL]
    assert asked(world) == ["k1"]


@each_address
@pytest.mark.parametrize("size", [1, 2, 7, 64, 100_000])
def test_S04_thinking_tools_pings_and_comments_neither_break_nor_leak(provider, size):
    raw = everything(provider)
    check_everything(provider, [raw[i : i + size] for i in range(0, len(raw), size)])


@pytest.mark.parametrize("provider", IN_LINES)
@pytest.mark.parametrize("line_end", [b"\r\n", b"\r"])
def test_S04_with_other_line_ends(provider, line_end):
    raw = everything(provider).replace(b"\n", line_end)
    check_everything(provider, [raw[i : i + 5] for i in range(0, len(raw), 5)])


@each_service
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_S04_however_the_bytes_come(provider, data):
    raw = everything(provider)
    places = data.draw(st.lists(st.integers(1, len(raw) - 1), unique=True).map(sorted))
    edges = [0, *places, len(raw)]
    check_everything(provider, [raw[a:b] for a, b in itertools.pairwise(edges)])


@each_service
@each_door
def test_S04_a_tool_call_alone_comes_whole_on_the_last_chunk(door, provider):
    with door(provider=provider) as world:
        chunks, opened, error = streamed(world, tools=[TOOL], tool_choice="required")
    assert error is None
    [last] = chunks
    [call] = last.tool_calls
    assert call["function"]["name"] == "weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "text"}
    assert opened.response.tool_calls == last.tool_calls
    assert last.delta == ""


# -- S06


@each_address
@each_door
def test_S06_a_stream_that_goes_silent_is_ended_and_its_connection_closed(door, provider):
    with door(provider=provider, defaults=SHORT) as world:
        world.sim.key("k1").silent_stream(2)
        chunks, _, error = streamed(world)
        assert world.sim.streams_cut_by_client == 1
        assert states(world) == {"active"}
    assert isinstance(error, StreamInterruptedError)
    assert error.text == text(chunks) == "You said:"
    assert asked(world) == ["k1"]


@each_service
def test_S06_the_idle_timeout_is_the_time_that_passes(provider):
    with fake_time(provider=provider, defaults={"timeouts": {"idle": 60.0}}) as world:
        world.sim.key("k1").silent_stream(1)
        began = world.clock.now()
        assert isinstance(streamed(world)[2], StreamInterruptedError)
        assert world.clock.now() - began == pytest.approx(60.0)


@each_service
@each_door
def test_S06_a_stream_that_never_starts_is_rotated(door, provider):
    """No status line at all."""
    with door(provider=provider, keys=KEYS, defaults=SHORT) as world:
        world.sim.key("k1").slow(float("inf"))
        chunks, opened, error = streamed(world)
        assert states(world) == {"active"}
    assert error is None
    assert text(chunks) == "You said: hello"
    assert [attempt.outcome for attempt in opened.response.attempts] == ["timed_out", "ok"]
    assert asked(world) == ["k1", "k2"]


@each_service
@each_door
def test_S06_headers_and_opening_events_without_a_chunk_are_no_start(door, provider):
    with door(provider=provider, keys=KEYS, defaults=SHORT) as world:
        world.sim.key("k1").silent_stream(0)
        chunks, _, error = streamed(world)
        assert world.sim.streams_cut_by_client == 1
    assert error is None
    assert text(chunks) == "You said: hello"
    assert asked(world) == ["k1", "k2"]


@each_service
@each_door
def test_S06_headers_alone_are_no_start(door, provider):
    with door(provider=provider, keys=KEYS, defaults=SHORT) as world:
        sends(world.sim, [], end=End.HANG)
        chunks, opened, error = streamed(world)
    assert error is None
    assert [attempt.outcome for attempt in opened.response.attempts] == ["timed_out", "ok"]
    assert text(chunks) == "You said: hello"


@each_service
def test_S06_when_none_starts_the_last_timeout_is_raised(provider):
    with fake_time(provider=provider, keys=KEYS, defaults={"max_retries": 1, **SHORT}) as world:
        for key in KEYS:
            world.sim.key(key).slow(float("inf"))
        _, _, error = streamed(world)
    assert isinstance(error, TimedOutError)
    assert len(error.attempts) == len(asked(world)) == 2


def is_fed_by_pings(door: Any, provider: str, idle_s: float, rounds: int) -> None:
    """Each comes sooner than the timeout, all together later than it."""
    wire = WIRES[provider]
    pings = [part for _ in range(rounds) for event in wire.noise[:2] for part in (0.1, event)]
    patient = {"timeouts": {"first_event": idle_s, "idle": idle_s}}
    with door(provider=provider, keys=KEYS, defaults=patient) as world:
        sends(
            world.sim,
            [*wire.opening, *pings, wire.said("a"), *pings, wire.said("b"), *wire.closing],
        )
        chunks, _, error = streamed(world)
    assert error is None
    assert text(chunks) == "ab"
    assert asked(world) == ["k1"]


@each_service
def test_S06_pings_and_comments_feed_the_idle_timeout(provider):
    is_fed_by_pings(fake_time, provider, idle_s=0.4, rounds=3)


@pytest.mark.parametrize("provider", ["openai", "google_ai_studio"])
def test_S06_pings_feed_the_idle_timeout_of_real_sockets_too(provider):
    is_fed_by_pings(sockets, provider, idle_s=1.0, rounds=6)


@each_service
@each_door
def test_S06_pings_alone_and_then_silence_are_rotated(door, provider):
    wire = WIRES[provider]
    with door(provider=provider, keys=KEYS, defaults=SHORT) as world:
        sends(world.sim, [*wire.opening, 0.05, *wire.noise, 0.05, wire.noise[0]], end=End.HANG)
        chunks, _, error = streamed(world)
    assert error is None
    assert text(chunks) == "You said: hello"
    assert asked(world) == ["k1", "k2"]


@each_service
def test_S06_after_its_first_event_a_stream_has_the_idle_time_only(provider):
    patience = {"timeouts": {"first_event": 120.0, "idle": 60.0}, "max_retries": 0}
    with fake_time(provider=provider, keys=["k1"], defaults=patience) as world:
        sends(world.sim, [50.0, *WIRES[provider].noise[:1]], end=End.HANG)
        began = world.clock.now()
        assert isinstance(streamed(world)[2], TimedOutError)
        assert world.clock.now() - began == pytest.approx(110.0)


@each_service
@pytest.mark.parametrize(("noise", "limit"), [(0, 120), (1, 60)])
def test_S06_a_stream_that_never_starts_is_told_with_the_limit_not_with_what_was_left_of_it(
    provider, noise, limit
):
    patience = {"timeouts": {"first_event": 120.0, "idle": 60.0}, "max_retries": 0}
    with fake_time(provider=provider, keys=["k1"], defaults=patience) as world:
        sends(world.sim, WIRES[provider].noise[:noise], end=End.HANG, delay=50.0)
        error = streamed(world)[2]
    assert isinstance(error, TimedOutError)
    assert f"no event came for {limit} s" in str(error)


# -- the deadline inside a stream


@each_service
@each_door
@pytest.mark.parametrize("silent_after", [0, 1])
def test_the_deadline_ends_a_stream_at_any_point(door, provider, silent_after):
    with door(
        provider=provider, defaults={"timeouts": {"first_event": 30.0, "idle": 30.0}}
    ) as world:
        world.sim.key("k1").silent_stream(silent_after)
        chunks, _, error = streamed(world, timeout=0.2)
        assert states(world) == {"active"}
        assert world.lm.usage_summary_sync()["total"]["failures"] == 0
        assert world.sim.streams_cut_by_client == 1
    assert isinstance(error, DeadlineError)
    assert isinstance(error, TimeoutError)
    assert text(chunks) == error.text == "You"[: 3 * silent_after]
    assert ("was not answered to its end (3 characters had come)" in str(error)) == silent_after
    assert asked(world) == ["k1"]
    assert [attempt.outcome for attempt in error.attempts] == ["cancelled"]


@each_service
def test_the_deadline_passes_while_the_consumer_thinks(provider):
    async def scenario() -> None:
        opened = stream(world, timeout=5.0)
        assert (await anext(opened)).delta == "You"
        await asyncio.sleep(10.0)
        with pytest.raises(DeadlineError):
            await anext(opened)

    with fake_time(provider=provider) as world:
        world.sim.key("k1").silent_stream(1)
        world.run(scenario)
        assert states(world) == {"active"}


@each_service
def test_a_slow_stream_may_last_longer_than_any_step(provider):
    """An hour of chunks, each in time."""
    with fake_time(provider=provider, defaults={"timeouts": {"idle": 1300.0}}) as world:
        world.sim.key("k1").slow(100.0, between=1200.0)
        chunks, _, error = streamed(world)
    assert error is None
    assert text(chunks) == "You said: hello"


# -- without a loop


@each_service
def test_chat_stream_sync_gives_the_same(provider):
    with sockets(provider=provider) as world:
        opened = world.lm.chat_stream_sync(world.model, HELLO)
        chunks = list(opened)
        assert text(chunks) == opened.response.content == "You said: hello"
        assert chunks[-1].usage == opened.response.usage
        assert list(opened) == []
        world.lm.close_sync()
        world.check_idle()


@each_service
@pytest.mark.parametrize("way", ["close", "with", "collect"])
def test_S03_leaving_a_sync_stream_early(provider, way):
    with sockets(provider=provider) as world:
        world.sim.key("k1").silent_stream(1)
        opened = world.lm.chat_stream_sync(world.model, HELLO)
        assert next(opened).delta == "You"
        if way == "close":
            opened.close()
            opened.close()
        elif way == "with":
            with opened:
                pass
        del opened
        gc.collect()
        assert world.sim.wait_idle()
        assert world.sim.streams_cut_by_client == 1
        assert wait_until(lambda: not world.lm._pool.judge.live)
        assert states(world) == {"active"}
        world.lm.close_sync()
        world.check_idle()


@each_service
def test_S01_a_sync_stream_is_interrupted_like_any_other(provider):
    with sockets(provider=provider) as world:
        world.sim.key("k1").cut_stream(1)
        opened = world.lm.chat_stream_sync(world.model, HELLO)
        with pytest.raises(StreamInterruptedError) as caught:
            list(opened)
        assert caught.value.text == "You"
        assert asked(world) == ["k1"]
        with pytest.raises(StopIteration):
            next(opened)
        world.lm.close_sync()
        world.check_idle()
