"""What the limiter promises, whatever comes in whatever order."""

import copy
import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from llm_rotate.core.bucket import Bucket, BucketSpec, Tokens
from llm_rotate.core.limits import (
    Room,
    owed,
    renew,
    reserve,
    rooms,
    settle,
    tightest,
    turn_day,
    wait_seconds,
)
from llm_rotate.core.outcome import Billing

from .limits_oracle import ONE, TTL, NaiveTokens, admit, give_back, heaviest

T0 = 1_000.0


def state(bucket):
    """All that a bucket knows, as values."""
    meters = [{name: copy.copy(getattr(m, name)) for name in m.__slots__} for m in bucket.meters]
    rest = {n: copy.copy(getattr(bucket, n)) for n in bucket.__slots__ if n != "meters"}
    return meters, rest


# -- never more than the limit

steps = st.lists(
    st.tuples(
        st.floats(0, 9) | st.sampled_from([0.0, 0.25, 0.5, 1.0, 55.0, 60.0]),
        st.integers(1, 40),
        st.sampled_from(["ask", "ask", "ask", "wait and ask", "settle", "unsent", "refuse"]),
        st.integers(0, 50),
        st.floats(0, 1),
    ),
    min_size=20,
    max_size=150,
)


@settings(max_examples=150, deadline=None)
@given(
    steps,
    st.sampled_from([None, 1, 2, 7, 60, 150]),
    st.sampled_from([40, 60, 333]),
    st.sampled_from([None, 10, 10_000]),
)
def test_no_window_holds_more_than_the_limit_in_whatever_order_things_are_settled(
    steps, rpm, tpm, burst
):
    spec = BucketSpec("k", rpm=rpm, tpm=tpm, request_burst=burst, token_burst=burst)
    bucket, now, taken, leases = Bucket(spec), T0, [], []
    for pause, size, what, which, share in steps:
        now += pause
        if what.endswith("ask"):
            cost = Tokens(size, 0)
            if what == "wait and ask":
                now += wait_seconds(bucket, spec, cost, now)
            lease = admit(bucket, cost, now, len(taken))
            if lease:
                leases.append((lease, len(taken)))
                taken.append([now, 1, size])
        elif leases:
            lease, index = leases.pop(which % len(leases))
            used = {"settle": Tokens(int(lease.cost.input * share)), "refuse": Tokens()}.get(what)
            give_back(bucket, lease, used, now)
            taken[index][1:] = (0, 0) if used is None else (1, used.input)
    assert heaviest([(at, tokens) for at, _, tokens in taken], 60.0) <= tpm
    if rpm:
        assert heaviest([(at, count) for at, count, _ in taken], 60.0) <= rpm


class AgainstTheOracle(RuleBasedStateMachine):
    """Every decision, and every wait, is the naive limiter's."""

    @initialize(limit=st.sampled_from([12, 90, 100, 1_000, 100_000]))
    def begin(self, limit):
        self.limit, self.now, self.leases = limit, T0, []
        self.spec = BucketSpec("k", tpm=limit)
        self.bucket, self.oracle = Bucket(self.spec), NaiveTokens(limit)

    def size(self, share):
        return max(1, int(self.limit * share))

    @rule(pause=st.floats(0, 30) | st.sampled_from([0.5, 1.0, 60.0, 200.0]))
    def wait_a_while(self, pause):
        self.now += pause

    @rule(share=st.floats(0, 1) | st.sampled_from([0.01, 0.05, 1 / 12, 0.2, 1.0]))
    def ask(self, share):
        size = self.size(share)
        margin = self.oracle.margin(size, self.now)
        assume(abs(margin) > 1e-5 * self.limit)
        lease = admit(self.bucket, Tokens(size, 0), self.now)
        assert (lease is not None) == (margin > 0)
        if lease:
            self.leases.append((lease, self.oracle.take(size, self.now)))

    @rule(share=st.floats(0.01, 1))
    def wait_as_told_and_no_longer(self, share):
        size = self.size(share)
        wait = wait_seconds(self.bucket, self.spec, Tokens(size, 0), self.now)
        if wait > 0.01:
            assert not self.oracle.may_go(size, self.now + wait - 0.005)
        self.now += wait
        lease = admit(self.bucket, Tokens(size, 0), self.now)
        assert lease is not None
        assert self.oracle.margin(size, self.now) > -1e-5 * self.limit
        self.leases.append((lease, self.oracle.take(size, self.now)))

    @rule(which=st.integers(0, 20), share=st.floats(0, 2))
    def settle_one(self, which, share):
        if self.leases:
            lease, index = self.leases.pop(which % len(self.leases))
            used = int(lease.cost.input * share)
            give_back(self.bucket, lease, Tokens(used, 0), self.now)
            self.oracle.correct(index, used, self.now)

    @rule()
    def a_reload_with_the_same_limit_changes_nothing(self):
        self.spec = BucketSpec("k", tpm=self.limit)
        self.bucket.refit(self.spec, self.now)

    @invariant()
    def nothing_is_negative(self):
        if hasattr(self, "bucket"):
            meter = self.bucket.meters[0]
            assert min(meter.ring) >= 0
            assert meter.total == sum(meter.ring)


