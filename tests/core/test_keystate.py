"""The health machine: driven at random against what it promises, then row by row."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from llm_rotate.core.keystate import (
    FRESH,
    HARDNESS,
    Change,
    KeyState,
    Kind,
    Refusal,
    after,
    merge,
    refused,
    succeeded,
)
from llm_rotate.core.outcome import FAULTS, Effect, Outcome
from llm_rotate.core.policy import Policy

POLICY = Policy(cooldown_seconds=30.0, quarantine_seconds=300.0, max_consecutive_failures=5)
NOW = 1000.0
FAILURES = [
    outcome for outcome, row in FAULTS.items() if row.effect not in (Effect.NONE, Effect.CLEAR)
]
HARMLESS = [outcome for outcome, row in FAULTS.items() if row.effect is Effect.NONE]
TRANSIENT = [outcome for outcome in FAILURES if outcome is not Outcome.AUTH_FAILED]
STATED = st.none() | st.floats(0, 7200)


def change(
    seen: KeyState,
    outcome: Outcome,
    now: float,
    later_s: float | None = None,
    policy: Policy = POLICY,
) -> Change:
    """A refusal as it is proposed by a call whose lease was given in state ``seen``."""
    refusal = Refusal(outcome, later_s)
    return Change("key:a", seen.version, refused(seen, refusal, now, policy), refusal, policy)


def apply(state: KeyState, proposed: Change, now: float) -> KeyState:
    return proposed.upon(state, now) or state


class Health(RuleBasedStateMachine):
    """One subject's life: calls are sent, answered late or never, time passes, herds fail."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.state = FRESH
        self.in_flight: list[KeyState] = []
        self.strikes = 0  # refusals of the secret in a row, a herd counted once
        self.limit = 5

    @initialize(limit=st.integers(1, 6))
    def begin(self, limit: int) -> None:
        self.limit = limit

    @property
    def policy(self) -> Policy:
        return replace(POLICY, max_consecutive_failures=self.limit)

    def take(self, new: KeyState | None) -> None:
        if new is None:
            return
        assert new.version == self.state.version + 1
        self.state = new

    @rule(seconds=st.floats(0, 4000))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def send(self) -> None:
        if not self.state.resting_at(self.now):
            self.in_flight.append(self.state)

    @rule(outcome=st.sampled_from(FAILURES), later_s=STATED)
    def fail_now(self, outcome: Outcome, later_s: float | None) -> None:
        """Sent and refused before anything else happened."""
        if self.state.resting_at(self.now):
            return
        before = self.state
        self.take(change(before, outcome, self.now, later_s, self.policy).upon(before, self.now))
        self.strikes = self.strikes + 1 if outcome is Outcome.AUTH_FAILED else 0
        assert self.state.failures == before.failures + 1
        assert (self.state.kind is Kind.DISABLED) == (self.strikes >= self.limit)

    @rule(outcome=st.sampled_from(FAILURES), later_s=st.floats(2, 7200), size=st.integers(2, 32))
    def herd_fails(self, outcome: Outcome, later_s: float, size: int) -> None:
        if self.state.resting_at(self.now):
            return
        before = self.state
        herd = [
            change(before, outcome, self.now + n * 1e-4, later_s, self.policy) for n in range(size)
        ]
        for n, each in enumerate(herd):
            self.take(each.upon(self.state, self.now + n * 1e-4))
        self.now += size * 1e-4
        self.strikes = self.strikes + 1 if outcome is Outcome.AUTH_FAILED else 0
        assert self.state.failures == before.failures + 1
        latest = max(each.new.until for each in herd)
        if latest < math.inf:
            assert latest - 1.0 <= self.state.until <= latest
        assert (self.state.kind is Kind.DISABLED) == (self.strikes >= self.limit)

    @rule()
    def succeed_now(self) -> None:
        if self.state.resting_at(self.now):
            return
        new = succeeded(self.state, self.now)
        if new is not self.state:
            self.take(Change("key:a", self.state.version, new).upon(self.state, self.now))
        self.strikes = 0
        assert self.state.kind_at(self.now) is Kind.ACTIVE
        assert self.state.failures == self.state.strikes == self.state.failed_trials == 0

    @rule(data=st.data())
    def succeed_late(self, data: st.DataObject) -> None:
        """A success of a request that was sent in an earlier state lifts nothing."""
        if not self.in_flight:
            return
        seen = self.in_flight.pop(data.draw(st.integers(0, len(self.in_flight) - 1)))
        better = succeeded(seen, self.now)
        if better is seen:
            return
        before = self.state
        self.take(Change("key:a", seen.version, better).upon(before, self.now))
        if seen.version != before.version:
            assert self.state is before
        else:
            self.strikes = 0

    @rule(data=st.data(), outcome=st.sampled_from(TRANSIENT), later_s=STATED)
    def fail_late(self, data: st.DataObject, outcome: Outcome, later_s: float | None) -> None:
        """A refusal of a request that was sent in an earlier state shortens nothing."""
        if not self.in_flight:
            return
        seen = self.in_flight.pop(data.draw(st.integers(0, len(self.in_flight) - 1)))
        before = self.state
        self.take(change(seen, outcome, self.now, later_s, self.policy).upon(before, self.now))
        if before.resting_at(self.now):
            assert self.state.until >= before.until
            assert HARDNESS[self.state.kind] >= HARDNESS[before.kind]
        self.strikes = self.state.strikes

    @rule(outcome=st.sampled_from(HARMLESS))
    def others_fault(self, outcome: Outcome) -> None:
        assert after(self.state, outcome, self.now, self.policy) is self.state

    @invariant()
    def the_state_is_one_of_five_at_any_time(self) -> None:
        for at in (self.now, self.state.until, self.now + 1e9):
            assert self.state.kind_at(at) in Kind
            assert self.state.resting_at(at) == (
                self.state.kind_at(at) in (Kind.COOLDOWN, Kind.QUARANTINE, Kind.DISABLED)
                and at < math.inf
            )

    @invariant()
    def only_refused_secrets_in_a_row_disable(self) -> None:
        if self.state.kind is Kind.DISABLED:
            assert self.state.outcome is Outcome.AUTH_FAILED
            assert self.strikes >= self.limit

    @invariant()
    def time_alone_brings_all_but_disabled_back(self) -> None:
        if self.state.kind is not Kind.DISABLED:
            assert self.state.until < math.inf
            back = max(self.now, self.state.until)
            assert self.state.kind_at(back) in (Kind.ACTIVE, Kind.PROBATION)
            assert not self.state.resting_at(back)


