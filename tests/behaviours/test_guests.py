"""Code of others that the pool runs: whatever it raises, no call pays for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from llm_rotate import Place
from llm_rotate.engine.usage_log import LOGGER

from .dialects import each_dialect
from .doors import sockets
from .world import HELLO, World

# -- strategies


def raises_at_once(key: Any, record: Any, norm: Any) -> Place:
    raise ZeroDivisionError("mine")


def raises_later(key: Any, record: Any, norm: Any) -> Place:
    return Place(0, 1 / (record.samples < 2))


def returns_later(key: Any, record: Any, norm: Any) -> Place:
    return Place(0, 1.0) if record.samples < 2 else raises_at_once(key, record, norm)


@each_dialect
@pytest.mark.parametrize("strategy", [raises_at_once, raises_later, returns_later])
def test_R02_a_strategy_that_raises_costs_no_answer(provider, strategy, caplog):
    world = World(["k1", "k2"], provider=provider, strategy=strategy)

    async def scenario() -> None:
        for _ in range(10):
            assert (await world.chat()).content == "You said: hello"

    world.run(scenario)
    assert sum(world.served().values()) == 10
    assert "the strategy failed" in caplog.text


# -- the usage log


class Raising(logging.Handler):
    """A handler, and a filter."""

    def emit(self, record: logging.LogRecord) -> None:
        raise ZeroDivisionError("no disk")

    def __call__(self, record: logging.LogRecord) -> bool:
        raise ZeroDivisionError("no filter")


@pytest.fixture(params=["handler", "filter"])
def raising(request) -> Iterator[None]:
    logger, guest = logging.getLogger(LOGGER), Raising()
    level = logger.level
    logger.setLevel(logging.INFO)
    add, remove = (
        (logger.addHandler, logger.removeHandler)
        if request.param == "handler"
        else (logger.addFilter, logger.removeFilter)
    )
    add(guest)
    try:
        yield
    finally:
        remove(guest)
        logger.setLevel(level)


@pytest.mark.usefixtures("raising")
@each_dialect
def test_C07_a_usage_log_that_raises_costs_no_answer(provider):
    world = World(["k1", "k2"], provider=provider)
    world.sim.key("k1").then(429)

    async def scenario() -> None:
        assert (await world.chat()).key_id == "k2"
        stream = world.lm.chat_stream(world.model, HELLO)
        assert "".join([chunk.delta async for chunk in stream]) == "You said: hello"
        async with world.lm.acquire(provider):
            pass

    world.run(scenario)


# -- listeners


@each_dialect
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, ValueError])
def test_C04_a_listener_that_exits_does_not_stop_the_calls_of_others(provider, kind):
    def exits(event: Any) -> None:
        raise kind("from a listener")

    results: list[Any] = []

    def ask() -> None:
        try:
            results.append(world.lm.chat_sync(world.model, HELLO).content)
        except BaseException as error:
            results.append(type(error))

    def asked_in_time() -> Any:
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(5)
        assert not thread.is_alive()
        return results[-1]

    with sockets(provider=provider, keys=["k1"]) as world:
        with world.lm.listen(exits):
            expected = "You said: hello" if kind is ValueError else kind
            assert asked_in_time() == expected
        assert asked_in_time() == "You said: hello"
        assert not world.lm._pool.judge.live
        world.lm.close_sync()
