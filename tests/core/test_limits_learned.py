"""What answers teach: readings of headers, and refusals without any."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_rotate.core.bucket import Bucket, BucketSpec, Tokens
from llm_rotate.core.learned import Reading, learn, observe
from llm_rotate.core.limits import rooms, wait_seconds
from llm_rotate.core.meter import INPUT, REQUESTS, TOKENS

from .limits_oracle import ONE, admit, give_back

T0 = 1_000.0


def open_bucket(**limits):
    return Bucket(BucketSpec("k", **{"rpm": 600, "request_burst": 600, **limits}))


def may_go(bucket, now, most=1_000):
    """How many requests go at once from here on."""
    return sum(admit(bucket, ONE, now) is not None for _ in range(most))


def answered(bucket, remaining, reset, now, kind=REQUESTS, limit=None):
    """One request, answered at once with a reading."""
    lease = admit(bucket, ONE, now)
    give_back(bucket, lease, ONE, now)
    observe(bucket, lease, [Reading(kind, remaining, limit, reset)], now)


def test_a_reading_lowers_the_bucket_until_its_reset():
    bucket = open_bucket()
    answered(bucket, 7, 30.0, T0)
    assert may_go(bucket, T0) == 7
    assert wait_seconds(bucket, bucket.spec, ONE, T0 + 10) == pytest.approx(20, abs=0.01)
    assert may_go(bucket, T0 + 30) > 500


def test_nothing_left_closes_the_bucket_until_the_reset():
    bucket = open_bucket()
    answered(bucket, 0, 12.5, T0)
    assert wait_seconds(bucket, bucket.spec, ONE, T0) == pytest.approx(12.5, abs=0.01)


def test_the_smallest_reading_stands():
    bucket = open_bucket()
    early, late = admit(bucket, ONE, T0), admit(bucket, ONE, T0)
    for lease, left in ((late, 3), (early, 90)):
        give_back(bucket, lease, ONE, T0 + 1)
        observe(bucket, lease, [Reading(REQUESTS, left, None, 30.0)], T0 + 1)
    assert may_go(bucket, T0 + 1) == 3
    assert may_go(bucket, T0 + 31) > 500


def test_a_reading_never_gives_more_than_the_configured_limit():
    bucket = open_bucket(rpm=60, request_burst=60)
    answered(bucket, 5_000, 30.0, T0, limit=6_000)
    assert may_go(bucket, T0) == 59


def test_what_was_admitted_after_the_request_and_is_not_answered_is_taken_off():
    bucket = open_bucket()
    before = [admit(bucket, ONE, T0) for _ in range(4)]
    asked = admit(bucket, ONE, T0)
    after = [admit(bucket, ONE, T0) for _ in range(5)]
    for lease in (*after[:2], *before):
        give_back(bucket, lease, ONE, T0 + 1)
    observe(bucket, asked, [Reading(REQUESTS, 10, None, 30.0)], T0 + 1)
    assert may_go(bucket, T0 + 1) == 10 - 3


def test_what_nobody_ever_settled_is_forgotten():
    bucket = open_bucket()
    for _ in range(50):
        admit(bucket, ONE, T0)
    asked = admit(bucket, ONE, T0 + 180)
    newer = admit(bucket, ONE, T0 + 180)
    give_back(bucket, newer, ONE, T0 + 181)
    observe(bucket, asked, [Reading(REQUESTS, 10, None, 30.0)], T0 + 181)
    assert may_go(bucket, T0 + 181) == 10


def test_what_was_settled_in_the_next_window_is_answered():
    bucket = open_bucket()
    asked, newer = admit(bucket, ONE, T0 + 15), admit(bucket, ONE, T0 + 16)
    give_back(bucket, newer, ONE, T0 + 25)
    observe(bucket, asked, [Reading(REQUESTS, 10, None, 30.0)], T0 + 25)
    assert may_go(bucket, T0 + 25) == 10


def test_of_two_equal_readings_the_later_reset_holds():
    for resets in ((30.0, 10.0), (10.0, 30.0)):
        bucket = open_bucket()
        leases = [admit(bucket, ONE, T0) for _ in resets]
        for lease, reset in zip(leases, resets, strict=True):
            give_back(bucket, lease, ONE, T0)
            observe(bucket, lease, [Reading(REQUESTS, 0, None, reset)], T0)
        assert wait_seconds(bucket, bucket.spec, ONE, T0) == pytest.approx(30, abs=0.01)


def test_what_was_taken_before_a_limit_was_known_is_not_given_back_to_it():
    bucket = open_bucket()
    early = admit(bucket, Tokens(500, 0), T0)
    answered(bucket, 10_000, 0.0, T0, kind=TOKENS, limit=1_000)
    assert admit(bucket, Tokens(80, 0), T0)
    give_back(bucket, early, Tokens(), T0 + 1)
    assert rooms(bucket, bucket.spec, T0 + 1)["tpm"].taken == 80


def test_tokens_on_their_way_are_taken_off_too_and_come_back_when_settled():
    bucket = open_bucket(tpm=100_000, token_burst=100_000)
    asked, newer = admit(bucket, Tokens(50, 50), T0), admit(bucket, Tokens(3_000, 1_000), T0)
    give_back(bucket, asked, Tokens(50, 50), T0 + 1)
    observe(bucket, asked, [Reading(TOKENS, 10_000, None, 30.0)], T0 + 1)
    assert wait_seconds(bucket, bucket.spec, Tokens(6_000, 0), T0 + 1) == 0.0
    assert wait_seconds(bucket, bucket.spec, Tokens(6_001, 0), T0 + 1) > 28
    give_back(bucket, newer, Tokens(500, 500), T0 + 2)
    assert wait_seconds(bucket, bucket.spec, Tokens(9_000, 0), T0 + 2) == 0.0


def test_a_limit_that_is_not_configured_is_learned():
    bucket = Bucket(BucketSpec("k"))
    answered(bucket, 90, 1.0, T0, limit=120)
    answered(bucket, 90_000, 1.0, T0, kind=INPUT, limit=100_000)
    found = rooms(bucket, bucket.spec, T0)
    assert found["rpm"].limit == 120
    assert found["rpm"].is_learned
    assert found["input_tpm"].limit == 100_000
    assert may_go(bucket, T0 + 100) == 10


def test_a_lower_stated_limit_holds_and_a_raised_one_too():
    bucket = open_bucket()
    answered(bucket, 90, 1.0, T0, limit=100)
    assert rooms(bucket, bucket.spec, T0)["rpm"].limit == 100
    answered(bucket, 90, 1.0, T0 + 60, limit=300)
    assert rooms(bucket, bucket.spec, T0 + 60)["rpm"].limit == 300


def test_a_limit_per_day_is_not_taken_for_one_per_minute_but_what_is_left_counts():
    bucket = open_bucket()
    answered(bucket, 2, 7_200.0, T0, limit=50)
    assert rooms(bucket, bucket.spec, T0)["rpm"].limit == 600
    assert may_go(bucket, T0 + 3_600) == 2


def test_a_learned_limit_never_makes_a_request_too_large():
    bucket = Bucket(BucketSpec("k"))
    answered(bucket, 10, 0.0, T0, kind=TOKENS, limit=10)
    wait = wait_seconds(bucket, bucket.spec, Tokens(5_000, 0), T0)
    assert 0.0 <= wait < math.inf
    assert admit(bucket, Tokens(5_000, 0), T0 + wait)
    assert wait_seconds(bucket, bucket.spec, ONE, T0 + wait) > 50


absurd = st.none() | st.floats() | st.integers(-(10**20), 10**20) | st.sampled_from([0, -1, 0.0])


@given(st.lists(st.tuples(st.integers(0, 3), absurd, absurd, absurd), max_size=5))
def test_L03_absurd_readings_never_raise_and_never_close_for_good(values):
    bucket = open_bucket(tpm=100_000, token_burst=100_000)
    lease = admit(bucket, Tokens(10, 10), T0)
    observe(bucket, lease, [Reading(*each) for each in values], T0)
    give_back(bucket, lease, Tokens(10, 10), T0)
    assert wait_seconds(bucket, bucket.spec, Tokens(10, 10), T0) <= 25 * 3_600 + 1
    assert admit(bucket, Tokens(10, 10), T0 + 25 * 3_600 + 1)


@pytest.mark.parametrize(
    ("remaining", "limit", "reset"),
    [
        (-1, -1, 0.0),
        (math.nan, math.nan, math.nan),
        (0, 0, -5.0),
        (0, 600, 1e12),
        (-1, None, None),
        (None, None, None),
    ],
)
def test_L03_what_makes_no_sense_changes_nothing(remaining, limit, reset):
    bucket = open_bucket()
    answered(bucket, remaining, reset, T0, limit=limit)
    assert may_go(bucket, T0) == 599


# -- refusals without readings


def refused(bucket, now):
    lease = admit(bucket, ONE, now)
    give_back(bucket, lease, Tokens(), now)
    return learn(bucket, bucket.spec, lease, now)


def guess(bucket, now):
    found = rooms(bucket, bucket.spec, now)
    return found["rpm"].limit if "rpm" in found else math.inf


def busy(count=99):
    bucket = Bucket(BucketSpec("k", learns=True))
    for _ in range(count):
        give_back(bucket, admit(bucket, ONE, T0), ONE, T0)
    return bucket


def test_a_refusal_lowers_the_guess_and_time_raises_it_step_by_step():
    bucket = busy()
    assert refused(bucket, T0)
    assert guess(bucket, T0) == pytest.approx(70)
    assert guess(bucket, T0 + 60) == pytest.approx(75)
    assert guess(bucket, T0 + 600) == pytest.approx(120)
    assert guess(bucket, T0 + 2_000) == math.inf
    assert wait_seconds(bucket, bucket.spec, ONE, T0 + 2_000) == 0.0


def test_many_refusals_at_once_are_one():
    bucket = busy()
    herd = [admit(bucket, ONE, T0) for _ in range(32)]
    assert [learn(bucket, bucket.spec, lease, T0) for lease in herd] == [True] + [False] * 31
    assert guess(bucket, T0) == pytest.approx(0.7 * 131)


def test_a_refusal_of_a_quiet_key_teaches_nothing():
    bucket = busy(5)
    assert not refused(bucket, T0)
    assert guess(bucket, T0) == math.inf


@pytest.mark.parametrize("spec", [BucketSpec("k", rpm=100, learns=True), BucketSpec("k")])
def test_a_stated_limit_is_not_guessed_at(spec):
    bucket = Bucket(spec)
    for i in range(80):
        admit(bucket, ONE, T0 + i)
    lease = admit(bucket, ONE, T0 + 81)
    assert not learn(bucket, spec, lease, T0 + 81)


def test_a_hidden_limit_is_found_and_mostly_used():
    """The provider lets 120 a minute go and says nothing; the pool wants 600."""
    bucket, now, sent, good = Bucket(BucketSpec("k", learns=True)), T0, [], []
    refusals = 0
    while now < T0 + 3_600:
        now += max(0.1, wait_seconds(bucket, bucket.spec, ONE, now))
        lease = admit(bucket, ONE, now)
        if lease is None:
            continue
        sent = [at for at in sent if at > now - 60]
        if len(sent) < 120:
            sent.append(now)
            good.append(now)
            give_back(bucket, lease, ONE, now)
        else:
            refusals += 1
            give_back(bucket, lease, Tokens(), now)
            learn(bucket, bucket.spec, lease, now)
    assert len(good) / 60 > 0.8 * 120
    assert refusals < 0.01 * len(good)


def test_what_we_took_of_a_sliding_window_comes_back_as_it_was_taken():
    bucket = open_bucket(rpm=100, request_burst=100)
    for second in range(50):
        answered(bucket, 99 - second, 60.0, T0 + second, limit=100)
    assert may_go(bucket, T0 + 50) == 50
    assert may_go(bucket, T0 + 59) == 0
    assert may_go(bucket, T0 + 65) == 5  # the reading said a whole window


def test_what_others_took_of_a_sliding_window_is_taken_for_a_window():
    bucket = open_bucket(rpm=100, request_burst=100)
    answered(bucket, 20, 60.0, T0, limit=100)
    assert may_go(bucket, T0 + 1) == 20
    assert may_go(bucket, T0 + 59) == 0
    assert may_go(bucket, T0 + 60.6) > 0


def test_nothing_left_of_a_window_that_others_use_closes_the_bucket():
    bucket = open_bucket(rpm=100, request_burst=100)
    answered(bucket, 0, 60.0, T0, limit=100)
    assert may_go(bucket, T0 + 59) == 0


def test_absurd_amounts_of_others_do_not_close_for_good():
    bucket = open_bucket(rpm=None)
    answered(bucket, 0, 60.0, T0, limit=1e14)
    assert wait_seconds(bucket, bucket.spec, ONE, T0 + 61) == 0.0
