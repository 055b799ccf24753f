"""Limits under more demand than they hold, in virtual time, seen from the provider's side."""

import pytest

from llm_rotate.core.bucket import Bucket, BucketSpec, Tokens
from llm_rotate.core.limits import wait_seconds

from .limits_oracle import (
    ONE,
    admit,
    fleet,
    give_back,
    heaviest,
    lightest,
    rate,
    requests_of,
    saturated,
    sizes,
    tokens_of,
)

T0 = 1_000.0


@pytest.mark.parametrize(("rpm", "at_least"), [(60, 58), (600, 588)])
def test_L01_never_more_than_the_limit_in_any_minute_and_nearly_all_of_it(rpm, at_least):
    times = saturated(BucketSpec("k", rpm=rpm), Tokens(100, 100), seconds=600)
    assert heaviest([(at, 1) for at in times], 60.0) == rpm
    assert lightest(times, 60.0, since=T0 + 122) >= at_least


@pytest.mark.parametrize(("rpm", "at_least"), [(60, 58), (600, 588)])
def test_L01_a_window_of_six_seconds_is_a_minute_ten_times_as_fast(rpm, at_least):
    times = saturated(BucketSpec("k", rpm=rpm, window_seconds=6.0), ONE, seconds=60)
    assert heaviest([(at, 1) for at in times], 6.0) == rpm
    assert lightest(times, 6.0, since=T0 + 12.2) >= at_least


@pytest.mark.parametrize("rpm", [1, 2, 3, 5, 11])
def test_low_limits_are_served(rpm):
    times = saturated(BucketSpec("k", rpm=rpm), ONE, seconds=1_800)
    assert heaviest([(at, 1) for at in times], 60.0) == rpm
    assert len(times) >= 0.98 * rpm * 30


@pytest.mark.parametrize("share", [0.09, 0.2, 0.5, 1.0])
def test_requests_of_a_large_part_of_the_tokens_are_served(share):
    size = int(100_000 * share)
    times = saturated(BucketSpec("k", tpm=100_000), Tokens(size, 0), seconds=1_800)
    assert heaviest([(at, size) for at in times], 60.0) <= 100_000
    assert len(times) * size >= 0.98 * (100_000 // size * size) * 30


def test_L02_what_is_settled_lower_is_used_by_others():
    """Each reserves four times what it takes; answers come after a second."""
    draw = lambda rng: (Tokens(100, 700), Tokens(100, 100))  # noqa: E731
    log = fleet(BucketSpec("k", tpm=100_000), draw, seconds=420, jitter=0, latency=1.0)
    assert heaviest(tokens_of(log), 60.0) <= 100_000
    assert rate(tokens_of(log), 60.0, 61, 420) >= 0.93 * 100_000


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("burst", "over"), [(None, 0.01), (2_000, 0.005)])
def test_D01_four_clients_off_by_half_stay_within_the_tokens_and_use_them(burst, over, seed):
    """What goes at once is judged by its estimates alone: a smaller burst, less over."""
    spec = BucketSpec("k", tpm=100_000, token_burst=burst)
    log = tokens_of(fleet(spec, sizes(100, 400, 0.5), seconds=900, seed=seed))
    assert heaviest(log, 60.0) <= (1 + over) * 100_000
    assert rate(log, 60.0, 61, 899) >= 0.98 * 100_000


def test_D01_large_requests_off_by_half_are_over_by_one_request_at_most():
    spec = BucketSpec("k", tpm=100_000)
    log = tokens_of(fleet(spec, sizes(300, 2_500, 0.5), seconds=900, jitter=0.05, latency=0.3))
    assert heaviest(log, 60.0) <= 100_000 + 2_500
    assert rate(log, 60.0, 61, 899) >= 0.98 * 100_000


@pytest.mark.parametrize("rpm", [60, 600])
def test_D01_four_clients_stay_within_the_requests_and_use_them(rpm):
    log = requests_of(fleet(BucketSpec("k", rpm=rpm), lambda _: (ONE, ONE), seconds=900))
    assert heaviest(log, 60.0) <= max(1.005 * rpm, rpm + 1)
    assert rate(log, 60.0, 61, 899) >= 0.98 * rpm


def test_the_start_and_every_pause_let_no_more_than_the_burst_through():
    bucket, admitted = Bucket(BucketSpec("k", tpm=120_000)), 0
    for start in (T0, T0 + 500, T0 + 5_000):
        admitted = 0
        while admit(bucket, Tokens(100, 0), start):
            admitted += 100
        assert admitted == 10_000


def test_a_waiter_with_a_large_request_knows_when_it_may_go():
    """Small requests that keep off as long as it waits do not put it back."""
    spec = BucketSpec("k", tpm=60_000)
    bucket, now = Bucket(spec), T0
    while now < T0 + 90:
        now += wait_seconds(bucket, spec, Tokens(500, 0), now)
        give_back(bucket, admit(bucket, Tokens(500, 0), now), Tokens(500, 0), now)
    wait = wait_seconds(bucket, spec, Tokens(20_000, 0), now)
    assert 0 < wait < 25
    assert admit(bucket, Tokens(20_000, 0), now + wait - 0.01) is None
    assert admit(bucket, Tokens(20_000, 0), now + wait)
