"""The pool: a configuration made ready to run, the state it shares, and the loops it serves."""

from __future__ import annotations

import os
import random
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..config import LMRotateConfig
from ..core.estimate import Estimator, TokenCount
from ..core.keystate import Change, KeyState, Kind
from ..core.pool import Counts, News, StateStore
from ..errors import ConfigurationError
from ..types import Usage
from .assembly import Assembly, Narrowed
from .clock import Clock, RealClock
from .herald import Herald
from .holders import Holders
from .judge import Books, Judge
from .ledger import Ledger, successes, summary
from .loops import Loops
from .prices import Prices
from .report import HealthReport, LimitHealth, Limits, Snapshot, scope_name
from .revival import Revival
from .rotation import Rotation
from .stages import Stage
from .state import open_store
from .tokenizer import token_count
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


@dataclass(slots=True, eq=False)
class _Configured:
    """One configuration with all that was made from it, so that a call sees one or another,
    never half of each.
    """

    config: LMRotateConfig
    assembly: Assembly
    prices: Prices
    count: TokenCount | None
    stages: OrderedDict[Any, tuple[Stage, ...]] = field(default_factory=OrderedDict)


class Pool:
    """Everything behind one LMRotate. Keys keep their health over a reload: it lies in the
    store, under their names.
    """

    def __init__(self, config: LMRotateConfig, seams: Seams, http_client: Any = None) -> None:
        self._http_client = http_client
        self.clock = seams.clock
        self.store: StateStore = seams.store or open_store(config.state_store, seams.clock)
        self._lock = threading.Lock()
        self._listening: weakref.WeakSet[Stage] = weakref.WeakSet()
        self._watched: set[str] = set()
        self._now = self._configured(config)
        self.loops = Loops(seams.open_transport or self._open_transport)
        self.ledger = Ledger()
        herald = Herald(self.clock, UsageLog(self.price))
        estimator = Estimator(self._now.count, config.defaults.output_tokens)
        self.holders = Holders()
        books = Books(self.ledger, estimator, self.price, self.holders, self._watch)
        self.judge = Judge(self.store, self.clock, books, herald)
        self.revival = Revival(self.store, self.clock)
        self.rotation = Rotation(self.judge, self.revival, self.clock, seams.rng)
        self.store.listen(self._hear)
        self.store.count(self.ledger.unsaid)
        self.judge.bell.began = self.judge.room.began = self._watch_store
        _POOLS.add(self)

    @property
    def config(self) -> LMRotateConfig:
        """What the pool was last told."""
        return self._now.config

    @property
    def assembly(self) -> Assembly:
        """The keys and routes of the present configuration."""
        return self._now.assembly

    def _configured(self, config: LMRotateConfig) -> _Configured:
        assembly = Assembly(config, self.clock, self._watched)
        prices = {name: facts.prices for name, facts in assembly.providers.items()}
        count = token_count(config.defaults.estimator)
        return _Configured(config, assembly, Prices(prices), count)

    def price(self, provider: str, model: str, usage: Usage) -> float | None:
        """US dollars; None where no price is known."""
        return self._now.prices(provider, model, usage)

    def pinned(
        self, options: Mapping[str, Any], narrowed: Narrowed | None, messages: Sequence[Any] = ()
    ) -> Narrowed | None:
        """``narrowed``, and to the one key that can go on from what the keywords name, or that
        sent the file in the messages.
        """
        narrowed = self.holders.narrow(options, narrowed, self.assembly)
        return self.holders.with_files(messages, narrowed, self.assembly)

    # -- stages

    def stages(
        self, model: str | None, provider: str | None, narrowed: Narrowed | None
    ) -> tuple[Stage, ...]:
        """The stages of a call, kept for the next one. Raises ConfigurationError when nobody
        serves the model, or no key is left by narrowing.
        """
        now = self._now
        name = (model, provider, narrowed) if narrowed else (model, provider)
        found = now.stages.get(name)
        if found is not None:
            if len(now.stages) > KEPT_STAGES // 2:
                self._use(now, name)
            return found
        routed = now.assembly.routed(model, provider)
        made = (now.assembly.stage(each, narrowed) for each in routed)
        stages = tuple(stage for stage in made if stage is not None)
        if not stages:
            raise ConfigurationError(
                f"no key for {model or provider!r} is left by {narrowed}: "
                f"the pool has {', '.join(now.assembly.keys)}"
            )
        return self._keep(now, name, stages)

    def _use(self, now: _Configured, name: Any) -> None:
        with self._lock:
            if name in now.stages:
                now.stages.move_to_end(name)

    def _keep(self, now: _Configured, name: Any, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        with self._lock:
            kept = now.stages.setdefault(name, stages)
            self._listening.update(kept)
            while len(now.stages) > KEPT_STAGES:
                now.stages.popitem(last=False)
        for stage in stages if kept is stages else ():
            stage.learn(self.store.state, self.clock.now())
        return kept

    def _watch(self, name: str) -> None:
        """Answers told of limits that nobody stated; ``name``: of the bucket that is to be."""
        self.assembly.quotas.watch(name)
        for stage in self._living():
            stage.watch(name)

    def _living(self) -> list[Stage]:
        """A copy: other threads add theirs."""
        with self._lock:
            return list(self._listening)

    def _hear(self, news: Sequence[News]) -> None:
        now = self.clock.now()
        for name in {each.subject for each in news if each.is_room} - self._watched:
            self._watch(name)  # another process may have been the first to be told of it
        for stage in self._living():
            stage.hear(news, now)
        self.revival.hear(news, self.assembly.keys)
        self.judge.tell(news, now)

    def _watch_store(self) -> None:
        self.store.watch(self._is_waiting)

    def _is_waiting(self) -> bool:
        return self.judge.bell.is_waited_for or self.judge.room.is_waited_for

    def _open_transport(self) -> Transport:
        if self._http_client is not None:
            return HttpxTransport(self._http_client)
        http = self.config.http
        return open_transport(
            HttpSettings(http.proxy, http.verify, http.max_connections, http.trust_env)
        )

    async def aclose(self) -> None:
        """Closes the connections; the next call opens new ones."""
        await self.loops.aclose()
        self.judge.bell.ring()  # who waits for a key waits for nothing
        self.judge.room.ring()
        await self.store.aclose()

    def forget(self) -> None:
        """After a fork: calls in flight, sockets and loops are the parent's, and its other
        threads may have been in the middle of anything but the states.
        """
        self._lock = threading.Lock()
        self._listening = weakref.WeakSet()
        self._now.stages = OrderedDict()
        self.loops.forget()
        self.store.forget_leases()
        self.judge.forget()
        self.ledger.forget()
        self.holders.forget()
        for key in self.assembly.keys.values():
            key.source = None  # it may be locked by a thread that is reading from it

    # -- operators, reloads, reports

    def reload(self, config: LMRotateConfig) -> None:
        """Takes a new configuration for the next call; calls in flight end on the old one.
        A DISABLED key whose secret_ref, auth, base_url or enabled changed is active again.
        """
        if config.state_store != self.config.state_store:
            raise ConfigurationError(
                "state_store cannot be changed by a reload: keys would lose their health. "
                "Make a new LMRotate"
            )
        before, now = self._now, self._configured(config)
        self._now = now
        estimator = self.judge.books.estimator
        estimator.count, estimator.output_tokens = now.count, config.defaults.output_tokens
        if config.http != before.config.http:
            self.loops.retire()
        known, moment = before.assembly.identities(), self.clock.now()
        back = KeyState(since=moment, reason="its entry was changed")
        changes = [
            Change(f"key:{key_id}", None, back)
            for key_id, identity in now.assembly.identities().items()
            if known.get(key_id, identity) != identity
            and self.store.state(f"key:{key_id}").kind is Kind.DISABLED
        ]
        self.store.transition(changes, moment)

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
            quota = self.assembly.quotas.quota(key_id)
            scopes = (f"key:{key_id}|", f"{quota}|")
            subjects |= {name for name in known if name.startswith(scopes) or name == quota}
        changes = [Change(subject, None, state) for subject in sorted(subjects)]
        self.store.transition(changes, self.clock.now())
        await self.store.flush()

    async def health(self) -> HealthReport:
        """States, counts and scopes of every key."""
        states = await self.store.snapshot()
        quotas = self.assembly.quotas
        snapshot = replace(
            Snapshot.of(
                states,
                self.clock.now(),
                self.judge.wall_at,
                successes(await self._counts()),
                self._in_flight(),
            ),
            quotas={key_id: quotas.quota(key_id) for key_id in self.assembly.keys},
            limits=await self._limits(),
        )
        return HealthReport(
            {
                name: snapshot.provider(name, key_ids)
                for name, key_ids in self.assembly.by_provider().items()
            }
        )

    async def _limits(self) -> dict[str, Limits]:
        """How the limits of every key stand, those of its group among them."""
        asked = self.assembly.limited()
        rooms = await self.store.rooms([each for each, _ in asked], self.clock.now())
        found: dict[str, Limits] = {}
        for candidate, names in asked:
            limits = {
                scope_name(name): {limit: LimitHealth(*room) for limit, room in rooms[name].items()}
                for name in names
            }
            found[candidate.key_id] = {**found.get(candidate.key_id, {}), **limits}
        return found

    def _in_flight(self) -> Mapping[str, int]:
        counts: dict[str, int] = {}
        for grant in list(self.judge.live.values()):
            counts[grant.key.key_id] = counts.get(grant.key.key_id, 0) + 1
        return counts

    async def usage(self) -> dict[str, Any]:
        """Counts of all who share the state; else of this process since it began."""
        return summary(await self._counts(), self.price)

    async def _counts(self) -> Counts:
        shared = await self.store.counted()
        return self.ledger.counts() if shared is None else shared


_POOLS: weakref.WeakSet[Pool] = weakref.WeakSet()


def _after_fork() -> None:
    for pool in list(_POOLS):
        pool.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