TestHealth = Health.TestCase
TestHealth.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


@given(st.lists(st.tuples(st.sampled_from(TRANSIENT), STATED, st.floats(0, 9000)), max_size=60))
def test_no_key_is_lost_for_good_by_transient_faults(
    faults: list[tuple[Outcome, float | None, float]],
) -> None:
    policy = replace(POLICY, max_consecutive_failures=1)
    state, now = FRESH, NOW
    for outcome, later_s, seconds in faults:
        now += seconds
        if not state.resting_at(now):
            state = after(state, outcome, now, policy, later_s)
            assert state.kind is not Kind.DISABLED
            assert now <= state.until <= now + max(7200.0, 3600.0)
    assert not state.resting_at(now + 7201.0)


# -- many failures at once


@given(
    st.permutations([float(n) for n in range(32)]),
    st.lists(st.floats(0, 0.9), min_size=32, max_size=32),
)
def test_thirty_two_429s_are_one_failure_and_end_with_the_latest(
    stated: list[float], offsets: list[float]
) -> None:
    """Whatever each of them states, Retry-After: 0 included, and in whatever order."""
    moments = sorted(NOW + offset for offset in offsets)
    state, deadlines = FRESH, []
    for now, later_s in zip(moments, stated, strict=True):
        proposed = change(FRESH, Outcome.RATE_LIMITED, now, later_s)
        deadlines.append(proposed.new.until)
        state = apply(state, proposed, now)
    assert state.failures == 1
    assert state.failed_trials == 0
    assert max(deadlines) - 1.0 <= state.until <= max(deadlines)


def test_thirty_two_429s_that_ask_for_no_time_are_one_failure() -> None:
    state = FRESH
    for n in range(32):
        now = NOW + n / 100
        state = apply(state, change(FRESH, Outcome.RATE_LIMITED, now, 0.0), now)
    assert state.failures == 1
    assert state.failed_trials == 0


@example([(Outcome.RATE_LIMITED, 2.0), (Outcome.QUOTA_EXHAUSTED, 2.0), (Outcome.RATE_LIMITED, 4.0)])
@given(st.lists(st.tuples(st.sampled_from(FAILURES), st.floats(1.5, 900)), min_size=1, max_size=32))
def test_of_a_mixed_herd_the_hardest_kind_and_the_latest_deadline_hold(
    herd: list[tuple[Outcome, float]],
) -> None:
    state, proposals = FRESH, []
    for outcome, later_s in herd:
        proposed = change(FRESH, outcome, NOW, later_s)
        proposals.append(proposed.new)
        state = apply(state, proposed, NOW)
    latest = max(each.until for each in proposals)
    assert latest - 1.0 <= state.until <= latest
    assert HARDNESS[state.kind] == max(HARDNESS[each.kind] for each in proposals)
    assert state.failures <= len({outcome for outcome, _ in herd})


