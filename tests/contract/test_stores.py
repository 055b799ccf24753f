"""What every store promises. A new one joins by adding itself to ``STORES``."""

from __future__ import annotations

import asyncio
import atexit
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_rotate.core.keystate import FRESH, Change, KeyState, Kind, Refusal, refused, succeeded
from llm_rotate.core.outcome import Outcome, Scope
from llm_rotate.core.policy import Policy
from llm_rotate.core.pool import (
    LEASE_SECONDS,
    Blocked,
    Candidate,
    Lease,
    News,
    Refused,
    StateStore,
)
from llm_rotate.stores.memory import MemoryStore
from tests.redis_server import RedisServer
from tests.stores.direct import TimedStore

STORES: Mapping[str, Callable[[], StateStore]] = {
    "memory": MemoryStore,
    "redis": lambda: TimedStore(server().client()),
}
_server: list[RedisServer] = []


def server() -> RedisServer:
    """One for all these tests."""
    if not _server:
        _server.append(RedisServer())
        atexit.register(_server[0].close)
    return _server[0]


POLICY = Policy(30.0, 300.0, 5)
NOW = 1000.0


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> Iterator[StateStore]:
    made = STORES[request.param]()
    yield made
    asyncio.run(made.aclose())


def candidate(index: int, key: str, model: str | None = None) -> Candidate:
    scopes = {Scope.KEY: f"key:{key}", Scope.LOCAL: f"local:key:{key}"}
    if model:
        scopes[Scope.KEY_MODEL] = f"key:{key}|model:{model}"
    return Candidate(index, key, ("provider:p", *scopes.values()), scopes)


A, B, C = (candidate(index, key) for index, key in enumerate("abc"))


def ask(store: StateStore, *candidates: Candidate, now: float = NOW) -> Lease | Refused:
    return asyncio.run(store.admit(candidates, now))


def lend(store: StateStore, *candidates: Candidate, now: float = NOW) -> Lease:
    lease = ask(store, *candidates, now=now)
    assert isinstance(lease, Lease)
    return lease


def turn_away(store: StateStore, *candidates: Candidate, now: float = NOW) -> tuple[Blocked, ...]:
    answer = ask(store, *candidates, now=now)
    assert isinstance(answer, Refused)
    return answer.blocked


def refusal(
    lease: Lease,
    outcome: Outcome = Outcome.RATE_LIMITED,
    later_s: float | None = 60.0,
    now: float = NOW,
) -> Change:
    """The lease's key was refused."""
    subject = lease.candidate.scopes[Scope.KEY]
    seen = lease.seen[lease.candidate.subjects.index(subject)]
    failure = Refusal(outcome, later_s)
    return Change(subject, seen.version, refused(seen, failure, now, POLICY), failure, POLICY)


def success(lease: Lease, now: float = NOW) -> list[Change]:
    pairs = zip(lease.candidate.subjects, lease.seen, strict=True)
    return [
        Change(subject, seen.version, succeeded(seen, now))
        for subject, seen in pairs
        if seen.version
    ]


def put(store: StateStore, subject: str, kind: Kind, until: float, now: float = NOW) -> None:
    """As an operator."""
    store.transition([Change(subject, None, KeyState(kind, until, since=now))], now)


def probation(store: StateStore, *subjects: str) -> None:
    for subject in subjects:
        put(store, subject, Kind.PROBATION, 0.0)


# -- admit


def test_the_first_of_the_window_that_may_go_is_lent(store: StateStore) -> None:
    assert lend(store, A, B, C).candidate == A
    put(store, "key:a", Kind.COOLDOWN, NOW + 60)
    assert lend(store, A, B, C).candidate == B
    put(store, "key:b", Kind.DISABLED, math.inf)
    assert lend(store, A, B, C).candidate == C
    assert lend(store, C, B).candidate == C


def test_a_refusal_says_of_each_candidate_why_and_until_when(store: StateStore) -> None:
    put(store, "key:a", Kind.COOLDOWN, NOW + 60)
    put(store, "key:b", Kind.DISABLED, math.inf)
    first, second = turn_away(store, A, B)
    assert (first.index, first.until, first.subject) == (0, NOW + 60, "key:a")
    assert (first.state.kind, first.is_trial) == (Kind.COOLDOWN, False)
    assert (second.index, second.until, second.state.kind) == (1, math.inf, Kind.DISABLED)


