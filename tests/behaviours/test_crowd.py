"""Many calls at once over few keys, with faults: nothing is lost, miscounted or left behind."""

from __future__ import annotations

from itertools import pairwise

from .crowd import Held, crowd, objects
from .dialects import each_dialect

CALLERS = 1_000


@each_dialect
def test_a_thousand_calls_at_once_over_three_keys_with_faults(provider):
    async def scenario() -> None:
        before = Held.now()
        await gathered.calls(CALLERS, at_once=CALLERS)
        await gathered.world.lm.close()
        after = Held.now()
        assert (after.tasks, after.threads) == (before.tasks, before.threads)

    with crowd(provider, faults=0.2) as gathered:
        gathered.world.run(scenario)
        gathered.check_results(CALLERS)
        gathered.check_counts()
        assert gathered.share_answered() > 0.99
        assert gathered.ended["rate_limited"] > 5  # there were faults to survive
        assert gathered.ended["server_error"] > 50


@each_dialect
def test_memory_and_sockets_are_flat_over_many_calls(provider):
    async def scenario() -> None:
        await gathered.calls(300, at_once=20)
        gathered.results.clear()
        sizes, files = [objects()], [Held.now()]
        for _ in range(3):
            await gathered.calls(200, at_once=20)
            gathered.results.clear()
            sizes.append(objects())
            files.append(Held.now())
        # What leaks grows in every round; what comes and goes does not.
        assert min(after - before for before, after in pairwise(sizes)) < 50, sizes
        assert len({held.tasks for held in files}) == len({held.threads for held in files}) == 1
        assert max(held.files for held in files) - files[0].files <= 40  # idle connections

    with crowd(provider, faults=0.2) as gathered:
        gathered.world.run(scenario)
