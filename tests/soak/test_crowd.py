"""The long form of the crowd: twenty thousand further calls, memory measured."""

from __future__ import annotations

import pytest

from tests.behaviours.crowd import Held, crowd, resident
from tests.behaviours.dialects import each_dialect

MIB = 1024 * 1024


@each_dialect
@pytest.mark.timeout(1800)
def test_memory_is_flat_over_twenty_thousand_further_calls(provider):
    async def scenario() -> None:
        before = Held.now()
        for _ in range(2):
            await gathered.calls(1_000, at_once=1_000)
        gathered.check_results(2_000)
        gathered.check_counts()
        gathered.results.clear()
        await gathered.calls(3_000, at_once=64)
        gathered.results.clear()
        sizes = [resident()]
        for _ in range(20):
            await gathered.calls(1_000, at_once=64)
            gathered.results.clear()
            sizes.append(resident())
        print(provider, "MiB resident after each thousand:", [round(s / MIB, 1) for s in sizes])
        assert max(sizes[10:]) - max(sizes[:10]) < 1 * MIB
        await gathered.world.lm.close()
        after = Held.now()
        assert (after.tasks, after.threads) == (before.tasks, before.threads)

    with crowd(provider, faults=0.2) as gathered:
        gathered.world.run(scenario)
