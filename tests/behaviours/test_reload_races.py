"""What happens at the same time: reloads, threads, loops that end, stages that are being made."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import pytest

from llm_rotate import LMRotate, NoAvailableKeyError, Place
from llm_rotate.engine.pool import Seams
from llm_rotate.testing import Simulator
from llm_rotate.testing.memory import MemoryTransport
from llm_rotate.testing.pool import pool_config

from .dialects import each_dialect, health_of
from .doors import fake_time, sockets
from .world import HELLO, HOST, World


def in_a_thread(work: Callable[[], Any], seconds: float = 0.05) -> threading.Thread:
    """Gives another thread so long to do ``work``; it may have to wait for this one."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(seconds)
    return thread


# -- stages are being made in one thread while another settles


class Meddled(WeakSet[Any]):
    """Whoever goes through it meets another thread that makes a stage meanwhile."""

    def __init__(self, of: Any, meddle: Callable[[], Any]) -> None:
        super().__init__(of)
        self.meddle = meddle
        self.threads: list[threading.Thread] = []

    def __iter__(self) -> Iterator[Any]:
        for each in super().__iter__():
            self.threads.append(in_a_thread(self.meddle))
            yield each


@each_dialect
def test_C04_a_stage_made_while_another_call_settles_costs_nobody_a_lease(provider):
    names = (f"model {n}" for n in range(1000))

    async def scenario() -> None:
        await world.chat(model="first")
        pool = world.lm._pool
        pool._listening = Meddled(pool._listening, lambda: pool.stages(next(names), None, None))
        assert (await world.chat(model="first")).key_id == "k2"
        for thread in pool._listening.threads:
            thread.join()
        assert pool._listening.threads
        assert len(pool._listening) > 1

    with fake_time(provider=provider, keys=["k1", "k2"], priorities={"k1": 1}) as world:
        world.sim.key("k1").then().then(429)
        world.run(scenario)


def test_C04_who_looks_for_a_trial_is_not_disturbed_by_another_threads_news():
    world = World(["k1", "k2", "k3"])

    async def scenario() -> None:
        await world.chat()
        stage = world.lm._pool.stages(world.model, None, None)[0]
        stage.trying.update([0, 1, 2])

        def forget() -> None:
            with stage.lock:
                stage.trying.clear()

        class Skip:
            def __contains__(self, index: object) -> bool:
                threads.append(in_a_thread(forget))
                return True

        threads: list[threading.Thread] = []
        assert not stage.is_trying(Skip())
        for thread in threads:
            thread.join()

    world.run(scenario)


# -- a reload in the middle of something


def other_keys(world: World, *keys: str) -> Any:
    return pool_config(
        dict.fromkeys(keys, world.provider),
        lambda _: world.config.providers[world.provider].base_url,
        world.sim.secret,
        {},
        fallback_chains={},
        defaults={"selection_strategy": "round_robin"},
    )


@each_dialect
def test_F03_a_reload_while_stages_are_made_serves_no_later_call_with_a_removed_key(provider):
    reloads: list[str] = []

    def strategy(key: Any, record: Any, norm: Any) -> Place:
        if not reloads:
            reloads.append(key.key_id)
            world.lm.reload_config(other_keys(world, "k9"))
        return Place(0, 1.0)

    world = World(["k1"], provider=provider, strategy=strategy)

    async def scenario() -> None:
        await world.chat()
        for _ in range(3):
            assert (await world.chat()).key_id == "k9"

    world.run(scenario)
    assert reloads == ["k1"]


def broken(world: World) -> Any:
    """A configuration that passed its checks once, and was spoilt after."""
    config = other_keys(world, "k9")
    config.providers.clear()
    return config


