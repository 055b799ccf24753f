"""One call's bookkeeping: what is a retry, what may be asked again, when a stage is left."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_rotate.core.call import Call


def test_rotation_is_no_retry() -> None:
    call = Call(1, max_retries=0)
    (visit,) = call.visits
    for index in range(20):
        assert call.is_open(visit)
        assert index not in call.excluded(visit)
        call.count(visit, index)
        call.refused(visit, index, is_barred=False)
        assert index in call.excluded(visit)
    assert call.retries == 0


def test_a_send_after_a_providers_fault_is_a_retry() -> None:
    call = Call(1, max_retries=3)
    (visit,) = call.visits
    answers = []
    for index in (0, 1, 0, 1):
        call.count(visit, index)
        answers.append(call.faulted(visit, index))
    assert call.retries == 3
    assert answers == [True, True, True, False]
    assert not call.is_open(visit)


def test_a_key_that_refused_in_an_earlier_pass_is_a_retry() -> None:
    call = Call(1, max_retries=2)
    (visit,) = call.visits
    call.count(visit, 0)
    call.refused(visit, 0, is_barred=False)
    call.begin_pass()
    assert 0 not in call.excluded(visit)
    call.count(visit, 0)
    assert call.retries == 1
    call.count(visit, 1)
    assert call.retries == 1


def test_without_a_retry_left_no_key_is_asked_twice() -> None:
    call = Call(1, max_retries=0)
    (visit,) = call.visits
    call.count(visit, 0)
    call.refused(visit, 0, is_barred=False)
    assert 0 in call.excluded_next(visit)
    call.begin_pass()
    assert 0 in call.excluded(visit)
    assert 1 not in call.excluded(visit)


def test_a_key_that_the_request_is_too_large_for_is_never_asked_again() -> None:
    call = Call(1, max_retries=9)
    (visit,) = call.visits
    call.refused(visit, 0, is_barred=True)
    call.refused(visit, 1, is_barred=False)
    assert 0 in call.excluded_next(visit)
    assert 1 not in call.excluded_next(visit)
    call.begin_pass()
    assert 0 in call.excluded(visit)


def test_a_stage_with_a_next_one_is_left_at_its_second_fault() -> None:
    call = Call(2, max_retries=9)
    first, last = call.visits
    call.count(first, 0)
    assert call.faulted(first, 0)
    call.count(first, 0)
    assert not call.faulted(first, 0)
    for _ in range(4):
        call.count(last, 0)
        assert call.faulted(last, 0)


def test_a_stage_with_a_next_one_is_left_at_once_when_no_retry_is_left() -> None:
    call = Call(2, max_retries=0)
    first, last = call.visits
    call.count(first, 0)
    assert not call.faulted(first, 0)
    assert not call.is_open(first)
    assert call.is_open(last)


@given(st.integers(1, 6), st.integers(0, 8))
def test_entering_a_stage_is_free_and_each_gets_one_attempt(stages: int, retries: int) -> None:
    call, sent = Call(stages, retries), []
    for stage, visit in enumerate(call.visits):
        is_wanted = True
        while is_wanted and call.is_open(visit):
            call.count(visit, 0)
            sent.append(stage)
            is_wanted = call.faulted(visit, 0)
    assert set(sent) == set(range(stages))
    assert call.retries == len(sent) - stages <= retries


def test_a_new_pass_forgets_this_passs_refusals_and_faults() -> None:
    call = Call(2, max_retries=9)
    first = call.visits[0]
    call.count(first, 0)
    call.faulted(first, 0)
    call.refused(first, 1, is_barred=False)
    call.begin_pass()
    assert (first.faults, first.faulted, first.refused) == (0, set(), set())
    assert first.earlier == {0, 1}
    assert not call.sent_in_pass


@pytest.mark.parametrize(
    ("retries", "seconds"), [(0, 0.5), (1, 1.0), (2, 2.0), (5, 16.0), (6, 30.0), (60, 30.0)]
)
def test_full_jitter_draws_from_twice_as_much_each_time_up_to_thirty(
    retries: int, seconds: float
) -> None:
    call = Call(1, max_retries=100)
    call.retries = retries
    assert call.backoff_limit() == seconds
