"""An outage told from bad keys: all refused alike, at once, and nobody served."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from llm_rotate.core.keystate import FRESH, Change, Kind, refused
from llm_rotate.core.keystate import Refusal as Failure
from llm_rotate.core.outage import Outages, Refused, provider_rest, taken_back
from llm_rotate.core.outcome import Outcome
from llm_rotate.core.policy import Policy

POLICY = Policy(30.0, 300.0, 5)
NOW = 1000.0
KEYS = ("a", "b", "c")
BLOCK = ("forbidden", 403, "unsupported_location")


def refusal(
    key_id: str, at: float = NOW, signature: tuple[str, int | None, str | None] = BLOCK
) -> Refused:
    failure = Failure(Outcome.FORBIDDEN)
    new = refused(FRESH, failure, at, POLICY)
    change = Change(f"key:{key_id}|model:m", 0, new, failure, POLICY)
    return Refused(at, key_id, signature, taken_back(change.subject, FRESH, 1))


def note(
    outages: Outages,
    refused: Refused,
    keys: tuple[str, ...] = KEYS,
    success: float = -math.inf,
    disabled: tuple[str, ...] = (),
) -> list[Change]:
    return outages.note(refused, frozenset(keys), disabled.__contains__, success)


def test_a_disabled_key_is_not_waited_for() -> None:
    outages = Outages()
    keys = (*KEYS, "lost")
    for key in KEYS[:2]:
        assert note(outages, refusal(key), keys, disabled=("lost",)) == []
    assert note(outages, refusal(KEYS[2]), keys, disabled=("lost",))


def test_all_of_three_refused_alike_are_an_outage_and_are_taken_back() -> None:
    outages = Outages()
    assert note(outages, refusal("a")) == []
    assert note(outages, refusal("b")) == []
    undone = note(outages, refusal("c"))
    assert {change.subject for change in undone} == {f"key:{key}|model:m" for key in KEYS}
    for change in undone:
        standing = refused(FRESH, Failure(Outcome.FORBIDDEN), NOW, POLICY)
        back = change.upon(standing, NOW)
        assert back is not None
        assert (back.kind, back.failures, back.version) == (Kind.ACTIVE, 0, 2)


def test_the_same_key_three_times_is_one_key() -> None:
    outages = Outages()
    assert [note(outages, refusal("a", NOW + n)) for n in range(3)] == [[], [], []]


@pytest.mark.parametrize(("gap", "is_outage"), [(2.5, True), (2.6, False)])
def test_five_seconds_are_at_once(gap: float, is_outage: bool) -> None:
    outages = Outages()
    found = [note(outages, refusal(key, NOW + n * gap)) for n, key in enumerate(KEYS)]
    assert bool(found[-1]) is is_outage


@pytest.mark.parametrize(
    "other",
    [
        ("forbidden", 403, "other_code"),
        ("forbidden", 451, "unsupported_location"),
        ("auth_failed", 403, "unsupported_location"),
    ],
)
def test_another_outcome_status_or_code_is_another_matter(
    other: tuple[str, int | None, str | None],
) -> None:
    outages = Outages()
    note(outages, refusal("a"))
    note(outages, refusal("b", signature=other))
    assert note(outages, refusal("c")) == []


def test_two_keys_are_too_few() -> None:
    outages = Outages()
    note(outages, refusal("a"), KEYS[:2])
    assert note(outages, refusal("b"), KEYS[:2]) == []


def test_a_success_in_that_time_speaks_against_it() -> None:
    outages = Outages()
    note(outages, refusal("a", NOW))
    note(outages, refusal("b", NOW + 1))
    assert note(outages, refusal("c", NOW + 2), success=NOW + 0.5) == []


def test_a_key_that_the_provider_no_longer_has_does_not_count() -> None:
    outages = Outages()
    note(outages, refusal("gone"))
    note(outages, refusal("a"))
    assert note(outages, refusal("b")) == []
    assert note(outages, refusal("c"))


def test_a_rest_that_was_followed_by_another_is_not_taken_back() -> None:
    first = refused(FRESH, Failure(Outcome.FORBIDDEN), NOW, POLICY)
    second = replace(first, until=NOW + 999, version=2)
    assert refusal("a").undo.upon(second, NOW) is None


def test_the_provider_rests_one_second_doubling_to_sixty() -> None:
    state, now, rests = FRESH, NOW, []
    for _ in range(10):
        state = provider_rest("provider:p", state, now, "blocked").new
        rests.append(state.until - now)
        assert state.kind is Kind.COOLDOWN
        now = state.until
    assert rests == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 60.0]


def test_a_success_starts_the_providers_rests_anew() -> None:
    assert provider_rest("provider:p", FRESH, NOW, "").new.until == NOW + 1.0