TestAgainstTheOracle = AgainstTheOracle.TestCase
TestAgainstTheOracle.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


# -- settling


@given(st.sampled_from([None, Tokens(), Tokens(3, 4), Tokens(500, 400)]), st.floats(0, 100))
def test_settles_exactly_once(used, later):
    spec = BucketSpec("k", rpm=5, tpm=1_000, rpd=9, tpd=9_000, max_concurrency=2)
    bucket = Bucket(spec)
    turn_day(bucket, (T0 + 500, T0 + 86_900), T0)
    lease = admit(bucket, Tokens(60, 40), T0)
    assert give_back(bucket, lease, used, T0 + later)
    once = state(bucket)
    assert not give_back(bucket, lease, Tokens(9, 9), T0 + later)
    assert not give_back(bucket, lease, None, T0 + later)
    assert state(bucket) == once


@pytest.mark.parametrize("rpm", [1, 2, 3, 60, 600])
def test_nothing_sent_gives_all_back(rpm):
    spec = BucketSpec("k", rpm=rpm, tpm=100, rpd=rpm, tpd=100, max_concurrency=1)
    bucket = Bucket(spec)
    turn_day(bucket, (T0 + 500, T0 + 86_900), T0)
    for _ in range(3 * rpm):
        lease = admit(bucket, Tokens(60, 40), T0)
        give_back(bucket, lease, None, T0 + 0.1)
    assert rooms(bucket, spec, T0) == {
        "rpm": Room(rpm, 0),
        "tpm": Room(100, 0),
        "rpd": Room(rpm, 0),
        "tpd": Room(100, 0),
        "max_concurrency": Room(1, 0),
    }


def test_a_refused_request_stays_counted_and_its_tokens_come_back():
    bucket = Bucket(BucketSpec("k", rpm=2, tpm=100))
    for _ in range(2):
        lease = admit(bucket, Tokens(60, 40), T0)
        give_back(bucket, lease, owed(Billing.REFUSED, lease.cost, None), T0 + 0.2)
    assert rooms(bucket, bucket.spec, T0)["tpm"].taken == 0
    assert tightest(bucket, bucket.spec, ONE, T0 + 1) == "rpm"


def test_what_was_perhaps_billed_stays_reserved():
    reserved, used = Tokens(60, 40), Tokens(10, 10)
    assert owed(Billing.PERHAPS, reserved, used) == reserved
    assert owed(Billing.USED, reserved, None) == reserved
    assert owed(Billing.USED, reserved, used) == used
    assert owed(Billing.REFUSED, reserved, used) == Tokens()
    assert owed(Billing.UNSENT, reserved, used) is None


