"""What every store promises of limits. Stores join by the list in ``test_stores``."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from dataclasses import replace

import pytest

from llm_rotate.core.bucket import BucketSpec, Tokens
from llm_rotate.core.learned import Reading
from llm_rotate.core.meter import REQUESTS, TOKENS
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

from .test_stores import NOW, STORES, candidate

SMALL = Tokens(10, 10)


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> Iterator[StateStore]:
    made = STORES[request.param]()
    yield made
    asyncio.run(made.aclose())


def limited(index: int, key: str, *specs: BucketSpec, day: float = 1e9) -> Candidate:
    def resets(now: float) -> tuple[float, float]:
        coming = NOW + day * (1 + (now - NOW) // day)
        return coming, coming + day

    return replace(candidate(index, key), buckets=specs, resets=resets)


def ask(
    store: StateStore, *candidates: Candidate, now: float = NOW, cost: Tokens = SMALL
) -> Lease | Refused:
    return asyncio.run(store.admit(candidates, now, cost))


def lend(
    store: StateStore, *candidates: Candidate, now: float = NOW, cost: Tokens = SMALL
) -> Lease:
    lease = ask(store, *candidates, now=now, cost=cost)
    assert isinstance(lease, Lease)
    return lease


def full(
    store: StateStore, *candidates: Candidate, now: float = NOW, cost: Tokens = SMALL
) -> Blocked:
    answer = ask(store, *candidates, now=now, cost=cost)
    assert isinstance(answer, Refused)
    assert answer.blocked[0].is_full
    return answer.blocked[0]


def taken(store: StateStore, asked: Candidate, name: str, now: float = NOW) -> float:
    (rooms,) = asyncio.run(store.rooms([asked], now)).values()
    return rooms[name].taken


def test_a_key_without_room_is_passed_over(store: StateStore) -> None:
    a = limited(0, "a", BucketSpec("key:a", rpm=1))
    b = limited(1, "b", BucketSpec("key:b", rpm=1))
    assert lend(store, a, b).candidate == a
    assert lend(store, a, b).candidate == b
    assert full(store, a, b).index == 0


def test_a_refusal_says_when_which_limit_and_since_when_for_anybody(store: StateStore) -> None:
    a = limited(0, "a", BucketSpec("key:a", rpm=6, request_burst=1))
    lend(store, a)
    barrier = full(store, a)
    assert barrier.until == pytest.approx(NOW + 10, abs=0.01)
    assert barrier.least == pytest.approx(NOW + 10, abs=0.01)
    assert barrier.why == "rpm 1 of 6"
    assert not barrier.is_too_large
    assert lend(store, a, now=barrier.until)


def test_a_smaller_request_may_have_room_where_a_large_one_has_none(store: StateStore) -> None:
    a = limited(0, "a", BucketSpec("key:a", tpm=1200))
    lend(store, a)
    barrier = full(store, a, cost=Tokens(500, 500))
    assert barrier.until > NOW
    assert barrier.least == 0.0
    assert lend(store, a)


def test_a_request_larger_than_the_limit_never_goes(store: StateStore) -> None:
    a = limited(0, "a", BucketSpec("key:a", tpm=100))
    barrier = full(store, a, cost=Tokens(90, 11))
    assert (barrier.is_too_large, barrier.until) == (True, math.inf)
    assert lend(store, a)


def test_of_two_buckets_each_must_have_room_and_both_are_taken(store: StateStore) -> None:
    group = BucketSpec("group:g", rpm=2)
    a = limited(0, "a", BucketSpec("key:a", rpm=1), group)
    b = limited(0, "b", BucketSpec("key:b", rpm=9), group)
    lend(store, a)
    assert full(store, a).subject == "key:a"
    lend(store, b)
    assert full(store, b).subject == "group:g"


def test_a_resting_key_takes_nothing(store: StateStore) -> None:
    a = limited(0, "a", BucketSpec("key:a", rpm=5))
    lease = lend(store, a)
    store.settle(lease, (), NOW)
    assert taken(store, a, "rpm") == 0


def test_settling_corrects_to_what_was_used_once(store: StateStore) -> None:
    a = limited(0, "a", BucketSpec("key:a", tpm=1000))
    lease = lend(store, a, cost=Tokens(100, 200))
    assert taken(store, a, "tpm") == 300
    for _ in range(3):
        store.settle(lease, (), NOW, Tokens(90, 20))
    assert taken(store, a, "tpm") == 110


def test_what_was_not_sent_is_given_back(store: StateStore) -> None:
    a = limited(0, "a", BucketSpec("key:a", tpm=1000, rpm=10))
    store.settle(lend(store, a), (), NOW, None)
    assert (taken(store, a, "tpm"), taken(store, a, "rpm")) == (0, 0)


def test_a_slot_is_held_until_settled(store: StateStore) -> None:
    a = limited(0, "a", BucketSpec("key:a", max_concurrency=1))
    lease = lend(store, a)
    barrier = full(store, a)
    assert barrier.is_trial  # another call holds it, and may be done at any time
    assert barrier.why == "max_concurrency 1 of 1"
    store.decide(lease, (), NOW)
    assert full(store, a)
    store.settle(lease, (), NOW, SMALL)
    assert lend(store, a)


def test_a_slot_that_is_never_given_back_expires_unless_renewed(store: StateStore) -> None:
    a = limited(0, "a", BucketSpec("key:a", max_concurrency=1))
    lease = lend(store, a)
    store.renew([lease], NOW + 20)
    assert full(store, a, now=NOW + LEASE_SECONDS)
    assert lend(store, a, now=NOW + 20 + LEASE_SECONDS)


def test_a_childs_process_holds_no_slots_and_remembers_what_was_taken() -> None:
    store = MemoryStore()  # of a shared one they are still the parent's
    a = limited(0, "a", BucketSpec("key:a", max_concurrency=1, rpm=50))
    lend(store, a)
    store.forget_leases()
    lend(store, a)
    assert taken(store, a, "rpm") == 2


def test_L06_a_day_begins_anew_at_its_end(store: StateStore) -> None:
    a = limited(0, "a", BucketSpec("key:a", rpd=1), day=500.0)
    lend(store, a)
    barrier = full(store, a, now=NOW + 499)
    assert barrier.until == pytest.approx(NOW + 500)
    assert barrier.why == "rpd 1 of 1"
    assert lend(store, a, now=NOW + 500)
    assert full(store, a, now=NOW + 999)


def test_room_is_told_only_where_somebody_was_turned_away(store: StateStore) -> None:
    heard: list[News] = []
    store.listen(heard.extend)
    a = limited(0, "a", BucketSpec("key:a", max_concurrency=2))
    first, second = lend(store, a), lend(store, a)
    store.settle(first, (), NOW, SMALL)
    assert heard == []
    lend(store, a)
    full(store, a)
    store.settle(second, (), NOW, SMALL)
    told = {(news.subject, news.until, news.is_room) for news in heard}  # some say it again
    assert told == {("key:a", NOW, True)}


def test_an_answer_that_says_nothing_is_left_closes_the_key(store: StateStore) -> None:
    spec = BucketSpec("key:a|model:m", learns=True)
    a = limited(0, "a", spec)
    lease = lend(store, a)
    store.settle(lease, (), NOW, SMALL)
    store.learn(lease, spec, [Reading(REQUESTS, 0, 50, 30.0)], NOW)
    assert full(store, a).until == pytest.approx(NOW + 30)
    (rooms,) = asyncio.run(store.rooms([a], NOW)).values()
    assert (rooms["rpm"].limit, rooms["rpm"].is_learned) == (50, True)


def test_an_answer_may_speak_of_limits_that_nothing_was_reserved_of(store: StateStore) -> None:
    spec = BucketSpec("key:a|model:m", learns=True)
    lease = lend(store, candidate(0, "a"))
    store.settle(lease, (), NOW)
    store.learn(lease, spec, [Reading(TOKENS, 5, None, 30.0)], NOW)
    a = limited(0, "a", spec)
    assert full(store, a).until == pytest.approx(NOW + 30)
    assert lend(store, a, cost=Tokens(2, 3))


def test_a_reload_changes_a_limit_and_keeps_what_was_taken(store: StateStore) -> None:
    lend(store, limited(0, "a", BucketSpec("key:a", rpm=1)))
    a = limited(0, "a", BucketSpec("key:a", rpm=2, request_burst=2))
    assert full(store, limited(0, "a", BucketSpec("key:a", rpm=1)))
    assert lend(store, a, now=NOW + 30)
    assert taken(store, a, "rpm", NOW + 30) == 2


def test_who_has_no_limits_costs_and_changes_nothing(store: StateStore) -> None:
    lease = lend(store, candidate(0, "a"))
    assert (lease.reservations, lease.cost) == ((), Tokens())
    store.settle(lease, (), NOW, SMALL)
    assert asyncio.run(store.rooms([candidate(0, "a")], NOW)) == {}
