"""The pool made ready to run: keys with their endpoints, and the stages calls go through."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from ..core.affinity import Homes, homes_of
from ..core.bucket import BucketSpec, Resets
from ..core.keyspec import KeySpec
from ..core.keystate import KeyState
from ..core.outcome import Scope
from ..core.policy import Policy
from ..core.pool import Blocked, Candidate, News, Norm, Place, Record
from ..core.route import RouteStage
from ..core.turns import Turns
from ..core.wire import Dialect, Endpoint, Ready
from ..errors import CapabilityError
from ..providers import DIALECTS, at_endpoint
from ..strategies import Strategy
from .ledger import Tally
from .queue import Queue
from .quotas import POOL, Quotas, key_name, of_model, pace, smallest
from .transport.seam import Timeouts

_log = logging.getLogger("llm_rotate")


@dataclass(slots=True, eq=False)
class ProviderFacts:
    """One provider of the pool. ``deadline_s``: its own default for ``timeout=``."""

    name: str
    dialect_name: str
    policy: Policy
    timeouts: Timeouts
    deadline_s: float | None
    resets: Resets
    prices: tuple[float | None, float | None] = (None, None)
    header_scope: str = "auto"
    spoken: Dialect | None = None

    @property
    def subject(self) -> str:
        return f"provider:{self.name}"

    @property
    def dialect(self) -> Dialect:
        """Raises CapabilityError if this version does not speak it."""
        found = self.spoken = self.spoken or DIALECTS.get(self.dialect_name)
        if found is None:
            raise CapabilityError(
                f"{self.name} speaks '{self.dialect_name}', which this version does not; "
                "acquire() lends its keys to the vendor's own SDK"
            )
        return found

    def dialect_at(self, endpoint: str | None) -> Dialect:
        """The one of an endpoint that a call names. Raises CapabilityError if there is none."""
        if endpoint is None:
            return self.dialect
        name = at_endpoint(self.dialect_name, endpoint)
        return self.dialect if name == self.dialect_name else DIALECTS[name]

    @property
    def sdk(self) -> str | None:
        """The vendor's package that sends its chats, if one does."""
        found = self.spoken or DIALECTS.get(self.dialect_name)
        return found.sdk if found else None

    @property
    def judging_dialect(self) -> Dialect:
        """Reads a vendor SDK's errors: statuses mean much the same everywhere."""
        return DIALECTS.get(self.dialect_name) or DIALECTS["openai"]


@dataclass(slots=True, eq=False, weakref_slot=True)
class PoolKey:
    """One key of the pool. ``ready`` is made at its first use; ``served`` counts its turns.

    ``source``: what credentials that expire are read from; ``token``: Google's, which
    ``secret`` is the value of, and None where that is an API key. ``origin``: what was given
    for ``secret``, itself where nothing was.
    """

    spec: KeySpec
    provider: ProviderFacts
    endpoint: Endpoint
    secret_ref: str = field(repr=False)
    metadata: Mapping[str, Any]
    quotas: Quotas = field(repr=False)
    ready: Ready | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    origin: str | None = field(default=None, repr=False)
    source: Any = field(default=None, repr=False)
    token: Any = field(default=None, repr=False)
    served: int = 0

    @property
    def key_id(self) -> str:
        return self.spec.key_id

    def forget(self) -> None:
        """Its secret was refused: the next use reads it anew, for it may have been changed."""
        self.ready = self.source = None

    @property
    def shown_ref(self) -> str:
        """The secret's reference, fit to be shown."""
        scheme = self.secret_ref.partition("://")[0]
        return "its secret" if scheme in ("literal", self.secret_ref) else self.secret_ref


def candidate(index: int, key: PoolKey, model: str | None, upstream: str | None) -> Candidate:
    """The scopes a call needs of a key. Without a model the key stands for its models."""
    own, quota = key_name(key.key_id), key.quotas.quota(key.key_id)
    scopes = {
        Scope.KEY: own,
        Scope.KEY_MODEL: of_model(own, model),
        Scope.QUOTA: quota,
        Scope.QUOTA_MODEL: of_model(quota, model),
        Scope.LOCAL: f"local:{own}",
    }
    if upstream is not None:
        scopes[Scope.ROUTE] = f"{own}|upstream:{upstream}"
    subjects = (key.provider.subject, *dict.fromkeys(scopes.values()))
    buckets = key.quotas.specs(key.key_id, model)
    resets = key.provider.resets if any(spec.has_day for spec in buckets) else None
    return Candidate(index, key.key_id, subjects, scopes, buckets, resets)