def test_a_late_settlement_corrects_the_slot_that_was_used():
    bucket = Bucket(BucketSpec("k", tpm=1_000, token_burst=1_000))
    early = admit(bucket, Tokens(600, 0), T0)
    admit(bucket, Tokens(400, 0), T0 + 30)
    give_back(bucket, early, Tokens(100, 0), T0 + 50)
    assert bucket.meters[0].taken(T0 + 59.9) == 500
    assert bucket.meters[0].taken(T0 + 61) == 400
    assert bucket.meters[0].taken(T0 + 91) == 0


def test_a_settlement_after_the_window_changes_nothing():
    bucket = Bucket(BucketSpec("k", tpm=1_000, token_burst=1_000))
    early = admit(bucket, Tokens(600, 0), T0)
    admit(bucket, Tokens(400, 0), T0 + 70)
    give_back(bucket, early, Tokens(0, 0), T0 + 75)
    assert bucket.meters[0].taken(T0 + 75) == 400


# -- which limits hold


def test_L02_a_limit_on_tokens_alone_puts_none_on_requests():
    bucket = Bucket(BucketSpec("k", tpm=1_000))
    assert all(admit(bucket, Tokens(0, 0), T0) for _ in range(10_000))


def test_no_limit_at_all_admits_anything():
    bucket = Bucket(BucketSpec("k"))
    assert all(admit(bucket, Tokens(10**9, 10**9, 1e9), T0) for _ in range(100))
    assert rooms(bucket, bucket.spec, T0) == {}


@pytest.mark.parametrize(
    ("limit", "cost"),
    [
        ("tpm", Tokens(90, 11)),
        ("input_tpm", Tokens(101, 0)),
        ("output_tpm", Tokens(0, 101)),
        ("tpd", Tokens(90, 11)),
        ("max_cost_per_day", Tokens(1, 1, 100.5)),
    ],
)
def test_L02_a_request_larger_than_a_limit_never_goes(limit, cost):
    spec = BucketSpec("k", **{limit: 100})
    bucket = Bucket(spec)
    turn_day(bucket, (T0 + 500, T0 + 86_900), T0)
    assert wait_seconds(bucket, spec, cost, T0) == math.inf
    assert tightest(bucket, spec, cost, T0) == limit


def test_input_and_output_are_limited_apart():
    spec = BucketSpec("k", input_tpm=1_000, output_tpm=100, token_burst=1_000)
    bucket = Bucket(spec)
    assert admit(bucket, Tokens(100, 100), T0)
    assert admit(bucket, Tokens(900, 0), T0)
    assert tightest(bucket, spec, Tokens(0, 1), T0) == "output_tpm"
    assert tightest(bucket, spec, Tokens(1, 0), T0) == "input_tpm"
    assert tightest(bucket, spec, Tokens(0, 0), T0) is None


def test_a_costlier_request_goes_when_the_bucket_is_full_and_leaves_it_in_debt():
    spec = BucketSpec("k", tpm=60_000)
    bucket = Bucket(spec)
    assert admit(bucket, Tokens(12_000, 0), T0)
    assert wait_seconds(bucket, spec, Tokens(1, 0), T0) == pytest.approx(7.0, abs=0.01)
    assert wait_seconds(bucket, spec, Tokens(12_000, 0), T0) == pytest.approx(12.0, abs=0.01)


@pytest.mark.parametrize(
    ("rpm", "burst", "at_once"),
    [
        (600, None, 50),
        (60, None, 5),
        (12, None, 3),
        (2, None, 2),
        (60, 60, 60),
        (60, 99, 60),
        (60, 1, 1),
    ],
)
def test_how_many_requests_go_at_once(rpm, burst, at_once):
    bucket = Bucket(BucketSpec("k", rpm=rpm, request_burst=burst))
    assert sum(admit(bucket, ONE, T0) is not None for _ in range(100)) == at_once


# -- concurrency


