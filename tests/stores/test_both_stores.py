"""The same steps through both stores: every answer is the same.

The steps at Redis are done by two processes in turns, which share nothing but the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llm_rotate.core.keystate import Change, KeyState, Kind, Refusal, refused, succeeded
from llm_rotate.core.outcome import Outcome, Scope
from llm_rotate.core.policy import Policy
from llm_rotate.core.pool import Blocked, Candidate, Lease, Refused
from llm_rotate.stores.memory import MemoryStore
from llm_rotate.stores.redis import RedisStore
from tests.redis_server import RedisServer

from .direct import Clock, direct_store

POLICY = Policy(cooldown_seconds=30.0, quarantine_seconds=300.0, max_consecutive_failures=3)
KEYS = ("a", "b", "c")
OUTCOMES = (Outcome.RATE_LIMITED, Outcome.AUTH_FAILED, Outcome.QUOTA_EXHAUSTED)


def candidate(index: int) -> Candidate:
    key = KEYS[index]
    own = (f"key:{key}", f"key:{key}|model:m")
    return Candidate(index, key, ("provider:p", *own), {Scope.KEY: own[0], Scope.KEY_MODEL: own[1]})


CANDIDATES = [candidate(i) for i in range(len(KEYS))]
SUBJECTS = sorted({subject for each in CANDIDATES for subject in each.subjects})
WINDOWS = st.permutations(CANDIDATES).flatmap(
    lambda order: st.integers(1, len(order)).map(lambda n: order[:n])
)


@dataclass
class Pair:
    """One call's lease in both stores, and which process holds the second."""

    memory: Lease
    shared: Lease
    store: RedisStore


def shown(state: KeyState) -> Any:
    """What two stores must agree on; versions are each store's own."""
    return (
        state.kind,
        round(state.until, 2),
        round(state.since, 2) if state.version else None,
        state.failures,
        state.strikes,
        state.failed_trials,
        state.outcome,
        state.status,
        state.reason,
    )


def shown_barriers(blocked: tuple[Blocked, ...]) -> Any:
    return [
        (each.index, round(each.until, 2), each.subject, each.is_trial, shown(each.state))
        for each in blocked
    ]


class Both(RuleBasedStateMachine):
    client: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.client.flushdb()
        self.clock = Clock(self.client)
        self.memory = MemoryStore()
        self.processes = [direct_store(self.client, self.clock) for _ in range(2)]
        self.live: list[Pair] = []

    @property
    def now(self) -> float:
        return self.clock.now

    @rule(seconds=st.sampled_from([0, 1, 29, 30, 61, 300, 4000]))
    def wait(self, seconds: int) -> None:
        self.clock.set(self.now + seconds)

    @rule(window=WINDOWS, where=st.sampled_from([0, 1]))
    def admit(self, window: list[Candidate], where: int) -> None:
        store = self.processes[where]
        here = asyncio.run(self.memory.admit(window, self.now))
        there = asyncio.run(store.admit(window, self.now))
        if isinstance(here, Refused):
            assert isinstance(there, Refused)
            assert shown_barriers(here.blocked) == shown_barriers(there.blocked)
            return
        assert isinstance(there, Lease)
        assert here.candidate is there.candidate
        assert here.trials == there.trials
        assert [shown(state) for state in here.seen] == [shown(state) for state in there.seen]
        assert self.memory.is_fresh(here, self.now) == store.is_fresh(there, self.now)
        self.live.append(Pair(here, there, store))

    def changes(self, lease: Lease, subject: str, outcome: Outcome | None, told: Any) -> Any:
        seen = lease.seen[lease.candidate.subjects.index(subject)]
        if outcome is None:
            better = succeeded(seen, self.now)
            return () if better is seen else (Change(subject, seen.version, better),)
        refusal = Refusal(outcome, told, 429, "no | more")
        new = refused(seen, refusal, self.now, POLICY)
        return (Change(subject, seen.version, new, refusal, POLICY),)

    @precondition(lambda self: self.live)
    @rule(
        data=st.data(),
        outcome=st.sampled_from([None, *OUTCOMES]),
        told=st.sampled_from([None, 0, 5, 7, 90]),
        ends=st.sampled_from(["decide", "settle"]),
    )
    def end(self, data: Any, outcome: Outcome | None, told: Any, ends: str) -> None:
        pair = data.draw(st.sampled_from(self.live))
        subject = data.draw(st.sampled_from(pair.memory.candidate.subjects))
        for store, lease in ((self.memory, pair.memory), (pair.store, pair.shared)):
            getattr(store, ends)(lease, self.changes(lease, subject, outcome, told), self.now)
        if ends == "settle":
            self.live.remove(pair)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def renew(self, data: Any) -> None:
        pair = data.draw(st.sampled_from(self.live))
        self.memory.renew([pair.memory], self.now)
        pair.store.renew([pair.shared], self.now)

    @rule(
        subject=st.sampled_from(SUBJECTS),
        kind=st.sampled_from(Kind),
        where=st.sampled_from([0, 1]),
    )
    def say(self, subject: str, kind: Kind, where: int) -> None:
        until = {Kind.COOLDOWN: self.now + 77, Kind.QUARANTINE: self.now + 7}.get(kind, 0.0)
        state = KeyState(kind, float("inf") if kind is Kind.DISABLED else until, since=self.now)
        change = Change(subject, None, replace(state, reason="said"))
        self.memory.transition([change], self.now)
        self.processes[where].transition([change], self.now)

    @invariant()
    def all_know_the_same(self) -> None:
        for store in (*self.processes, *self.processes):
            asyncio.run(store.flush())
        for subject in SUBJECTS:
            for store in self.processes:
                assert shown(self.memory.state(subject)) == shown(store.state(subject)), subject

    def teardown(self) -> None:
        assert all(self.client.pttl(key) > 0 for key in self.client.keys("{test}*"))


def test_both_stores_answer_alike(server: RedisServer) -> None:
    with server.client() as client:
        machine = type("BothStores", (Both,), {"client": client})
        run: Callable[..., None] = machine.TestCase  # type: ignore[attr-defined]
        run.settings = settings(  # type: ignore[attr-defined]
            max_examples=60,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        run("runTest").runTest()  # type: ignore[attr-defined]