def test_of_several_resting_scopes_the_latest_is_named(store: StateStore) -> None:
    put(store, "key:a", Kind.COOLDOWN, NOW + 60)
    put(store, "local:key:a", Kind.QUARANTINE, NOW + 90)
    put(store, "provider:p", Kind.COOLDOWN, NOW + 5)
    (blocked,) = turn_away(store, A)
    assert (blocked.subject, blocked.until) == ("local:key:a", NOW + 90)


def test_a_scope_that_is_not_needed_does_not_matter(store: StateStore) -> None:
    put(store, "key:a|model:m", Kind.QUARANTINE, NOW + 60)
    assert lend(store, candidate(0, "a", "other"))
    assert lend(store, A)
    assert turn_away(store, candidate(0, "a", "m"))


def test_a_resting_provider_stops_all_its_keys(store: StateStore) -> None:
    put(store, "provider:p", Kind.COOLDOWN, NOW + 5)
    assert {each.subject for each in turn_away(store, A, B, C)} == {"provider:p"}


def test_a_lease_knows_the_states_that_it_was_given_in(store: StateStore) -> None:
    put(store, "key:a", Kind.ACTIVE, 0.0)
    lease = lend(store, A)
    assert dict(zip(A.subjects, (state.version for state in lease.seen), strict=True)) == {
        "provider:p": 0,
        "key:a": 1,
        "local:key:a": 0,
    }


def test_each_lease_has_an_id_of_its_own(store: StateStore) -> None:
    assert len({lend(store, A).id for _ in range(20)}) == 20


def test_a_rest_is_over_at_its_deadline_not_before(store: StateStore) -> None:
    put(store, "key:a", Kind.COOLDOWN, NOW + 60)
    assert turn_away(store, A, now=NOW + 59.999)
    assert lend(store, A, now=NOW + 60)


def test_nobody_asked_is_nobody_lent(store: StateStore) -> None:
    assert turn_away(store) == ()


# -- trials


@pytest.mark.parametrize("rested", [Kind.COOLDOWN, Kind.QUARANTINE])
def test_R15_after_a_rest_one_trial_goes_at_a_time(store: StateStore, rested: Kind) -> None:
    put(store, "key:a", rested, NOW + 60)
    at = NOW + 60
    lease = lend(store, A, now=at)
    assert lease.trials == ("key:a",)
    (blocked,) = turn_away(store, A, now=at)
    assert (blocked.is_trial, blocked.until) == (True, at + LEASE_SECONDS)
    assert lend(store, A, B, now=at).candidate == B


def test_a_healthy_key_has_no_trials(store: StateStore) -> None:
    assert lend(store, A).trials == ()


def test_a_trial_is_taken_for_every_scope_on_probation(store: StateStore) -> None:
    probation(store, "provider:p", "key:a")
    assert lend(store, A).trials == ("provider:p", "key:a")
    assert turn_away(store, B)[0].subject == "provider:p"


def test_a_key_that_may_not_go_takes_no_trial(store: StateStore) -> None:
    probation(store, "provider:p")
    put(store, "key:a", Kind.COOLDOWN, NOW + 60)
    assert turn_away(store, A)[0].subject == "key:a"
    assert lend(store, B).trials == ("provider:p",)


def test_a_trial_is_freed_by_decide_and_by_settle(store: StateStore) -> None:
    probation(store, "key:a")
    first = lend(store, A)
    store.decide(first, (), NOW)
    second = lend(store, A)
    store.settle(second, (), NOW)
    assert lend(store, A).trials == ("key:a",)


def test_a_won_trial_makes_the_key_active(store: StateStore) -> None:
    probation(store, "key:a")
    lease = lend(store, A)
    store.decide(lease, success(lease), NOW)
    assert store.state("key:a").kind is Kind.ACTIVE
    assert lend(store, A).trials == ()
    assert lend(store, A).trials == ()