def test_a_herd_of_refused_secrets_is_one_strike() -> None:
    state, now = FRESH, NOW
    for strike in range(1, 5):
        seen = state
        for _ in range(32):
            state = apply(state, change(seen, Outcome.AUTH_FAILED, now), now)
        assert (state.kind, state.strikes, state.failures) == (Kind.QUARANTINE, strike, strike)
        now = state.until
    seen = state
    for _ in range(32):
        state = apply(state, change(seen, Outcome.AUTH_FAILED, now), now)
    assert (state.kind, state.strikes) == (Kind.DISABLED, 5)


@pytest.mark.parametrize(("first", "second"), [(5.0, 60.0), (60.0, 5.0)])
def test_R17_the_later_deadline_stands_whichever_came_first(first: float, second: float) -> None:
    state = apply(FRESH, change(FRESH, Outcome.RATE_LIMITED, NOW, first), NOW)
    state = apply(state, change(FRESH, Outcome.RATE_LIMITED, NOW + 0.5, second), NOW + 0.5)
    assert state.until == pytest.approx(NOW + 60.0, abs=1.0)


def test_a_deadline_later_by_less_than_a_second_is_no_news() -> None:
    first = change(FRESH, Outcome.RATE_LIMITED, NOW, 60.0).new
    assert merge(first, change(FRESH, Outcome.RATE_LIMITED, NOW + 0.9, 60.0).new) is None


def test_a_late_success_lifts_no_later_rest() -> None:
    resting = apply(FRESH, change(FRESH, Outcome.RATE_LIMITED, NOW, 60.0), NOW)
    probation = replace(resting, until=NOW + 1.0)
    won = Change("key:a", probation.version, succeeded(probation, NOW + 2.0))
    later = after(probation, Outcome.QUOTA_EXHAUSTED, NOW + 2.5, POLICY)
    assert won.upon(later, NOW + 3.0) is None


# -- trials


def test_failed_trials_double_up_to_an_hour() -> None:
    state, now, rests = FRESH, NOW, []
    for _ in range(8):
        state = after(state, Outcome.FORBIDDEN, now, POLICY)
        rests.append(state.until - now)
        assert state.kind is Kind.QUARANTINE
        now = state.until
    assert rests == [300.0, 600.0, 1200.0, 2400.0, 3600.0, 3600.0, 3600.0, 3600.0]


def test_a_rate_limits_failed_trials_double_its_cooldown() -> None:
    state, now, seen = FRESH, NOW, []
    for _ in range(9):
        state = after(state, Outcome.RATE_LIMITED, now, POLICY)
        seen.append((state.kind, state.until - now))
        now = state.until
    rests = [30.0 * 2**n for n in range(7)]
    kinds = [Kind.COOLDOWN] + [Kind.QUARANTINE] * 8
    assert seen == list(zip(kinds, [*rests, 3600.0, 3600.0], strict=True))


def test_a_failed_trial_rests_as_long_as_was_stated_however_long() -> None:
    probation = KeyState(
        Kind.COOLDOWN, until=NOW, version=1, failures=1, outcome=Outcome.RATE_LIMITED
    )
    assert after(probation, Outcome.RATE_LIMITED, NOW, POLICY, 86_400.0).until == NOW + 86_400.0
    assert after(probation, Outcome.RATE_LIMITED, NOW, POLICY, 2.0).until == NOW + 2.0


def test_a_success_ends_the_doubling() -> None:
    state, now = FRESH, NOW
    for _ in range(3):
        state = after(state, Outcome.FORBIDDEN, now, POLICY)
        now = state.until
    state = after(state, Outcome.OK, now, POLICY)
    assert after(state, Outcome.FORBIDDEN, now, POLICY).until == now + 300.0


def test_a_thousand_and_more_lost_trials_are_an_hour_still() -> None:
    state = KeyState(Kind.QUARANTINE, until=NOW, version=9, failures=3000, failed_trials=2999)
    assert after(state, Outcome.FORBIDDEN, NOW, POLICY).until == NOW + 3600.0


# -- rows


@pytest.mark.parametrize(
    ("outcome", "later_s", "kind", "seconds"),
    [
        (Outcome.RATE_LIMITED, 7.0, Kind.COOLDOWN, 7.0),
        (Outcome.RATE_LIMITED, None, Kind.COOLDOWN, 30.0),
        (Outcome.UPSTREAM_FAILED, 7.0, Kind.COOLDOWN, 7.0),
        (Outcome.UPSTREAM_FAILED, None, Kind.COOLDOWN, 30.0),
        (Outcome.QUOTA_EXHAUSTED, 5000.0, Kind.QUARANTINE, 5000.0),
        (Outcome.QUOTA_EXHAUSTED, None, Kind.QUARANTINE, 300.0),
        (Outcome.AUTH_FAILED, 7.0, Kind.QUARANTINE, 300.0),
        (Outcome.FORBIDDEN, 7.0, Kind.QUARANTINE, 300.0),
        (Outcome.MODEL_NOT_FOUND, 7.0, Kind.QUARANTINE, 300.0),
        (Outcome.SECRET_MISSING, None, Kind.QUARANTINE, 300.0),
    ],
)
def test_the_first_refusal_of_each_kind(
    outcome: Outcome, later_s: float | None, kind: Kind, seconds: float
) -> None:
    state = after(FRESH, outcome, NOW, POLICY, later_s)
    assert (state.kind, state.until - NOW, state.since) == (kind, seconds, NOW)
    assert (state.failures, state.outcome) == (1, outcome)


