"""The same steps under limits through both stores: every answer and every room is the same.

The steps at Redis are done by two processes in turns, which share nothing but the server.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from llm_rotate.core.bucket import BucketSpec, Tokens
from llm_rotate.core.learned import Reading
from llm_rotate.core.outcome import Scope
from llm_rotate.core.pool import Candidate, Lease, Refused
from llm_rotate.stores.memory import MemoryStore
from llm_rotate.stores.redis import RedisStore
from tests.redis_server import RedisServer

from .direct import Clock, TimedStore, direct_store, done

AMOUNTS = st.none() | st.sampled_from([1, 2, 5, 40, 300])
LIMITS = st.fixed_dictionaries(
    {
        "rpm": st.none() | st.sampled_from([1, 2, 6, 60, 150]),
        "tpm": AMOUNTS,
        "input_tpm": AMOUNTS,
        "output_tpm": AMOUNTS,
        "rpd": st.none() | st.sampled_from([2, 9]),
        "tpd": st.none() | st.sampled_from([50, 500]),
        "max_cost_per_day": st.none() | st.sampled_from([0.02, 0.5]),
        "max_concurrency": st.none() | st.sampled_from([1, 3]),
        "request_burst": st.none() | st.sampled_from([1, 4, 100]),
        "token_burst": st.none() | st.sampled_from([10, 1000]),
    }
)
COSTS = st.builds(
    Tokens, st.integers(0, 60), st.integers(0, 60), st.sampled_from([0.0, 0.01, 0.015])
)
PAUSES = st.sampled_from([0.0, 0.25, 0.5, 1.0, 7.0, 59.5, 60.0, 61.0, 130.0, 700.0])
READINGS = st.builds(
    Reading,
    st.sampled_from([0, 1, 2, 3]),
    st.none() | st.sampled_from([-1.0, 0.0, 1.0, 5.0, 1e16]),
    st.none() | st.sampled_from([0.0, 3.0, 50.0]),
    st.none() | st.sampled_from([0.0, 1.0, 30.0, 65.0, 3600.0, 1e9]),
)
DAY = 600.0


@dataclass
class Pair:
    """One call's lease in both stores, and which process holds the second."""

    memory: Lease
    shared: Lease
    store: RedisStore


def near(number: float) -> float:
    return round(number, 3)