def test_slots_are_counted_freed_expired_and_renewed():
    spec = BucketSpec("k", max_concurrency=2)
    bucket = Bucket(spec)
    first, second = (admit(bucket, ONE, T0 + i, lease_id=i) for i in range(2))
    assert wait_seconds(bucket, spec, ONE, T0 + 2) == pytest.approx(58.0, abs=0.01)
    renew(bucket, first, T0 + 40, TTL)
    assert wait_seconds(bucket, spec, ONE, T0 + 40) == pytest.approx(21.0, abs=0.01)
    assert admit(bucket, ONE, T0 + 61, lease_id=2)
    assert admit(bucket, ONE, T0 + 62, lease_id=3) is None
    give_back(bucket, first, ONE, T0 + 62)
    assert admit(bucket, ONE, T0 + 62, lease_id=3)
    renew(bucket, second, T0 + 62, TTL)
    assert len(bucket.leases) == 3, "a call that lives on though its lease expired is counted"
    renew(bucket, first, T0 + 62, TTL)
    assert len(bucket.leases) == 3, "a settled one is not"


# -- days


def test_a_day_ends_at_its_instant_and_no_worker_begins_it_twice():
    spec = BucketSpec("k", rpd=10)
    bucket, midnight = Bucket(spec), 86_400.0 * 20
    late, early = (midnight, midnight + 86_400), (midnight + 86_400, midnight + 2 * 86_400)
    admitted = {"before": 0, "after": 0}
    for tick in range(-50, 50):
        now = midnight + tick / 10
        for resets in (late, early if tick > -30 else late):
            turn_day(bucket, resets, now)
            if admit(bucket, ONE, now):
                admitted["before" if tick < 0 else "after"] += 1
    assert admitted == {"before": 10, "after": 10}


def test_a_full_day_waits_for_its_reset():
    spec = BucketSpec("k", rpd=1, max_cost_per_day=2.0)
    bucket = Bucket(spec)
    turn_day(bucket, (T0 + 500, T0 + 86_900), T0)
    assert admit(bucket, Tokens(1, 1, 0.5), T0)
    assert wait_seconds(bucket, spec, ONE, T0) == pytest.approx(500, abs=0.01)
    turn_day(bucket, (T0 + 86_900, T0 + 2 * 86_900), T0 + 500)
    assert admit(bucket, Tokens(1, 1, 0.5), T0 + 500)


def test_what_is_settled_a_day_later_leaves_the_new_day_alone():
    spec = BucketSpec("k", tpd=100)
    bucket = Bucket(spec)
    turn_day(bucket, (T0 + 1, T0 + 86_401), T0)
    lease = admit(bucket, Tokens(80, 0), T0)
    turn_day(bucket, (T0 + 86_401, T0 + 2 * 86_401), T0 + 2)
    admit(bucket, Tokens(50, 0), T0 + 2)
    give_back(bucket, lease, Tokens(), T0 + 3)
    assert bucket.day_tokens == 50


# -- clocks


@pytest.mark.parametrize("back", [0.001, 30.0, 119.0, 121.0, 86_400.0])
def test_a_clock_that_goes_back_never_admits_more(back):
    """Every second two ask, and at the 30th the clock is set."""
    spec = BucketSpec("k", rpm=60, request_burst=60, max_concurrency=60)
    bucket, taken, now = Bucket(spec), [], 200_000.0
    for second in range(400):
        clock = now + second - (back if second >= 30 else 0.0)
        lease = admit(bucket, ONE, clock, second)
        if lease:
            taken.append((float(second), 1))
            settle(bucket, lease, ONE, clock)
    assert heaviest(taken, 60.0) <= 60
    assert sum(1 for at, _ in taken if at > 340) >= 50, "and goes on afterwards"


def test_a_clock_set_back_a_day_does_not_freeze_the_bucket():
    spec = BucketSpec("k", rpm=60)
    bucket = Bucket(spec)
    for i in range(5):
        admit(bucket, ONE, 200_000.0 + i / 10)
    assert wait_seconds(bucket, spec, ONE, 200_000.0 - 86_400.0) < 1.0


