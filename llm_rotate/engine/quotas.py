"""The limits of one configuration: which buckets a request of a key needs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from ..config import LimitsConfig, LMRotateConfig
from ..core.bucket import BucketSpec, Resets
from ..core.pool import Candidate
from .clock import Clock

_NOTHING = LimitsConfig()
MOST_WATCHED = 4096  # names of models come from callers


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo:
    return ZoneInfo(name)


def days_of(zone: str, clock: Clock) -> Resets:
    """When the days of a time zone end, on the monotonic clock."""

    def resets(now: float) -> tuple[float, float]:
        wall = clock.wall()
        local = datetime.fromtimestamp(wall, _zone(zone))
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        first, second = (
            (midnight + timedelta(days=days)).timestamp() - wall + now for days in (1, 2)
        )
        return first, second

    return resets


def key_name(key_id: str) -> str:
    """A key's subject, which is its bucket's name too."""
    return f"key:{key_id}"


def group_name(group: str) -> str:
    """A quota group's."""
    return f"group:{group}"


POOL = "pool"
"""The subject of all keys together."""


def of_model(name: str, model: str | None) -> str:
    """The same for one model."""
    return name if model is None else f"{name}|model:{model}"


class Quotas:
    """One spec per name. ``watched``: the names whose limits answers told of, though the
    configuration states none; the set outlives a reload. ``days``: what several providers'
    keys have a day in.
    """

    def __init__(self, config: LMRotateConfig, watched: set[str], days: Resets) -> None:
        self.watched = watched
        self._days = days
        self._groups = {key.key_id: key.quota_group for key in config.keys if key.quota_group}
        self._stated: dict[str, LimitsConfig] = {}
        self._specs: dict[str, BucketSpec] = {}
        for key in config.keys:
            self._state(key_name(key.key_id), key.stated_limits(), key.model_limits)
        for name, group in config.quota_groups.items():
            self._state(group_name(name), group, group.model_limits)
        self._state(POOL, config.limits, {})
        owners = {(self._groups.get(key.key_id), key.provider) for key in config.keys}
        of_groups = Counter(name for name, _ in owners if name)
        self._mixed = {POOL, *(group_name(name) for name, many in of_groups.items() if many > 1)}

    def _state(self, name: str, whole: LimitsConfig, of_models: Mapping[str, LimitsConfig]) -> None:
        named = {name: whole, **{of_model(name, model): each for model, each in of_models.items()}}
        for each, limits in named.items():
            if any(getattr(limits, field) is not None for field in LimitsConfig.model_fields):
                self._stated[each] = limits

    @property
    def are_none(self) -> bool:
        """Nothing is limited, as far as is known."""
        return not self._stated and not self.watched

    def quota(self, key_id: str) -> str:
        """The subject whose quota the key uses: its group, or itself."""
        group = self._groups.get(key_id)
        return key_name(key_id) if group is None else group_name(group)

    def specs(self, key_id: str, model: str | None) -> tuple[BucketSpec, ...]:
        """The limits that a request must keep; the most specific, of which answers speak, last.
        Of most keys nothing is stated, and there are none.
        """
        own, quota = key_name(key_id), self.quota(key_id)
        names = dict.fromkeys((POOL, own, quota, of_model(own, model), of_model(quota, model)))
        return tuple(
            self.spec(name) for name in names if name in self._stated or name in self.watched
        )

    def models(self) -> Mapping[str, Sequence[str]]:
        """The models that there are limits for, by whose they are: a key's or a group's."""
        found: dict[str, list[str]] = {}
        for name in (*self._stated, *sorted(self.watched)):
            owner, mark, model = name.partition("|model:")
            if mark:
                found.setdefault(owner, []).append(model)
        return found

    def told_of(self, key_id: str, model: str | None) -> BucketSpec:
        """The limits that the provider speaks of when it answers the key."""
        return self.spec(of_model(self.quota(key_id), model))

    def watch(self, name: str) -> None:
        """Counted from now on. What is dropped is told again by its next answer."""
        if len(self.watched) >= MOST_WATCHED:
            self.watched.clear()
        self.watched.add(name)

    def spec(self, name: str) -> BucketSpec:
        """The one spec of a name."""
        found = self._specs.get(name)
        if found is None:
            if len(self._specs) >= MOST_WATCHED + len(self._stated):
                self._specs = {
                    each: self._specs[each] for each in self._stated if each in self._specs
                }
            stated = self._stated.get(name, _NOTHING)
            limits = {field: getattr(stated, field) for field in LimitsConfig.model_fields}
            days = self._days if name.partition("|")[0] in self._mixed else None
            found = BucketSpec(name, **limits, learns=stated.rpm is None, resets=days)
            found = self._specs.setdefault(name, found)
        return found


_AMOUNTS = ("tpm", "input_tpm", "output_tpm", "tpd", "max_cost_per_day")


def smallest(candidates: Iterable[Candidate]) -> BucketSpec:
    """The least that any of the candidates can hold at once."""
    least: dict[str, Any] = {}
    for spec in {spec.name: spec for each in candidates for spec in each.buckets}.values():
        for name in _AMOUNTS:
            limit = getattr(spec, name)
            if limit is not None:
                least[name] = min(limit, least.get(name, math.inf))
    return BucketSpec("", **least)


Measure = Callable[[BucketSpec], float]


def _requests(spec: BucketSpec) -> float:
    return math.inf if spec.rpm is None else spec.rpm / spec.window_seconds


def _tokens(spec: BucketSpec) -> float:
    return math.inf if spec.tpm is None else spec.tpm / spec.window_seconds


def pace(candidates: Iterable[Candidate]) -> tuple[float, float]:
    """Requests and tokens a second that the candidates serve together; inf where one of them
    has no limit. A limit that several share counts once.
    """
    listed = list(candidates)
    return _sum(listed, _requests), _sum(listed, _tokens)


def _sum(candidates: list[Candidate], measure: Measure) -> float:
    """Each candidate's own rate, those of a group together no more than the group's, and all
    of them no more than the pool's.
    """
    whole = math.inf
    shared: dict[str, float] = {}
    caps: dict[str, float] = {}
    for each in candidates:
        own = math.inf
        group, cap = each.key_id, math.inf
        for spec in each.buckets:
            if spec.name == POOL:
                whole = measure(spec)
            elif spec.name.startswith("group:"):
                group, cap = spec.name.partition("|")[0], min(cap, measure(spec))
            else:
                own = min(own, measure(spec))
        shared[group] = shared.get(group, 0.0) + own
        caps[group] = cap
    return min(whole, sum(min(rate, caps[group]) for group, rate in shared.items()))