class Stage:
    """One provider and model of a route, with the keys that can serve it, in turn.

    The lock guards the turns; it is never held across an await or a call to the store.
    """

    def __init__(
        self,
        *,
        provider: ProviderFacts,
        route: RouteStage,
        keys: Sequence[PoolKey],
        everyone: frozenset[str],
        strategy: Strategy,
    ) -> None:
        self.provider = provider
        self.model = route.model
        self.upstream = route.upstream
        self.options = route.options
        self.is_same = route.is_same
        self.keys = keys
        self.everyone = everyone
        self.endpoint = keys[0].endpoint
        self.lock = threading.Lock()
        self.epoch = 0
        self.trying: set[int] = set()
        self.full: dict[int, Blocked] = {}
        self.queue = Queue()
        self.tallies: dict[int, Tally] = {}
        served = [key.served / key.spec.weight for key in keys]
        self.counts_in_flight = bool(getattr(strategy, "counts_in_flight", False))
        self.turns = Turns(
            len(keys),
            partial(_placed, strategy, keys),
            served,
            counts_in_flight=self.counts_in_flight,
        )
        self._candidates: list[Candidate | None] = [None] * len(keys)
        self._homes: list[tuple[list[int], Homes]] | None = None
        self._indexes: dict[str, list[int]] = {}
        for index, key in enumerate(keys):
            for subject in {key_name(key.key_id), key.quotas.quota(key.key_id), POOL}:
                self._indexes.setdefault(subject, []).append(index)
        self._measures: tuple[BucketSpec, tuple[float, float]] | None = None
        limits = self._limits()
        self.counts_dollars = any(spec.max_cost_per_day is not None for spec in limits)
        self.is_limited = bool(limits)

    def _limits(self) -> list[BucketSpec]:
        if self.keys[0].quotas.are_none:
            return []
        return [spec for key in self.keys for spec in key.quotas.specs(key.key_id, self.model)]

    def watch(self, name: str) -> None:
        """Answers told of limits that the configuration does not state: they count from now."""
        quota, _, model = name.partition("|model:")
        if model != (self.model or ""):
            return
        with self.lock:
            for index in self._indexes.get(quota, ()):
                self._candidates[index] = None
                self.is_limited = True

    @property
    def smallest(self) -> BucketSpec:
        """What every key of the stage can hold at once."""
        return self._measured()[0]

    @property
    def pace(self) -> tuple[float, float]:
        """Requests and tokens a second that the stage serves."""
        return self._measured()[1]

    def _measured(self) -> tuple[BucketSpec, tuple[float, float]]:
        found = self._measures
        if found is None:
            listed = [self.candidate(index) for index in range(len(self.keys))]
            found = self._measures = smallest(listed), pace(listed)
        return found

    def window(
        self, now: float, n: int, skip: Container[int], affinity: str | None
    ) -> list[Candidate]:
        """Up to ``n`` keys to ask for, best first; for a conversation its home first."""
        with self.lock:
            if affinity is None:
                picks = self.turns.window(now, n, skip)
            else:
                picks = self._at_home(now, n, skip, affinity)
        return [self._candidates[i] or self.candidate(i) for i in picks]

    def candidate(self, index: int) -> Candidate:
        """The key as this stage asks for it; made when it is first asked for."""
        made = self._candidates[index]
        if made is None:
            made = candidate(index, self.keys[index], self.model, self.upstream)
            self._candidates[index] = made
        return made

    def _at_home(self, now: float, n: int, skip: Container[int], affinity: str) -> list[int]:
        self.turns.wake_due(now)
        ready = (i for i in self._by_home(affinity) if not self.turns.until(i) and i not in skip)
        return list(islice(ready, n))

    def _by_home(self, affinity: str) -> Iterator[int]:
        if self._homes is None:
            tiers: dict[int, list[int]] = {}
            for index, tier in enumerate(self.turns.tiers()):
                tiers.setdefault(tier, []).append(index)
            self._homes = [
                (tiers[tier], homes_of(tuple(self.keys[i].key_id for i in tiers[tier])))
                for tier in sorted(tiers, reverse=True)
            ]
        for indexes, homes in self._homes:
            for place in homes.order(affinity):
                yield indexes[place]

    def blocked(self, barriers: Sequence[Blocked], epoch: int) -> None:
        """Puts refused keys aside, unless news came meanwhile: then they are asked again."""
        with self.lock:
            if self.epoch == epoch:
                for barrier in barriers:
                    if barrier.is_full:
                        self._is_full(barrier)
                    else:
                        self.turns.rest(barrier.index, barrier.until)
                    if barrier.is_trial:
                        self.trying.add(barrier.index)

    def _is_full(self, barrier: Blocked) -> None:
        """Puts a key aside only for as long as it has no room for anybody."""
        if barrier.is_too_large:
            return
        self.full[barrier.index] = barrier
        if barrier.least > 0.0:
            self.turns.rest(barrier.index, barrier.least)

    def put_aside(self, now: float, most: int, skip: Container[int]) -> list[Candidate]:
        """Some of the keys that had no room for anybody when they were last asked."""
        with self.lock:
            full = self.full.items()
            found = (i for i, barrier in full if barrier.least > now and i not in skip)
            picks = list(islice(found, most))
        return [self.candidate(index) for index in picks]

    def fullness(self, index: int, own: Blocked | None, now: float) -> Blocked | None:
        """Why the key was last full, if it still is; ``own``: as the call itself heard it."""
        found = own or self.full.get(index)
        return found if found is not None and found.until > now else None

    def charge(self, index: int) -> None:
        with self.lock:
            self.turns.charge(index)
            self.keys[index].served += 1

    def note(self, index: int, is_fault: bool, seconds: float, tokens: int = 0) -> None:
        with self.lock:
            self.turns.note(index, is_fault, seconds, tokens)

    def ended(self, index: int) -> None:
        """What ``charge`` began is over."""
        if self.counts_in_flight:
            with self.lock:
                self.turns.ended(index)

    def earliest(self, now: float, skip: Container[int]) -> float:
        """When a key not in ``skip`` may go: now, at its wake time, or inf."""
        with self.lock:
            return now if self.turns.window(now, 1, skip) else self.turns.earliest(skip)

    def is_trying(self, skip: Container[int]) -> bool:
        """Whether a key waits only for the end of another call's trial."""
        with self.lock:
            return any(index not in skip for index in self.trying)

    def hear(self, news: Sequence[News], now: float) -> None:
        """The store's news: who wakes, who rests."""
        with self.lock:
            for each in news:
                for index in self._concerned(each.subject):
                    self.epoch += 1
                    # A trial's end is sooner than its lease's, until which the key was put aside.
                    other = 0.0 if index in self.trying else self.turns.until(index)
                    self.trying.discard(index)
                    self.full.pop(index, None)
                    if each.until <= now or each.is_sooner:
                        self.turns.wake(index)  # if another scope rests, the store says so
                    else:
                        self.turns.rest(index, max(each.until, other))

    def learn(self, state: Callable[[str], KeyState], now: float) -> None:
        """Rests that began before the stage was made: so that its first window is a good one."""
        whole = state(self.provider.subject)
        for index, key in enumerate(self.keys):
            own = f"key:{key.key_id}"
            until = max(each.until for each in (whole, state(own), state(f"local:{own}")))
            if until > now:
                with self.lock:
                    self.turns.rest(index, until)

    def _concerned(self, subject: str) -> Iterable[int]:
        if subject == self.provider.subject:
            return range(len(self.keys))
        own, _, _ = subject.removeprefix("local:").partition("|")
        indexes = self._indexes.get(own, ())
        if not indexes or not self._knows(self.candidate(indexes[0]), subject):
            return ()
        return indexes

    @staticmethod
    def _knows(made: Candidate, subject: str) -> bool:
        return subject in made.subjects or any(spec.name == subject for spec in made.buckets)


def _placed(
    strategy: Strategy, keys: Sequence[PoolKey], index: int, record: Record, norm: Norm
) -> Place:
    """The key's place. A strategy that raises must not cost a call its answer."""
    try:
        return strategy(keys[index].spec, record, norm)
    except Exception:
        _log.exception("the strategy failed for key %s, which keeps to its priority", index)
        return Place(keys[index].spec.priority, 1.0 / keys[index].spec.weight)