def test_a_lost_trial_is_a_longer_rest(store: StateStore) -> None:
    lease = lend(store, A)
    store.settle(lease, [refusal(lease, Outcome.FORBIDDEN)], NOW)
    trial = lend(store, A, now=NOW + 300)
    store.settle(trial, [refusal(trial, Outcome.FORBIDDEN, None, NOW + 300)], NOW + 300)
    (blocked,) = turn_away(store, A, now=NOW + 300)
    assert (blocked.until, blocked.is_trial) == (NOW + 900, False)


def test_a_trial_that_is_never_given_back_expires(store: StateStore) -> None:
    probation(store, "key:a")
    lend(store, A)
    assert turn_away(store, A, now=NOW + LEASE_SECONDS - 0.001)
    assert lend(store, A, now=NOW + LEASE_SECONDS)


def test_a_trial_that_is_renewed_does_not(store: StateStore) -> None:
    probation(store, "key:a")
    lease = lend(store, A)
    store.renew([lease], NOW + 20)
    assert turn_away(store, A, now=NOW + LEASE_SECONDS)
    assert lend(store, A, now=NOW + 20 + LEASE_SECONDS)


def test_a_trial_that_was_given_back_cannot_be_renewed(store: StateStore) -> None:
    probation(store, "key:a")
    lease = lend(store, A)
    store.decide(lease, (), NOW)
    store.renew([lease], NOW)
    assert lend(store, A)


def test_who_comes_back_late_does_not_free_or_renew_anothers_trial(store: StateStore) -> None:
    probation(store, "key:a")
    late = lend(store, A)
    at = NOW + LEASE_SECONDS
    lend(store, A, now=at)
    store.renew([late], at)
    store.settle(late, (), at)
    assert turn_away(store, A, now=at)[0].until == at + LEASE_SECONDS


def test_an_operators_word_ends_a_trial(store: StateStore) -> None:
    probation(store, "key:a")
    lend(store, A)
    probation(store, "key:a")
    assert lend(store, A).trials == ("key:a",)


def test_a_childs_process_has_no_trials_and_keeps_the_states() -> None:
    store = MemoryStore()  # of a shared one they are still the parent's
    probation(store, "key:a")
    put(store, "key:b", Kind.COOLDOWN, NOW + 60)
    lend(store, A)
    store.forget_leases()
    assert lend(store, A).trials == ("key:a",)
    assert turn_away(store, B)


# -- decide and settle


def test_each_acts_once_for_a_lease(store: StateStore) -> None:
    lease = lend(store, A)
    for later_s in (60.0, 600.0):
        store.decide(lease, [refusal(lease, later_s=later_s)], NOW)
    assert store.state("key:a").until == NOW + 60.0
    # What only the body showed is judged, once, against the state that stands.
    for later_s in (6000.0, 60_000.0):
        store.settle(lease, [refusal(lease, later_s=later_s)], NOW)
    assert store.state("key:a").until == NOW + 6000.0
    assert store.state("key:a").failures == 1
    assert lease.is_decided
    assert lease.is_settled


def test_settle_decides_if_nothing_has(store: StateStore) -> None:
    lease = lend(store, A)
    store.settle(lease, [refusal(lease)], NOW)
    assert store.state("key:a").kind is Kind.COOLDOWN
    store.decide(lease, success(lease), NOW)
    assert store.state("key:a").kind is Kind.COOLDOWN


def test_a_failure_that_only_the_body_showed_still_counts(store: StateStore) -> None:
    lease = lend(store, A)
    store.decide(lease, (), NOW)
    store.settle(lease, [refusal(lease)], NOW)
    assert store.state("key:a").kind is Kind.COOLDOWN


def test_a_success_is_not_decided_twice(store: StateStore) -> None:
    probation(store, "key:a")
    lease = lend(store, A)
    store.decide(lease, success(lease), NOW)
    other = lend(store, A)
    store.settle(other, [refusal(other)], NOW)
    store.settle(lease, success(lease), NOW)
    assert store.state("key:a").kind is Kind.COOLDOWN


