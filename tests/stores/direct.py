"""A link without a loop: each flush is a plain call, and the server's time is the test's."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from llm_rotate.config.entries import StateStoreConfig
from llm_rotate.engine.clock import RealClock
from llm_rotate.engine.state import open_store
from llm_rotate.stores.errands import Ask, Script
from llm_rotate.stores.redis import RedisStore

T = TypeVar("T")
TIME = "redis.call('TIME')"
FAKE_TIME = "redis.call('LRANGE', 'time', 0, 1)"


def opened(url: str) -> Any:
    """A store over a real link, that takes a busy machine for no server that is away."""
    config = StateStoreConfig(backend="redis", redis_url=url, store_timeout_ms=5000)
    return open_store(config, RealClock())


def done(step: Coroutine[Any, Any, T]) -> T:
    """What a step that never waits returns. A loop for each would cost more than the steps."""
    try:
        step.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    raise AssertionError("it waits for something")


class Clock:
    """Seconds, told to the server too."""

    def __init__(self, client: Any, now: float = 1_000.0) -> None:
        self.client = client
        self.set(now)

    def set(self, now: float) -> None:
        self.now = now
        whole = int(now)
        with self.client.pipeline() as pipe:
            pipe.delete("time")
            pipe.rpush("time", whole + 1_700_000_040, round((now - whole) * 1e6))
            pipe.execute()


class DirectLink:
    """Carries at once what it is asked to; ``hold`` keeps changes back until the next ask."""

    is_cut = False
    failure = ""

    def __init__(self, client: Any, now: Callable[[], float]) -> None:
        self.client = client
        self.now = now
        self.store: RedisStore | None = None
        self._scripts: dict[Script, Any] = {}

    async def ask(self, ask: Ask) -> None:
        self.flush([ask])

    def flush(self, asks: list[Ask]) -> None:
        assert self.store is not None
        commands = self.store.outgoing(asks, self.now())
        while commands:
            for command in commands:
                command.heard(self.call(command), self.now())
            commands = self.store.outgoing([], self.now()) if self.store.is_owing else []

    def call(self, command: Any) -> Any:
        script = self._scripts.get(command.script)
        if script is None:
            assert TIME in command.script.text
            text = command.script.text.replace(TIME, FAKE_TIME)
            script = self._scripts[command.script] = self.client.register_script(text)
        return script(keys=command.keys, args=command.args)

    def soon(self) -> None: ...
    def later(self) -> None: ...
    def watch(self, is_waiting: Callable[[], bool]) -> None: ...
    def forget(self) -> None: ...
    async def aclose(self) -> None: ...


def direct_store(client: Any, clock: Clock, namespace: str = "test") -> RedisStore:
    link = DirectLink(client, lambda: clock.now)
    link.store = RedisStore(namespace, link)
    return link.store


class TimedStore:
    """A RedisStore whose server's time is the ``now`` of each step, and that has said all."""

    def __init__(self, client: Any) -> None:
        client.flushdb()
        self._clock = Clock(client)
        self._store = direct_store(client, self._clock)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def admit(self, candidates: Any, now: float, *cost: Any) -> Any:
        self._clock.set(now)
        return await self._store.admit(candidates, now, *cost)

    async def rooms(self, candidates: Any, now: float) -> Any:
        self._clock.set(now)
        return await self._store.rooms(candidates, now)

    def settle(self, lease: Any, changes: Any, now: float, *owed: Any) -> None:
        self._say(now, lambda: self._store.settle(lease, changes, now, *owed))

    def decide(self, lease: Any, changes: Any, now: float) -> None:
        self._say(now, lambda: self._store.decide(lease, changes, now))

    def transition(self, changes: Any, now: float) -> None:
        self._say(now, lambda: self._store.transition(changes, now))

    def learn(self, lease: Any, spec: Any, readings: Any, now: float) -> None:
        self._say(now, lambda: self._store.learn(lease, spec, readings, now))

    def renew(self, leases: Any, now: float) -> None:
        self._say(now, lambda: self._store.renew(leases, now))

    def _say(self, now: float, say: Callable[[], None]) -> None:
        self._clock.set(now)
        say()
        done(self._store.flush())
