"""What ``health()`` shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ..core.keystate import FRESH, KeyState, Kind
from .quotas import POOL

Moment = Callable[[float], datetime]


@dataclass(frozen=True, slots=True)
class ScopeHealth:
    """One scope's state. ``until``: when a rest ends (aware, UTC), None for no end or none;
    ``since``: when the state began, None if it never changed; ``status``: the HTTP status
    behind it; ``failures``: failures in a row, as the health machine counts (a herd is one).
    """

    state: str
    since: datetime | None
    until: datetime | None
    reason: str
    status: int | None
    failures: int


@dataclass(frozen=True, slots=True)
class LimitHealth:
    """How a limit stands: ``taken`` of ``limit``, in the last minute, since the day began, or
    now. ``is_learned``: answers told of it; the configuration states none, or a higher one.
    """

    limit: float
    taken: float
    is_learned: bool


Limits = Mapping[str, Mapping[str, LimitHealth]]


@dataclass(frozen=True, slots=True)
class KeyHealth(ScopeHealth):
    """A key's own state, its counts, and under ``scopes`` (by model, or ``upstream:NAME``)
    what of it, or of its ``group:NAME``, is not active. ``failures`` counts the scopes' in;
    ``successes``: answers given; ``in_flight``: requests now under way. ``limits``: by scope
    (``key``, a model, ``group:NAME``, ``group:NAME, MODEL``, ``pool``), then by the limit's name.
    """

    successes: int = 0
    in_flight: int = 0
    scopes: Mapping[str, ScopeHealth] = field(default_factory=dict)
    limits: Limits = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProviderHealth:
    """``rest``: the provider's own state (it rests in an outage that refuses every key)."""

    rest: ScopeHealth
    keys: Mapping[str, KeyHealth]


@dataclass(frozen=True, slots=True)
class HealthReport:
    """A snapshot: ``report.providers["openai"].keys["oai-1"].state``."""

    providers: Mapping[str, ProviderHealth]


def scope_name(subject: str) -> str:
    """A scope of a key, or of its group, as reports name it."""
    own, _, scope = subject.partition("|")
    scope = scope.removeprefix("model:")
    if own == POOL:
        return own
    if own.startswith("group:"):
        return f"{own}, {scope}" if scope else own
    return scope or "key"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a report is made from, at one moment. ``scopes``: by the key's subject, or its
    group's; ``quotas``: key_id -> the latter; ``limits``: by key_id.
    """

    states: Mapping[str, KeyState]
    scopes: Mapping[str, Mapping[str, KeyState]]
    now: float
    moment: Moment
    successes: Mapping[str, int]
    in_flight: Mapping[str, int]
    quotas: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, Limits] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        states: Mapping[str, KeyState],
        now: float,
        moment: Moment,
        successes: Mapping[str, int],
        in_flight: Mapping[str, int],
    ) -> Snapshot:
        """Groups the states by key once, for all keys."""
        scopes: dict[str, dict[str, KeyState]] = {}
        for subject, state in states.items():
            name = scope_name(subject)
            if name != "key" and state.kind_at(now) is not Kind.ACTIVE:
                scopes.setdefault(subject.partition("|")[0], {})[name] = state
        return cls(states, scopes, now, moment, successes, in_flight)

    def scope(self, state: KeyState) -> ScopeHealth:
        """One state as it reads now."""
        rests = state.resting_at(self.now)
        return ScopeHealth(
            state=str(state.kind_at(self.now)),
            since=self.moment(state.since) if state.version else None,
            until=self.moment(state.until) if rests and state.until < math.inf else None,
            reason=state.reason,
            status=state.status,
            failures=state.failures,
        )

    def provider(self, name: str, key_ids: list[str]) -> ProviderHealth:
        """One provider with its keys."""
        rest = self.scope(self.states.get(f"provider:{name}", FRESH))
        return ProviderHealth(rest, {key_id: self.key(key_id) for key_id in key_ids})

    def key(self, key_id: str) -> KeyHealth:
        """One key. What only this process knows of it (a missing secret) stands for it."""
        own = f"key:{key_id}"
        shared, local = self.states.get(own, FRESH), self.states.get(f"local:{own}", FRESH)
        shown = self.scope(max(shared, local, key=self._hardness))
        found = {**self.scopes.get(own, {}), **self.scopes.get(self.quotas.get(key_id, own), {})}
        scopes = {name: self.scope(each) for name, each in found.items()}
        return KeyHealth(
            state=shown.state,
            since=shown.since,
            until=shown.until,
            reason=shown.reason,
            status=shown.status,
            failures=shown.failures + sum(scope.failures for scope in scopes.values()),
            successes=self.successes.get(key_id, 0),
            in_flight=self.in_flight.get(key_id, 0),
            scopes=scopes,
            limits=self.limits.get(key_id, {}),
        )

    def _hardness(self, state: KeyState) -> tuple[bool, bool, float]:
        return state.resting_at(self.now), state.version > 0, state.until