def test_D03_thirty_two_refusals_at_once_are_one_failure(store: StateStore) -> None:
    leases = [lend(store, A) for _ in range(32)]
    for n, lease in enumerate(leases):
        at = NOW + n / 1000
        store.settle(lease, [refusal(lease, now=at)], at)
    state = store.state("key:a")
    assert state.failures == 1
    assert state.until == pytest.approx(NOW + 60, abs=1.0)


def test_R17_of_two_rests_the_later_stands(store: StateStore) -> None:
    for order in ((5.0, 60.0), (60.0, 5.0)):
        put(store, "key:a", Kind.ACTIVE, 0.0)
        leases = [lend(store, A), lend(store, A)]
        for lease, later_s in zip(leases, order, strict=True):
            store.settle(lease, [refusal(lease, later_s=later_s)], NOW)
        assert store.state("key:a").until == NOW + 60


def test_a_late_success_lifts_no_later_rest(store: StateStore) -> None:
    probation(store, "key:a")
    early = lend(store, A)
    put(store, "key:a", Kind.COOLDOWN, NOW + 60)
    store.settle(early, success(early), NOW)
    assert turn_away(store, A)


# -- is_fresh


def test_a_lease_is_fresh_until_a_scope_of_its_key_goes_to_rest(store: StateStore) -> None:
    for subject in A.subjects:
        lease = lend(store, A)
        assert store.is_fresh(lease, NOW)
        put(store, "key:b", Kind.COOLDOWN, NOW + 60)
        assert store.is_fresh(lease, NOW)
        put(store, subject, Kind.COOLDOWN, NOW + 60)
        assert not store.is_fresh(lease, NOW)
        put(store, subject, Kind.ACTIVE, 0.0)
        assert store.is_fresh(lease, NOW)


def test_a_trials_own_lease_is_fresh(store: StateStore) -> None:
    put(store, "key:a", Kind.COOLDOWN, NOW + 60)
    lease = lend(store, A, now=NOW + 60)
    assert store.is_fresh(lease, NOW + 60)


# -- transition, state, snapshot


def test_operators_words_hold_whatever_the_version(store: StateStore) -> None:
    put(store, "key:a", Kind.COOLDOWN, NOW + 900)
    put(store, "key:a", Kind.COOLDOWN, NOW + 10)
    assert store.state("key:a").until == NOW + 10
    assert store.state("key:a").version == 2
    put(store, "key:a", Kind.ACTIVE, 0.0)
    assert lend(store, A)


def test_what_was_never_changed_is_as_new(store: StateStore) -> None:
    assert store.state("key:nobody") == FRESH
    assert asyncio.run(store.snapshot()) == {}


def test_a_snapshot_has_every_state_and_stays_as_it_was(store: StateStore) -> None:
    put(store, "key:a", Kind.COOLDOWN, NOW + 60)
    taken = asyncio.run(store.snapshot())
    put(store, "key:b", Kind.DISABLED, math.inf)
    assert set(taken) == {"key:a"}
    assert set(asyncio.run(store.snapshot())) == {"key:a", "key:b"}


def test_what_is_local_is_known_here(store: StateStore) -> None:
    put(store, "local:key:a", Kind.QUARANTINE, NOW + 60)
    assert store.state("local:key:a").kind is Kind.QUARANTINE
    assert turn_away(store, A)


# -- listen


def heard_by(store: StateStore) -> list[News]:
    heard: list[News] = []
    store.listen(heard.extend)
    return heard


def test_every_change_is_told_with_what_was_before(store: StateStore) -> None:
    heard = heard_by(store)
    put(store, "key:a", Kind.COOLDOWN, NOW + 60)
    lease = lend(store, B)
    store.settle(lease, [refusal(lease)], NOW)
    told = {news.subject: news for news in reversed(heard)}  # some say it again
    assert {name: news.until for name, news in told.items()} == {
        "key:a": NOW + 60,
        "key:b": NOW + 60,
    }
    assert told["key:a"].before == FRESH
    assert told["key:b"].after == store.state("key:b")