def test_a_clock_that_jumps_ahead_admits_a_burst_at_most():
    spec = BucketSpec("k", rpm=600)
    bucket = Bucket(spec)
    at_once = sum(admit(bucket, ONE, T0) is not None for _ in range(700))
    at_once_later = sum(admit(bucket, ONE, T0 + 70) is not None for _ in range(700))
    assert (at_once, at_once_later) == (50, 50)


@pytest.mark.parametrize("window", [6.0, 7.0, 60.0])
def test_the_wait_is_never_a_float_too_short(window):
    spec = BucketSpec("k", rpm=7, request_burst=7, tpm=7_919, window_seconds=window)
    for start in range(200):
        bucket, now = Bucket(spec), (1_790_000_000.123 if start % 2 else 0.1) + start * 1.37
        for _ in range(25):
            now += wait_seconds(bucket, spec, Tokens(37, 5), now)
            assert admit(bucket, Tokens(37, 5), now)


def test_who_waits_for_a_slot_as_long_as_told_gets_it():
    spec = BucketSpec("k", max_concurrency=1)
    for start in range(500):
        bucket, then, now = Bucket(spec), start * 0.37, start * 0.37 + 0.1 + start * 0.01
        admit(bucket, ONE, then, "lost")
        assert admit(bucket, ONE, now + wait_seconds(bucket, spec, ONE, now), "next")


# -- reloads


@pytest.mark.parametrize(("was", "becomes"), [(60, 600), (600, 60), (60, 61), (600, 300)])
def test_a_reload_keeps_what_was_taken(was, becomes):
    bucket, now, taken = Bucket(BucketSpec("k", rpm=was, request_burst=was)), T0, []
    while now < T0 + 20:
        if admit(bucket, ONE, now):
            taken.append((now, 1))
        now += 0.13
    spec, reload_at = BucketSpec("k", rpm=becomes, request_burst=becomes), now
    before = rooms(bucket, bucket.spec, now)["rpm"].taken
    wait_seconds(bucket, spec, ONE, now)
    assert rooms(bucket, spec, now)["rpm"].taken == before
    while now < T0 + 200:
        if admit(bucket, ONE, now):
            taken.append((now, 1))
        now += 0.13
    since = [(at, n) for at, n in taken if at >= reload_at - (60 if becomes > was else 0)]
    assert heaviest(since, 60.0) <= becomes


def test_a_finer_ring_forgets_nothing_early_and_gives_nothing_back_twice():
    bucket = Bucket(BucketSpec("k", tpm=90, token_burst=90))
    lease, other = (admit(bucket, Tokens(30, 0), T0 + at) for at in (0.2, 0.9))
    fine = BucketSpec("k", tpm=900, token_burst=900)
    bucket.refit(fine, T0 + 0.9)
    for each in (lease, other):
        give_back(bucket, each, Tokens(), T0 + 1.5)
    assert rooms(bucket, fine, T0 + 1.5)["tpm"].taken == 30, "whose slot is not known"
    again = Bucket(BucketSpec("k", tpm=90, token_burst=90))
    admit(again, Tokens(30, 0), T0 + 0.9)
    again.refit(fine, T0 + 0.9)
    assert rooms(again, fine, T0 + 60.85)["tpm"].taken == 30
    assert rooms(again, fine, T0 + 62)["tpm"].taken == 0


def test_a_reload_brings_limits_and_takes_them_away():
    bucket = Bucket(BucketSpec("k", rpm=1))
    admit(bucket, ONE, T0)
    tokens = BucketSpec("k", tpm=100, token_burst=100)
    assert wait_seconds(bucket, tokens, Tokens(100, 0), T0) == 0.0
    assert reserve(bucket, tokens, 2, Tokens(100, 0), T0, TTL)
    assert tightest(bucket, tokens, ONE, T0) == "tpm"
    assert set(rooms(bucket, tokens, T0)) == {"tpm"}
