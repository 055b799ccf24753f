"""The fault table under mutation: exchange two rows that mean different things, and it shows."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from itertools import combinations
from typing import cast

import pytest

from llm_rotate.core.outcome import FAULTS, Fault, Outcome

from .fault_cases import EXPECTED, observe


def meaning(outcome: Outcome) -> tuple[object, ...]:
    row = FAULTS[outcome]
    return row.blame, row.effect, row.call


PAIRS = [pair for pair in combinations(FAULTS, 2) if meaning(pair[0]) != meaning(pair[1])]


@contextmanager
def exchanged(one: Outcome, other: Outcome) -> Iterator[None]:
    """The two rows trade places, for all who read the table."""
    table = cast("MutableMapping[Outcome, Fault]", FAULTS)
    before = dict(table)
    table[one], table[other] = before[other], before[one]
    try:
        yield
    finally:
        table.update(before)


def is_noticed(outcome: Outcome) -> bool:
    try:
        return observe("openai", outcome) != EXPECTED[outcome]
    except Exception:  # a call that breaks down is noticed too
        return True


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_two_rows_exchanged_are_noticed(one: Outcome, other: Outcome) -> None:
    with exchanged(one, other):
        assert is_noticed(one)
        assert is_noticed(other)


def test_the_table_is_whole_again_after_each() -> None:
    before = dict(FAULTS)
    with exchanged(Outcome.OK, Outcome.CANCELLED):
        assert dict(FAULTS) != before
    assert dict(FAULTS) == before


@pytest.mark.parametrize("outcome", FAULTS)
def test_without_a_mutation_nothing_is_noticed(outcome: Outcome) -> None:
    assert not is_noticed(outcome)
