"""The pool: a configuration made ready to run, the state it shares, and the loops it serves."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import weakref
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ..config import LMRotateConfig
from ..core.keystate import Change, KeyState, Kind
from ..core.pool import News, StateStore
from ..core.route import RouteStage
from ..errors import ConfigurationError
from .assembly import Assembly, Narrowed
from .clock import Clock, RealClock
from .herald import Herald
from .judge import Judge
from .ledger import Ledger
from .prices import Prices
from .report import HealthReport, Snapshot
from .rotation import Rotation
from .stages import Stage
from .state import open_store
from .transport.choose import HttpSettings, open_transport
from .transport.httpx_client import HttpxTransport
from .transport.seam import Transport
from .usage_log import UsageLog

KEPT_STAGES = 256


@dataclass(frozen=True, slots=True)
class Seams:
    """What tests replace: the clock, the dice, the store, and what sends."""

    clock: Clock = field(default_factory=RealClock)
    rng: random.Random = field(default_factory=random.Random)
    store: StateStore | None = None
    open_transport: Callable[[], Transport] | None = None


class Pool:
    """Everything behind one LMRotate. Keys keep their health over a reload: it lies in the
    store, under their names.
    """

    def __init__(self, config: LMRotateConfig, seams: Seams, http_client: Any = None) -> None:
        self._seams = seams
        self._http_client = http_client
        self.clock = seams.clock
        self.store: StateStore = seams.store or open_store(config.state_store, seams.clock)
        self._lock = threading.Lock()
        self._listening: weakref.WeakSet[Stage] = weakref.WeakSet()
        self._transports: dict[asyncio.AbstractEventLoop, _Served] = {}
        self._take(config)
        self.ledger = Ledger()
        herald = Herald(self.clock, UsageLog(self._price))
        self.judge = Judge(self.store, self.clock, self.ledger, herald)
        self.rotation = Rotation(self.judge, self.clock, seams.rng)
        self.store.listen(self._hear)
        self.judge.bell.began = self._watch
        _POOLS.add(self)

    def _take(self, config: LMRotateConfig) -> None:
        self.config = config
        self.assembly = Assembly(config)
        self._stages: OrderedDict[Any, tuple[Stage, ...]] = OrderedDict()
        self._price_list = Prices(
            {name: facts.prices for name, facts in self.assembly.providers.items()}
        )

    def _price(self, provider: str, model: str, usage: Any) -> float | None:
        return self._price_list(provider, model, usage)

    # -- stages

    def stages(
        self, model: str | None, provider: str | None, narrowed: Narrowed | None
    ) -> tuple[Stage, ...]:
        """The stages of a call, kept for the next one. Raises ConfigurationError when nobody
        serves the model, or no key is left by narrowing.
        """
        name = (model, provider, narrowed) if narrowed else (model, provider)
        with self._lock:
            found = self._stages.get(name)
            if found is not None:
                if len(self._stages) > KEPT_STAGES // 2:
                    self._stages.move_to_end(name)
                return found
        routed = self.assembly.routed(model, provider)
        stages = tuple(filter(None, (self._stage(each, narrowed) for each in routed)))
        if not stages:
            raise ConfigurationError(
                f"no key for {model or provider!r} is left by {narrowed}: "
                f"the pool has {', '.join(self.assembly.keys)}"
            )
        return self._keep(name, stages)

    def lending_stage(self, provider: str, model: str | None, narrowed: Narrowed | None) -> Stage:
        """The one stage of ``acquire``. Raises ConfigurationError for an unknown provider."""
        return self.stages(model, provider, narrowed)[0]

    def _stage(self, route: RouteStage, narrowed: Narrowed | None) -> Stage | None:
        stage = self.assembly.stage(route, narrowed)
        if stage is not None:
            now = self.clock.now()
            self._listening.add(stage)
            stage.hear(self._known(stage), now)
        return stage

    def _known(self, stage: Stage) -> list[News]:
        """Rests that began before the stage was made: so its first window is a good one."""
        states = ((subject, self.store.state(subject)) for subject in stage.subjects)
        return [
            News(subject, state.until, state, state) for subject, state in states if state.version
        ]

    def _keep(self, name: Any, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        with self._lock:
            kept = self._stages.setdefault(name, stages)
            while len(self._stages) > KEPT_STAGES:
                self._stages.popitem(last=False)
            return kept

    def _hear(self, news: Sequence[News]) -> None:
        now = self.clock.now()
        for stage in list(self._listening):
            stage.hear(news, now)
        self.judge.tell(news, now)

    def _watch(self) -> None:
        self.store.watch(self._is_waiting)

    def _is_waiting(self) -> bool:
        return self.judge.bell.is_waited_for

    # -- loops

    def transport(self) -> Transport:
        """The running loop's transport: async sockets belong to one loop."""
        loop = asyncio.get_running_loop()
        served = self._transports.get(loop)
        if served is None:
            self._sweep()
            opened = (self._seams.open_transport or self._open_transport)()
            served = self._transports[loop] = _Served(opened, _close_with_loop(opened))
            with suppress(StopIteration):  # started, the loop knows it and ends it
                served.closer.__anext__().__await__().send(None)
        return served.transport

    def _sweep(self) -> None:
        for loop in [loop for loop in self._transports if loop.is_closed()]:
            self._transports.pop(loop).transport.abort()

    def _open_transport(self) -> Transport:
        if self._http_client is not None:
            return HttpxTransport(self._http_client)
        http = self.config.http
        return open_transport(
            HttpSettings(http.proxy, http.verify, http.max_connections, http.trust_env)
        )

    async def aclose(self) -> None:
        """Closes this loop's sockets at once and in order, the other loops' without waiting."""
        here = asyncio.get_running_loop()
        for loop, served in list(self._transports.items()):
            if loop is here:
                await served.transport.aclose()
            elif loop.is_closed():
                served.transport.abort()
            else:
                loop.call_soon_threadsafe(served.transport.abort)
        self._transports.clear()
        await self.store.aclose()

    def forget(self) -> None:
        """After a fork: calls in flight, sockets and loops are the parent's."""
        _PARENTS.append(self._transports)
        self._lock = threading.Lock()
        self._transports = {}
        self.store.forget_leases()
        self.judge.forget()
        for stage in self._listening:
            stage.forget()

    # -- operators, reloads, reports

    def reload(self, config: LMRotateConfig) -> None:
        """Takes a new configuration for the next call; calls in flight end on the old one.
        A DISABLED key whose secret_ref, auth, base_url or enabled changed is active again.
        """
        before = self.assembly.identities()
        self._take(config)
        changed = [
            key_id
            for key_id, identity in self.assembly.identities().items()
            if before.get(key_id, identity) != identity
            and self.store.state(f"key:{key_id}").kind is Kind.DISABLED
        ]
        back = KeyState(reason="its entry was changed")
        changes = [Change(f"key:{key_id}", None, back) for key_id in changed]
        self.store.transition(changes, self.clock.now())

    async def steer(self, key_id: str, state: KeyState) -> None:
        """An operator's word on one key; ``as new`` for all its scopes when it is ACTIVE."""
        if key_id not in self.assembly.keys:
            raise ConfigurationError(self.assembly.unknown_key(key_id))
        subjects = {f"key:{key_id}"}
        if state.kind in (Kind.ACTIVE, Kind.PROBATION):
            subjects.add(f"local:key:{key_id}")
            self.assembly.keys[key_id].ready = None
        if state.kind is Kind.ACTIVE:
            known = await self.store.snapshot()
            subjects |= {subject for subject in known if subject.startswith(f"key:{key_id}|")}
        changes = [Change(subject, None, state) for subject in sorted(subjects)]
        self.store.transition(changes, self.clock.now())
        await self.store.flush()

    async def health(self) -> HealthReport:
        """States, counts and scopes of every key."""
        states = await self.store.snapshot()
        snapshot = Snapshot.of(
            states, self.clock.now(), self.judge.wall_at, self.ledger.successes(), self._in_flight()
        )
        return HealthReport(
            {
                name: snapshot.provider(name, key_ids)
                for name, key_ids in self.assembly.by_provider().items()
            }
        )

    def _in_flight(self) -> Mapping[str, int]:
        counts: dict[str, int] = {}
        for grant in list(self.judge.live.values()):
            counts[grant.key.key_id] = counts.get(grant.key.key_id, 0) + 1
        return counts

    def usage(self) -> dict[str, Any]:
        """Counts of this process since it began."""
        return self.ledger.summary(self._price)


@dataclass(slots=True, eq=False)
class _Served:
    transport: Transport
    closer: AsyncGenerator[None, None]


async def _close_with_loop(transport: Transport) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await transport.aclose()


_POOLS: weakref.WeakSet[Pool] = weakref.WeakSet()
_PARENTS: list[Any] = []


def _after_fork() -> None:
    for pool in list(_POOLS):
        pool.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