def test_a_freed_trial_is_told_though_no_state_changed(store: StateStore) -> None:
    probation(store, "key:a")
    lease = lend(store, A)
    heard = heard_by(store)
    store.settle(lease, (), NOW)
    assert {(news.subject, news.until) for news in heard} == {("key:a", NOW)}
    assert all(news.before is news.after for news in heard)


def test_what_changes_nothing_is_not_told(store: StateStore) -> None:
    first, second = lend(store, A), lend(store, A)
    store.settle(first, [refusal(first)], NOW)
    heard = heard_by(store)
    store.settle(second, [refusal(second)], NOW)
    store.settle(lend(store, B), (), NOW)
    assert heard == []


def test_every_listener_hears(store: StateStore) -> None:
    one, two = heard_by(store), heard_by(store)
    put(store, "key:a", Kind.COOLDOWN, NOW + 60)
    assert one == two != []


# -- threads


def test_threads_share_a_store(store: StateStore) -> None:
    """Eight threads ask for one trial over and over: never two hold it at a time."""
    probation(store, "key:a")
    holders, most, tries = 0, 0, threading.Lock()
    wins = 0

    def work() -> None:
        nonlocal holders, most, wins
        for _ in range(300):
            answer = asyncio_free(store.admit([A], NOW))
            if not isinstance(answer, Lease):
                continue
            with tries:
                holders += 1
                wins += 1
                most = max(most, holders)
            with tries:
                holders -= 1
            store.settle(answer, (), NOW)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert wins > 0
    assert lend(store, A)


def asyncio_free(awaitable: object) -> object:
    """Drives a coroutine that is local, without a loop; runs one if it suspends."""
    try:
        awaitable.send(None)  # type: ignore[attr-defined]
    except StopIteration as done:
        return done.value
    raise AssertionError("a store that suspends needs a loop in each thread")


# -- any order of steps

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["admit", "refuse", "succeed", "drop", "decide", "rest", "enable", "wait"]),
        st.integers(0, 30),
    ),
    max_size=60,
)


@pytest.mark.parametrize("make", STORES.values(), ids=STORES)
@settings(max_examples=150, deadline=None)
@given(steps=STEPS)
def test_whatever_happens_trials_are_single_and_leases_come_back(
    make: Callable[[], StateStore], steps: Sequence[tuple[str, int]]
) -> None:
    store, now = make(), NOW
    leases: list[Lease] = []
    taken: dict[str, tuple[Lease, float]] = {}
    window = [A, B, candidate(2, "a", "m")]
    for step, number in steps:
        pick = leases[number % len(leases)] if leases else None
        if step == "wait":
            now += number
        elif step == "rest":
            put(store, "key:a", Kind.COOLDOWN, now + number, now)
            taken.pop("key:a", None)  # an operator's word ends a trial
        elif step == "enable":
            probation(store, "key:b")
            taken.pop("key:b", None)
        elif step == "admit":
            answer = asyncio_free(store.admit(window[number % 3 :], now))
            if isinstance(answer, Lease):
                for subject in answer.trials:
                    holder, since = taken.get(subject, (None, 0.0))
                    assert holder is None or holder.is_decided or since + LEASE_SECONDS <= now
                    taken[subject] = answer, now
                leases.append(answer)
            elif isinstance(answer, Refused):
                assert all(each.until > now for each in answer.blocked)
        elif pick is not None and step == "decide":
            store.decide(pick, success(pick, now), now)
        elif pick is not None:
            ends = {"refuse": [refusal(pick, now=now)], "succeed": success(pick, now), "drop": []}
            store.settle(pick, ends[step], now)
            leases.remove(pick)
    for lease in leases:
        store.settle(lease, (), now)
    later = now + 1e6
    for each in window:
        lease = asyncio_free(store.admit([each], later))
        assert isinstance(lease, Lease)
        store.settle(lease, (), later)


def test_replaced_states_keep_counting_versions(store: StateStore) -> None:
    versions = []
    for n in range(5):
        store.transition([Change("key:a", None, replace(FRESH, reason=str(n)))], NOW)
        versions.append(store.state("key:a").version)
    assert versions == [1, 2, 3, 4, 5]
