"""What every store promises, asked of each."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from llm_rotate.config.entries import StateStoreConfig
from llm_rotate.core.keystate import FRESH, Change, KeyState, Kind, Refusal, refused, succeeded
from llm_rotate.core.outcome import Outcome, Scope
from llm_rotate.core.policy import Policy
from llm_rotate.core.pool import Candidate, Lease, News, Refused, StateStore
from llm_rotate.engine.clock import RealClock
from llm_rotate.engine.state import open_store
from tests.redis_server import RedisServer

POLICY = Policy(cooldown_seconds=30.0, quarantine_seconds=300.0, max_consecutive_failures=2)
Scenario = Callable[[StateStore, Callable[[], float]], Awaitable[None]]


def candidate(index: int, key: str) -> Candidate:
    own = f"key:{key}"
    subjects = ("provider:p", own, f"{own}|model:m", f"local:{own}")
    scopes = {Scope.KEY: own, Scope.KEY_MODEL: subjects[2], Scope.LOCAL: subjects[3]}
    return Candidate(index, key, subjects, scopes)


A, B = candidate(0, "a"), candidate(1, "b")


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture(params=["memory", "redis"])
def run(request: pytest.FixtureRequest, server: RedisServer) -> Callable[[Scenario], None]:
    """Runs a scenario with a store as new."""
    server.do("FLUSHALL")
    config = StateStoreConfig(backend=request.param, redis_url=server.url, store_timeout_ms=5000)
    clock = RealClock()

    async def whole(scenario: Scenario) -> None:
        store = open_store(config, clock)
        try:
            await scenario(store, clock.now)
        finally:
            await store.aclose()

    return lambda scenario: asyncio.run(whole(scenario))


def failure(
    lease: Lease, now: float, outcome: Outcome = Outcome.AUTH_FAILED, **more: Any
) -> Change:
    """A refusal that the key itself pays for."""
    place = lease.candidate.subjects.index(lease.candidate.scopes[Scope.KEY])
    refusal = Refusal(outcome, **more)
    seen = lease.seen[place]
    new = refused(seen, refusal, now, POLICY)
    return Change(lease.candidate.subjects[place], seen.version, new, refusal, POLICY)


def success(lease: Lease, now: float) -> list[Change]:
    return [
        Change(subject, seen.version, better)
        for subject, seen in zip(lease.candidate.subjects, lease.seen, strict=True)
        if (better := succeeded(seen, now)) is not seen
    ]


def said(kind: Kind, until: float = 0.0, subject: str = "key:a") -> Change:
    return Change(subject, None, KeyState(kind, until, reason="said"))


async def lent(store: StateStore, now: float, *candidates: Candidate) -> Lease:
    answer = await store.admit(candidates or (A,), now)
    assert isinstance(answer, Lease), answer
    return answer


async def barrier(store: StateStore, now: float, *candidates: Candidate) -> Any:
    answer = await store.admit(candidates or (A,), now)
    assert isinstance(answer, Refused), answer
    return answer.blocked[0]


def test_the_first_that_may_go_is_lent(run) -> None:
    async def scenario(store: StateStore, now: Any) -> None:
        lease = await lent(store, now(), A, B)
        assert lease.candidate is A
        assert lease.seen == (FRESH,) * 4
        assert lease.trials == ()
        store.settle(lease, [failure(lease, now())], now())
        assert (await lent(store, now(), A, B)).candidate is B

    run(scenario)


def test_who_may_not_go_is_told_why_and_until_when(run) -> None:
    async def scenario(store: StateStore, now: Any) -> None:
        began = now()
        store.transition([said(Kind.COOLDOWN, began + 40)], began)
        store.transition([said(Kind.DISABLED, math.inf, "key:b")], began)
        answer = await store.admit((A, B), now())
        assert isinstance(answer, Refused)
        a, b = answer.blocked
        assert (a.index, a.subject, a.is_trial, a.state.reason) == (0, "key:a", False, "said")
        assert a.until == pytest.approx(began + 40, abs=0.5)
        assert (b.index, b.subject, b.until) == (1, "key:b", math.inf)

    run(scenario)


def test_a_lease_goes_stale_with_its_key(run) -> None:
    async def scenario(store: StateStore, now: Any) -> None:
        first, second = await lent(store, now()), await lent(store, now())
        store.settle(first, [failure(first, now())], now())
        assert not store.is_fresh(second, now())

    run(scenario)


def test_probation_lets_one_trial_through_at_a_time(run) -> None:
    async def scenario(store: StateStore, now: Any) -> None:
        store.transition([said(Kind.PROBATION)], now())
        trial = await lent(store, now())
        assert trial.trials == ("key:a",)
        blocked = await barrier(store, now())
        assert blocked.is_trial
        assert blocked.until == pytest.approx(now() + 60, abs=0.5)
        store.decide(trial, success(trial, now()), now())
        assert (await lent(store, now())).trials == ()

    run(scenario)


def test_a_freed_trial_is_news(run) -> None:
    async def scenario(store: StateStore, now: Any) -> None:
        heard: list[News] = []
        store.listen(heard.extend)
        store.transition([said(Kind.PROBATION)], now())
        trial = await lent(store, now())
        await store.flush()
        heard.clear()
        store.settle(trial, (), now())
        freed = heard[0]
        assert (freed.subject, freed.before) == ("key:a", freed.after)
        await store.flush()
        assert (await lent(store, now())).trials == ("key:a",)

    run(scenario)


def test_decide_and_settle_act_once(run) -> None:
    async def scenario(store: StateStore, now: Any) -> None:
        lease = await lent(store, now())
        change = failure(lease, now())
        for _ in range(3):
            store.decide(lease, [change], now())
        for _ in range(3):
            store.settle(lease, [change], now())
        await store.flush()
        assert store.state("key:a").failures == 1

    run(scenario)


def test_many_failures_at_once_are_one_and_the_later_deadline_holds(run) -> None:
    async def scenario(store: StateStore, now: Any) -> None:
        leases = [await lent(store, now()) for _ in range(32)]
        began = now()
        for seconds, lease in enumerate(leases):
            refusal = failure(lease, now(), Outcome.RATE_LIMITED, later_s=float(seconds))
            store.settle(lease, [refusal], now())
        await store.flush()
        state = store.state("key:a")
        assert state.failures == 1
        assert state.until == pytest.approx(began + 31, abs=1.5)

    run(scenario)


def test_a_late_success_lifts_no_rest(run) -> None:
    async def scenario(store: StateStore, now: Any) -> None:
        store.transition([said(Kind.PROBATION)], now())
        trial = await lent(store, now())
        store.transition([said(Kind.COOLDOWN, now() + 60)], now())
        store.settle(trial, success(trial, now()), now())
        assert (await barrier(store, now())).state.kind is Kind.COOLDOWN

    run(scenario)


def test_strikes_add_up_to_disabled(run) -> None:
    async def scenario(store: StateStore, now: Any) -> None:
        for _ in range(2):
            lease = await lent(store, now())
            store.settle(lease, [failure(lease, now())], now())
            state = store.state("key:a")
            if state.kind is not Kind.DISABLED:
                back = KeyState(Kind.PROBATION, strikes=state.strikes, failures=state.failures)
                store.transition([Change("key:a", None, back)], now())
        await store.flush()
        assert (await barrier(store, now())).until == math.inf

    run(scenario)


def test_what_a_state_says_comes_back_whole(run) -> None:
    async def scenario(store: StateStore, now: Any) -> None:
        lease = await lent(store, now())
        told = {"later_s": 7.0, "status": 429, "reason": "so | it\nsaid: Zürich ✓"}
        store.settle(lease, [failure(lease, now(), Outcome.QUOTA_EXHAUSTED, **told)], now())
        await store.flush()
        state = (await store.snapshot())["key:a"]
        assert (state.kind, state.outcome) == (Kind.QUARANTINE, Outcome.QUOTA_EXHAUSTED)
        assert (state.status, state.reason, state.failures) == (429, told["reason"], 1)
        assert state.until == pytest.approx(now() + 7, abs=0.5)
        assert state.since == pytest.approx(now(), abs=0.5)

    run(scenario)


def test_a_local_subject_keeps_its_key_back_too(run) -> None:
    async def scenario(store: StateStore, now: Any) -> None:
        store.transition([said(Kind.QUARANTINE, now() + 50, "local:key:a")], now())
        assert (await barrier(store, now())).subject == "local:key:a"
        assert (await lent(store, now(), A, B)).candidate is B
        store.transition([said(Kind.PROBATION, 0.0, "local:key:a")], now())
        trial = await lent(store, now())
        assert trial.trials == ("local:key:a",)
        assert (await barrier(store, now())).is_trial
        store.settle(trial, success(trial, now()), now())
        assert (await lent(store, now())).trials == ()

    run(scenario)


def test_the_longest_barrier_is_told(run) -> None:
    async def scenario(store: StateStore, now: Any) -> None:
        store.transition([said(Kind.QUARANTINE, now() + 50, "local:key:a")], now())
        store.transition([said(Kind.COOLDOWN, now() + 90)], now())
        assert (await barrier(store, now())).subject == "key:a"
        store.transition([said(Kind.QUARANTINE, now() + 500, "local:key:a")], now())
        assert (await barrier(store, now())).subject == "local:key:a"

    run(scenario)


def test_many_admissions_at_once_agree_on_one_trial(run) -> None:
    async def scenario(store: StateStore, now: Any) -> None:
        store.transition([said(Kind.PROBATION)], now())
        answers = await asyncio.gather(*(store.admit((A, B), now()) for _ in range(50)))
        keys = [answer.candidate.key_id for answer in answers if isinstance(answer, Lease)]
        assert sorted(keys) == ["a"] + ["b"] * 49
        alone = await asyncio.gather(*(store.admit((A,), now()) for _ in range(10)))
        assert all(isinstance(answer, Refused) for answer in alone)

    run(scenario)


def test_a_thousand_admissions_and_states_at_once(run) -> None:
    async def scenario(store: StateStore, now: Any) -> None:
        many = [candidate(i, f"k{i}") for i in range(2500)]
        store.transition(
            [said(Kind.COOLDOWN, now() + 60, f"key:k{i}") for i in range(0, 2500, 2)], now()
        )
        windows = [many[i : i + 8] for i in range(2490)]
        answers = await asyncio.gather(*(store.admit(window, now()) for window in windows))
        assert all(isinstance(answer, Lease) for answer in answers)
        assert {answer.candidate.index % 2 for answer in answers} == {1}  # type: ignore[union-attr]
        assert len(await store.snapshot()) == 1250

    run(scenario)