@each_dialect
def test_F03_a_reload_that_raises_changes_nothing(provider):
    world = World(["k1"], provider=provider)

    async def scenario() -> None:
        await world.chat()
        with pytest.raises(KeyError):
            world.lm.reload_config(broken(world))
        assert world.lm.config is world.config
        assert (await health_of(world, "k1")).state == "active"
        assert (await world.chat()).key_id == "k1"
        assert (await world.chat(model="another")).key_id == "k1"

    world.run(scenario)


def with_http(config: Any, **fields: Any) -> Any:
    changed = config.model_copy(deep=True)
    for name, value in fields.items():
        setattr(changed.http, name, value)
    return changed


@each_dialect
def test_F03_a_new_proxy_is_used_from_the_next_call_on(provider):
    with Simulator().serve() as proxy, sockets(provider=provider, keys=["k1"]) as world:

        async def scenario() -> None:
            await world.chat()
            stream = world.lm.chat_stream(world.model, HELLO)
            first = await anext(stream)
            world.lm.reload_config(with_http(world.config, proxy=proxy.base_url))
            await world.chat()
            rest = [chunk.delta async for chunk in stream]  # in flight, it ends as it began
            assert first.delta + "".join(rest) == "You said: hello"
            await world.lm.close()
            assert await asyncio.to_thread(
                world.sim.wait_for, lambda: world.sim.open_connections == 0
            )

        world.sim.key("k1").slow(0, between=0.01)
        world.run(scenario)
        assert proxy.requests() == 1
        assert world.sim.requests() == 2


@each_dialect
def test_F03_without_new_settings_the_connections_are_kept(provider):
    with sockets(provider=provider, keys=["k1"]) as world:

        async def scenario() -> None:
            await world.chat()
            world.lm.reload_config(with_http(world.config))
            await world.chat()
            assert world.sim.open_connections == 1

        world.run(scenario)


# -- loops of many threads


class Ended(MemoryTransport):
    """Left by a loop that has ended. When it is cleared away, another thread does so too."""

    meddle: Callable[[], Any] = staticmethod(lambda: None)

    async def aclose(self) -> None:
        """The loop was not closed in order."""

    def abort(self) -> None:
        meddle, Ended.meddle = Ended.meddle, staticmethod(lambda: None)
        in_a_thread(meddle, 5)


def test_C04_two_threads_that_clear_away_ended_loops_do_not_meet():
    sim = Simulator()
    config = pool_config(
        {"k1": "openai"}, lambda _: f"{HOST}/openai/v1", sim.secret, {}, fallback_chains={}
    )
    lm = LMRotate(config, seams=Seams(open_transport=lambda: Ended(sim)))
    answers: list[str] = []

    def ask() -> None:
        answers.append(asyncio.run(lm.chat("m", HELLO)).content)

    loops = [asyncio.new_event_loop() for _ in range(4)]
    for loop in loops:
        loop.run_until_complete(lm.chat("m", HELLO))
    for loop in loops:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
    Ended.meddle = staticmethod(ask)
    ask()
    assert answers == ["You said: hello"] * 2


@contextmanager
def eager_switching() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def test_C04_many_threads_with_loops_and_models_of_their_own():
    """Refusals come all the time, so that news crosses stages that are being made."""
    sim = Simulator()
    for key in ("k1", "k2", "k3"):
        sim.key(key).rpm(3, window=0.02)
    config = pool_config(
        dict.fromkeys(("k1", "k2", "k3"), "openai"),
        lambda _: f"{HOST}/openai/v1",
        sim.secret,
        {},
        fallback_chains={},
    )
    lm = LMRotate(config, seams=Seams(open_transport=sim.memory_transport))
    others: list[BaseException] = []

    async def ask(thread: int) -> None:
        for n in range(40):
            try:
                await lm.chat(f"m {thread} {n}", HELLO, max_wait_seconds=0.02)
            except NoAvailableKeyError:
                continue
            except Exception as error:
                others.append(error)

    with eager_switching():
        threads = [threading.Thread(target=lambda n=n: asyncio.run(ask(n))) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert others == []
    assert not lm._pool.judge.live
