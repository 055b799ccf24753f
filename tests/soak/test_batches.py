"""The long form of the batches: a million rows in the memory of ten thousand."""

from __future__ import annotations

import pytest

from tests.helpers.endless import growth


@pytest.mark.timeout(3600)
def test_B02_a_million_rows_take_the_memory_of_ten_thousand():
    grown = growth(1_000_000)
    print(f"{grown:.1f} MiB over the memory at 10,000 rows")
    assert grown <= 64.0
