"""Every row of the fault table, through real answers of each dialect."""

from __future__ import annotations

import pytest

from llm_rotate.core.outcome import FAULTS, Blame, Effect, Next, Outcome
from llm_rotate.errors import LMRotateError, ProviderError
from llm_rotate.providers import DIALECTS

from .fault_cases import CASES, EXPECTED, UNSAID, Observed, observe

ROWS = [
    (dialect, outcome)
    for dialect in DIALECTS
    for outcome in FAULTS
    if (dialect, outcome) not in UNSAID
]


@pytest.mark.parametrize(("dialect", "outcome"), ROWS)
def test_a_row_shows_from_outside_as_it_is_written(dialect: str, outcome: Outcome) -> None:
    assert observe(dialect, outcome) == EXPECTED[outcome]


def test_every_outcome_has_a_row_an_expectation_and_a_case() -> None:
    assert set(FAULTS) == set(EXPECTED) == set(Outcome)
    assert set(CASES) == set(DIALECTS)
    for dialect, cases in CASES.items():
        unsaid = {outcome for name, outcome in UNSAID if name == dialect}
        assert set(cases) == set(Outcome) - unsaid


def test_every_row_has_an_error_of_its_own() -> None:
    errors = [row.error for outcome, row in FAULTS.items() if outcome is not Outcome.OK]
    assert len(set(errors)) == len(errors)
    assert all(issubclass(error, LMRotateError) for error in errors)
    assert [error for error in errors if not issubclass(error, ProviderError)] == [
        FAULTS[Outcome.CANCELLED].error
    ]


def test_only_what_is_a_keys_own_fault_changes_its_state() -> None:
    for row in FAULTS.values():
        changes = row.effect not in (Effect.NONE, Effect.CLEAR)
        assert changes == (row.blame is Blame.KEY)
        assert not changes or row.call is Next.ROTATE


def test_the_expectations_differ_wherever_the_rows_do() -> None:
    """Two rows that mean different things look different: else the oracle sees nothing."""
    for one, first in FAULTS.items():
        for other, second in FAULTS.items():
            if (first.blame, first.effect, first.call) != (
                second.blame,
                second.effect,
                second.call,
            ):
                assert _shape(EXPECTED[one]) != _shape(EXPECTED[other]), (one, other)


def _shape(seen: Observed) -> tuple[object, ...]:
    rests = seen.state, seen.scopes, seen.again, seen.is_shared
    return seen.ends, seen.pauses, seen.failures, seen.is_noted, rests