class Both(RuleBasedStateMachine):
    client: Any = None

    @initialize(own=LIMITS, group=LIMITS, learns=st.booleans())
    def begin(self, own: Any, group: Any, learns: bool) -> None:
        self.client.flushdb()
        self.clock = Clock(self.client)
        self.memory = MemoryStore()
        self.processes = [direct_store(self.client, self.clock) for _ in range(2)]
        here, there = self.processes  # as one worker: what workers owe each other is not compared
        there._name, there._ids = here._name, itertools.count(1_000_000)
        self.live: list[Pair] = []
        self.over: list[Pair] = []
        self.specs = [
            BucketSpec("key:a", **own, learns=learns),
            BucketSpec("key:b", **{**own, "tpm": None}),
            BucketSpec("group:g", **group),
            BucketSpec("key:a|model:m", learns=True),
        ]

    @property
    def now(self) -> float:
        return self.clock.now

    def resets(self, now: float) -> tuple[float, float]:
        coming = DAY * (now // DAY + 1)
        return coming, coming + DAY

    def candidate(self, index: int) -> Candidate:
        a, b, group, model = self.specs
        key = "ab"[index]
        own = (a, group, model) if index == 0 else (b, group)
        subjects = (f"key:{key}",)
        return Candidate(index, key, subjects, {Scope.KEY: subjects[0]}, own, self.resets)

    @rule(pause=PAUSES)
    def wait(self, pause: float) -> None:
        self.clock.set(self.now + pause)

    @rule(order=st.sampled_from([(0,), (1,), (0, 1), (1, 0)]), cost=COSTS, where=st.integers(0, 1))
    def admit(self, order: tuple[int, ...], cost: Tokens, where: int) -> None:
        window = [self.candidate(index) for index in order]
        store = self.processes[where]
        here = done(self.memory.admit(window, self.now, cost))
        there = done(store.admit(window, self.now, cost))
        if isinstance(here, Refused):
            assert isinstance(there, Refused)
            assert self.shown(here) == self.shown(there)
            return
        assert isinstance(there, Lease)
        assert here.candidate is there.candidate
        self.live.append(Pair(here, there, store))

    @rule(times=st.integers(2, 12))
    def admit_many(self, times: int) -> None:
        for turn in range(times):
            self.admit((0,), Tokens(1, 1), turn % 2)

    def shown(self, refused: Refused) -> Any:
        return [
            (
                each.index,
                near(each.until),
                each.subject,
                each.is_trial,
                each.is_full,
                each.is_too_large,
                near(each.least),
                each.why,
            )
            for each in refused.blocked
        ]

    @precondition(lambda self: self.live)
    @rule(data=st.data(), owed=st.none() | COSTS)
    def settle(self, data: Any, owed: Tokens | None) -> None:
        pair = data.draw(st.sampled_from(self.live))
        self.memory.settle(pair.memory, (), self.now, owed)
        pair.store.settle(pair.shared, (), self.now, owed)
        self.live.remove(pair)
        self.over.append(pair)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def renew(self, data: Any) -> None:
        pair = data.draw(st.sampled_from(self.live))
        self.memory.renew([pair.memory], self.now)
        pair.store.renew([pair.shared], self.now)

    @precondition(lambda self: self.live)
    @rule(data=st.data(), readings=st.lists(READINGS, max_size=3), spec=st.sampled_from([0, 2, 3]))
    def learn(self, data: Any, readings: list[Reading], spec: int) -> None:
        pair = data.draw(st.sampled_from(self.live))
        self.memory.learn(pair.memory, self.specs[spec], readings, self.now)
        pair.store.learn(pair.shared, self.specs[spec], readings, self.now)

    @rule(which=st.sampled_from([0, 1, 2]), limits=LIMITS)
    def reload(self, which: int, limits: Any) -> None:
        self.specs[which] = BucketSpec(self.specs[which].name, **limits, learns=which == 0)

    @rule()
    def a_process_sets_its_clock_to_the_next_day(self) -> None:
        """What the caller says of days is heeded only as far as the server's clock agrees."""
        window = [replace(self.candidate(0), resets=lambda now: (now + 1e6, now + 2e6))]
        for store in (self.memory, self.processes[0]):
            done(store.rooms(window, self.now))

    @invariant()
    def all_see_the_same_rooms(self) -> None:
        if not hasattr(self, "specs"):
            return
        asked = [self.candidate(0), self.candidate(1)]
        for store in self.processes:
            done(store.flush())
        here = done(self.memory.rooms(asked, self.now))
        for store in self.processes:
            there = done(store.rooms(asked, self.now))
            assert self.listed(here) == self.listed(there)

    def listed(self, rooms: Any) -> Any:
        return {
            name: {limit: (near(r.limit), near(r.taken), r.is_learned) for limit, r in each.items()}
            for name, each in rooms.items()
        }

    def teardown(self) -> None:
        if hasattr(self, "specs"):
            assert all(self.client.pttl(key) > 0 for key in self.client.keys("{test}*"))


def test_both_stores_keep_the_same_limits(server: RedisServer) -> None:
    with server.client() as client:
        running = type("Both", (Both,), {"client": client})
        run: Callable[..., None] = running.TestCase  # type: ignore[attr-defined]
        run.settings = settings(  # type: ignore[attr-defined]
            max_examples=50,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        run("runTest").runTest()  # type: ignore[attr-defined]


def test_a_request_larger_than_a_slot_can_count_does_not_stop_the_server(
    server: RedisServer,
) -> None:
    """What is counted and what is held of it must agree, or the search for room has no end."""
    key = BucketSpec("key:a", learns=True)
    window = [Candidate(0, "a", ("key:a",), {Scope.KEY: "key:a"}, (key,))]
    with server.client() as client:
        for store in (MemoryStore(), TimedStore(client)):
            first = done(store.admit(window, 1_000.0, Tokens(10, 10)))
            store.learn(first, key, [Reading(1, 199_000.0, 200_000.0, 1.0)], 1_000.0)
            huge = done(store.admit(window, 1_070.0, Tokens(10, 10**10)))
            store.settle(huge, (), 1_070.0, Tokens())
            assert isinstance(done(store.admit(window, 1_071.0, Tokens(10, 10))), Lease)


def test_rooms_of_many_keys_are_asked_for_in_parts(server: RedisServer) -> None:
    """A script holds up every call of the fleet while it runs."""
    keys = [BucketSpec(f"key:{number}", rpm=number + 1) for number in range(450)]
    window = [
        Candidate(place, key.name[4:], (key.name,), {Scope.KEY: key.name}, (key,))
        for place, key in enumerate(keys)
    ]
    with server.client() as client:
        store = TimedStore(client)
        link, asked = store._link, []
        call = link.call
        link.call = lambda command: (asked.append(len(command.args)), call(command))[1]
        rooms = done(store.rooms(window, 1_000.0))
    assert {name: room["rpm"].limit for name, room in rooms.items()} == {
        key.name: key.rpm for key in keys
    }
    assert max(asked) <= 600


def test_a_bucket_that_is_gone_is_no_news_to_those_who_come_later(server: RedisServer) -> None:
    """Names of models come from callers: what was once told of each must not add up."""
    key = BucketSpec("key:a|model:m", learns=True)
    window = [Candidate(0, "a", ("key:a",), {Scope.KEY: "key:a"}, (key,))]
    with server.client() as client:
        store = TimedStore(client)
        lease = done(store.admit(window, 1_000.0))
        store.learn(lease, key, [Reading(0, 5.0, 10.0, 1.0)], 1_000.0)
        assert client.zrange("{test}changed", 0, -1) == [b"room|key:a|model:m"]
        for is_there in (True, False):
            later = direct_store(client, Clock(client))
            done(later.catch_up())
            assert bool(client.zcard("{test}changed")) is is_there
            client.delete("{test}b:key:a|model:m")


def test_a_slot_is_kept_though_another_process_knows_of_no_slots(server: RedisServer) -> None:
    """As while workers are replaced one by one with those of a new configuration."""

    def key(**limits: Any) -> list[Candidate]:
        spec = BucketSpec("key:a", **limits)
        return [Candidate(0, "a", ("key:a",), {Scope.KEY: "key:a"}, (spec,))]

    new, old = key(max_concurrency=1), key(rpm=600)
    with server.client() as client:
        store = TimedStore(client)
        lease = done(store.admit(new, 1_000.0))
        for now in (1_020.0, 1_040.0, 1_060.0):
            done(store.admit(old, now - 1.0))
            store.renew([lease], now)
        assert isinstance(done(store.admit(new, 1_070.0)), Refused)
