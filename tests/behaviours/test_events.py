"""Events and usage records balance: whatever begins ends, each call exactly once."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from llm_rotate import LMRotateError
from llm_rotate.core.events import Event, EventKind
from llm_rotate.engine.usage_log import LOGGER

from .dialects import each_dialect
from .doors import sends
from .wires import WIRES
from .world import HELLO, World

Scenario = Callable[[World], Awaitable[Any]]


def stream_of(world: World, **arguments: Any) -> Any:
    return world.lm.chat_stream(world.model, HELLO, **arguments)


async def cancelled_after(seconds: float, call: Awaitable[Any]) -> None:
    task = asyncio.ensure_future(call)
    await asyncio.sleep(seconds)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def answered(world: World) -> None:
    await world.chat()


async def rotated(world: World) -> None:
    world.sim.key("k1").then(429).then(401)
    await world.chat()


async def retried(world: World) -> None:
    world.sim.provider(world.provider).outage(500, seconds=0.1)
    await world.chat(max_retries=9)


async def refused(world: World) -> None:
    world.sim.key("k1").then(400)
    await world.chat()


async def without_a_key(world: World) -> None:
    await world.lm.keys.disable("k1")
    await world.lm.keys.disable("k2")
    await world.chat()


async def waited(world: World) -> None:
    await world.lm.keys.rest("k1", 5)
    await world.lm.keys.rest("k2", 5)
    await world.chat()


async def too_late(world: World) -> None:
    world.sim.key("k1").slow(50)
    await world.chat(timeout=5)


async def cancelled(world: World) -> None:
    world.sim.key("k1").slow(50)
    await cancelled_after(1, world.chat())


async def cancelled_while_it_waits(world: World) -> None:
    await world.lm.keys.rest("k1", 5)
    await world.lm.keys.rest("k2", 5)
    await cancelled_after(1, world.chat())


async def withdrawn(world: World) -> None:
    world.transport.connect_s = 2
    call = asyncio.ensure_future(world.chat())
    await asyncio.sleep(1)
    await world.lm.keys.rest("k1", 60)
    await call


async def streamed(world: World) -> None:
    async for _ in stream_of(world):
        pass


async def left_early(world: World) -> None:
    async with stream_of(world) as stream:
        await anext(stream)


async def closed_twice(world: World) -> None:
    stream = stream_of(world)
    await anext(stream)
    await stream.aclose()
    await stream.aclose()


async def closed_while_it_opens(world: World) -> None:
    world.sim.key("k1").slow(50)
    stream = stream_of(world)
    reader = asyncio.ensure_future(anext(stream, None))
    await asyncio.sleep(1)
    await stream.aclose()
    await reader


async def closed_while_it_is_read(world: World) -> None:
    world.sim.key("k1").slow(0, between=50)
    stream = stream_of(world)
    await anext(stream)
    reader = asyncio.ensure_future(anext(stream, None))
    await asyncio.sleep(1)
    await stream.aclose()
    await reader


async def cancelled_while_it_is_read(world: World) -> None:
    world.sim.key("k1").slow(0, between=50)
    stream = stream_of(world)
    await anext(stream)
    await cancelled_after(1, anext(stream))
    await stream.aclose()


async def dropped(world: World) -> None:
    stream = stream_of(world)
    await anext(stream)
    del stream
    gc.collect()
    await asyncio.sleep(0)


async def cut(world: World) -> None:
    world.sim.key("k1").cut_stream(1)
    await streamed(world)


async def ended_in_an_error(world: World) -> None:
    wire = WIRES[world.provider]
    sends(world.sim, [*wire.opening, wire.said("so far"), wire.overloaded])
    await streamed(world)


async def stream_that_was_refused(world: World) -> None:
    world.sim.provider(world.provider).block(400)
    await streamed(world)


async def lent(world: World) -> None:
    async with world.lm.acquire(world.provider):
        pass


async def lent_and_failed(world: World) -> None:
    with suppress(ValueError):
        async with world.lm.acquire(world.provider):
            raise ValueError("the caller's own")


async def lent_and_reported(world: World) -> None:
    async with world.lm.acquire(world.provider) as key:
        await key.report_success()
        await key.report_error(ValueError("too late"))


async def lent_and_cancelled(world: World) -> None:
    async def work() -> None:
        async with world.lm.acquire(world.provider):
            await asyncio.sleep(50)

    await cancelled_after(1, work())


async def nothing_to_lend(world: World) -> None:
    await world.lm.keys.disable("k1")
    await world.lm.keys.disable("k2")
    await lent(world)


SCENARIOS: list[Scenario] = [
    answered,
    rotated,
    retried,
    refused,
    without_a_key,
    waited,
    too_late,
    cancelled,
    cancelled_while_it_waits,
    withdrawn,
    streamed,
    left_early,
    closed_twice,
    closed_while_it_opens,
    closed_while_it_is_read,
    cancelled_while_it_is_read,
    dropped,
    cut,
    ended_in_an_error,
    stream_that_was_refused,
    lent,
    lent_and_failed,
    lent_and_reported,
    lent_and_cancelled,
    nothing_to_lend,
]


def played(provider: str, scenario: Scenario) -> list[Event]:
    heard: list[Event] = []

    async def play() -> None:
        with suppress(LMRotateError):
            await scenario(world)

    world = World(["k1", "k2"], provider=provider, strategy="priority", priorities={"k1": 1})
    with world.lm.listen(heard.append):
        world.run(play)
    return heard


@each_dialect
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_attempt_that_starts_ends_and_every_call_ends_once(provider, scenario):
    heard = played(provider, scenario)
    number = Counter(event.kind for event in heard)
    assert number[EventKind.CALL_ENDED] == 1
    assert number[EventKind.ATTEMPT_STARTED] == number[EventKind.ATTEMPT_ENDED]
    attempts = [event for event in heard if event.kind is EventKind.ATTEMPT_ENDED]
    assert [event for event in heard if event.call][-1].kind is EventKind.CALL_ENDED
    assert len({event.call for event in heard if event.call}) == 1
    assert all(event.seconds is not None for event in attempts)


@each_dialect
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_call_is_one_usage_record(provider, scenario, caplog):
    with caplog.at_level(logging.INFO, LOGGER):
        played(provider, scenario)
    records = [json.loads(each.message) for each in caplog.records if each.name == LOGGER]
    assert [record["event"] for record in records] == ["llm_call_completed"]


STATUSES: list[tuple[Scenario, str, str, str | None]] = [
    (rotated, "success", "ok", None),
    (streamed, "success", "ok", None),
    (lent, "success", "ok", None),
    (left_early, "cancelled", "cancelled", None),
    (dropped, "cancelled", "cancelled", None),
    (closed_while_it_opens, "cancelled", "cancelled", "CancelledError"),
    (cancelled, "cancelled", "cancelled", "CancelledError"),
    (cancelled_while_it_waits, "cancelled", "cancelled", "CancelledError"),
    (too_late, "error", "cancelled", "DeadlineError"),
    (refused, "error", "bad_request", "BadRequestError"),
    (cut, "error", "interrupted", "StreamInterruptedError"),
]


@each_dialect
@pytest.mark.parametrize(("scenario", "status", "outcome", "error"), STATUSES)
def test_a_record_tells_success_and_failure_from_a_caller_who_left(
    provider, scenario, status, outcome, error, caplog
):
    with caplog.at_level(logging.INFO, LOGGER):
        played(provider, scenario)
    [record] = [json.loads(each.message) for each in caplog.records if each.name == LOGGER]
    assert (record["status"], record["outcome"], record["error_type"]) == (status, outcome, error)
