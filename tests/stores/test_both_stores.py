"""The same steps through both stores: every answer is the same.

The steps at Redis are done by two processes in turns, which share nothing but the server.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llm_rotate.core.keystate import Change, KeyState, Kind, Refusal, refused, succeeded
from llm_rotate.core.outcome import Outcome, Scope
from llm_rotate.core.policy import Policy
from llm_rotate.core.pool import Blocked, Candidate, Lease, Refused
from llm_rotate.engine.consequences import cleared
from llm_rotate.stores.memory import MemoryStore
from llm_rotate.stores.redis import RedisStore
from tests.redis_server import RedisServer

from .direct import Clock, direct_store, done

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
        here = done(self.memory.admit(window, self.now))
        there = done(store.admit(window, self.now))
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
            done(store.flush())
        for subject in SUBJECTS:
            for store in self.processes:
                assert shown(self.memory.state(subject)) == shown(store.state(subject)), subject

    def teardown(self) -> None:
        assert all(self.client.pttl(key) > 0 for key in self.client.keys("{test}*"))


class Apart(RuleBasedStateMachine):
    """Two processes that hear of each other late, and a server that may forget everything:
    in the end they agree with each other and with the server.
    """

    client: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.client.flushdb()
        self.clock = Clock(self.client)
        self.processes = [direct_store(self.client, self.clock) for _ in range(2)]
        self.live: list[tuple[Lease, RedisStore]] = []
        self.disabled: set[str] = set()

    @property
    def now(self) -> float:
        return self.clock.now

    @rule(seconds=st.sampled_from([0, 1, 30, 61, 300]))
    def wait(self, seconds: int) -> None:
        self.clock.set(self.now + seconds)

    @rule(window=WINDOWS, store=st.sampled_from([0, 1]))
    def admit(self, window: list[Candidate], store: int) -> None:
        answer = done(self.processes[store].admit(window, self.now))
        if isinstance(answer, Lease):
            self.live.append((answer, self.processes[store]))

    @precondition(lambda self: self.live)
    @rule(
        data=st.data(),
        outcome=st.sampled_from([None, *OUTCOMES]),
        ends=st.sampled_from(["decide", "settle"]),
    )
    def end(self, data: Any, outcome: Outcome | None, ends: str) -> None:
        lease, store = data.draw(st.sampled_from(self.live))
        subject = data.draw(st.sampled_from(lease.candidate.subjects))
        changes = Both.changes(self, lease, subject, outcome, None)  # type: ignore[arg-type]
        getattr(store, ends)(lease, changes, self.now)
        if ends == "settle":
            self.live.remove((lease, store))

    @rule(key=st.sampled_from(KEYS), where=st.sampled_from([0, 1]))
    def disable(self, key: str, where: int) -> None:
        state = KeyState(Kind.DISABLED, float("inf"), since=self.now, reason="said")
        self.processes[where].transition([Change(f"key:{key}", None, state)], self.now)
        self.disabled.add(f"key:{key}")

    @rule(where=st.sampled_from([0, 1]))
    def flush(self, where: int) -> None:
        done(self.processes[where].flush())

    @rule()
    def forget(self) -> None:
        self.client.delete(*self.client.keys("{test}*"), "nothing")
        self.clock.set(self.now + 0.001)  # no server forgets twice in a microsecond

    def teardown(self) -> None:
        for lease, store in self.live:
            store.settle(lease, (), self.now)
        here, there = self.processes
        for store in (here, there, here, there):
            done(store.flush())
        fresh = direct_store(self.client, self.clock)
        done(fresh.flush())
        for subject in SUBJECTS:
            states = [shown(each.state(subject)) for each in (here, there, fresh)]
            if fresh.state(subject).kind is not Kind.ACTIVE:
                assert states[0] == states[1] == states[2], (subject, states)
            assert {state[0] for state in states} == {states[2][0]}, (subject, states)
        assert all(here.state(subject).kind is Kind.DISABLED for subject in self.disabled)
        for name in self.client.keys("{test}s:*"):
            assert self.client.get(name).split(b"|")[4] == b"", "a trial was left"


@pytest.mark.parametrize("machine", [Both, Apart])
def test_both_stores_answer_alike(server: RedisServer, machine: Any) -> None:
    with server.client() as client:
        running = type(machine.__name__, (machine,), {"client": client})
        run: Callable[..., None] = running.TestCase  # type: ignore[attr-defined]
        run.settings = settings(  # type: ignore[attr-defined]
            max_examples=60,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        run("runTest").runTest()  # type: ignore[attr-defined]


def test_a_word_said_after_the_server_forgot_outlives_what_another_judged_before(
    server: RedisServer,
) -> None:
    with server.client() as client:
        client.flushdb()
        clock = Clock(client)
        here, there = (direct_store(client, clock) for _ in range(2))
        lease = done(here.admit(CANDIDATES[1:2], clock.now))
        client.delete(*client.keys("{test}*"))
        clock.set(clock.now + 0.001)
        [subject] = [each for each in lease.candidate.subjects if each == f"key:{KEYS[1]}"]
        said = KeyState(Kind.DISABLED, float("inf"), since=clock.now, reason="said")
        there.transition([Change(subject, None, said)], clock.now)
        done(there.flush())
        rest = KeyState(Kind.COOLDOWN, clock.now + 30, clock.now, version=1, failures=1)
        here.decide(lease, [Change(subject, 0, rest)], clock.now)
        for store in (here, there, here, there):
            done(store.flush())
        assert [store.state(subject).kind for store in (here, there)] == [Kind.DISABLED] * 2


def rested(store: RedisStore, clock: Clock, models: range) -> None:
    """Each of the models rests a second."""
    rest = KeyState(Kind.COOLDOWN, clock.now + 1.0, clock.now, version=1, failures=1)
    store.transition([Change(f"key:a|model:{i}", 0, rest) for i in models], clock.now)
    done(store.flush())


def test_what_the_server_still_keeps_is_not_forgotten_here(server: RedisServer) -> None:
    """Else a won trial would not be told to it, and one call would go at a time for a day."""
    with server.client() as client:
        client.flushdb()
        clock = Clock(client)
        store = direct_store(client, clock)
        rested(store, clock, range(1))
        clock.set(clock.now + 7200.0)
        rested(store, clock, range(1, 1001))
        subject = "key:a|model:0"
        lease = done(store.admit([Candidate(0, "a", (subject,), {})], clock.now))
        assert lease.trials == (subject,)
        store.settle(lease, cleared(lease, clock.now), clock.now)
        done(store.flush())
        other = direct_store(client, clock)
        done(other.catch_up())
        assert other.state(subject).kind is Kind.ACTIVE


def test_what_others_tell_does_not_add_up_for_ever(server: RedisServer) -> None:
    with server.client() as client:
        client.flushdb()
        clock = Clock(client)
        here, there = (direct_store(client, clock) for _ in range(2))
        for days in range(4):
            rested(here, clock, range(days * 600, days * 600 + 600))
            done(there.catch_up())
            clock.set(clock.now + 2 * 86400.0)
        assert len(done(there.snapshot())) <= 1800