@pytest.mark.parametrize("between", [Outcome.RATE_LIMITED, Outcome.QUOTA_EXHAUSTED, Outcome.OK])
def test_strikes_only_count_in_a_row(between: Outcome) -> None:
    state, now = FRESH, NOW
    for outcome in [Outcome.AUTH_FAILED] * 4 + [between] + [Outcome.AUTH_FAILED] * 4:
        state = after(state, outcome, now, POLICY)
        assert state.kind is not Kind.DISABLED
        now = max(now, state.until)
    assert after(state, Outcome.AUTH_FAILED, now, POLICY).kind is Kind.DISABLED


def test_a_disabled_key_stays_so_whatever_the_time_and_whatever_comes_late() -> None:
    state = KeyState(Kind.DISABLED, until=math.inf, version=3, outcome=Outcome.AUTH_FAILED)
    assert state.kind_at(1e12) is Kind.DISABLED
    for outcome in Outcome:
        if outcome in FAILURES:
            late = change(FRESH, outcome, NOW, 60.0)
            assert apply(state, late, NOW).kind is Kind.DISABLED
    assert succeeded(state, 1e12) is state


def test_an_operators_word_needs_no_version() -> None:
    resting = KeyState(Kind.QUARANTINE, until=NOW + 300, version=17, failures=3)
    said = Change("key:a", None, KeyState(Kind.ACTIVE, since=NOW))
    assert said.upon(resting, NOW) == KeyState(Kind.ACTIVE, since=NOW, version=18)


def test_a_healthy_key_is_not_written_for_a_success() -> None:
    assert succeeded(FRESH, NOW) is FRESH
    assert after(FRESH, Outcome.OK, NOW, POLICY) is FRESH


def test_a_late_refusal_of_a_key_that_succeeded_since_counts_from_anew() -> None:
    """Its request was sent when the key had four strikes; it has none now."""
    four = KeyState(Kind.QUARANTINE, until=NOW, version=4, failures=4, strikes=4)
    won = succeeded(four, NOW)
    late = change(four, Outcome.AUTH_FAILED, NOW + 1)
    assert late.new.kind is Kind.DISABLED
    state = apply(won, late, NOW + 1)
    assert (state.kind, state.strikes, state.failures) == (Kind.QUARANTINE, 1, 1)


SAME_KIND = [
    (
        Refusal(Outcome.RATE_LIMITED, 2, 429, "429 slow"),
        Refusal(Outcome.RATE_LIMITED, 60, 529, "b"),
    ),
    (Refusal(Outcome.AUTH_FAILED, None, 401, "401 no"), Refusal(Outcome.QUOTA_EXHAUSTED, 9e4, 402)),
]


@pytest.mark.parametrize(("first", "later"), SAME_KIND)
@pytest.mark.parametrize("is_swapped", [False, True])
def test_of_two_rests_of_one_kind_the_words_are_those_of_the_later_deadline(
    first: Refusal, later: Refusal, is_swapped: bool
) -> None:
    one, other = (later, first) if is_swapped else (first, later)
    stands = refused(FRESH, one, NOW, POLICY)
    proposed = Change("key:a", 0, refused(FRESH, other, NOW, POLICY), other, POLICY)
    merged = apply(stands, proposed, NOW)
    alone = refused(FRESH, later, NOW, POLICY)
    assert (merged.until, merged.outcome, merged.status, merged.reason) == (
        alone.until,
        later.outcome,
        later.status,
        later.reason,
    )
    assert (merged.failures, merged.strikes) == (1, stands.strikes)


def test_a_later_deadline_of_a_softer_rest_keeps_the_words_of_the_harder_one() -> None:
    hard = refused(FRESH, Refusal(Outcome.FORBIDDEN, None, 403, "403 no"), NOW, POLICY)
    soft = Refusal(Outcome.RATE_LIMITED, 9000, 429, "429 slow")
    proposed = Change("key:a", 0, refused(FRESH, soft, NOW, POLICY), soft, POLICY)
    merged = apply(hard, proposed, NOW)
    assert (merged.kind, merged.until, merged.reason) == (Kind.QUARANTINE, NOW + 9000, "403 no")
