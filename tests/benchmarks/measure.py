"""How to measure on a noisy machine: in turn, several rounds, medians and ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable, Mapping

Work = Callable[[], Awaitable[int]]


async def cpu_in_turn(works: Mapping[str, Work], rounds: int) -> dict[str, float]:
    """Median process CPU in microseconds per unit of work. Each work returns its units; they
    run in turn, round by round, so that a slow moment hits them all."""
    seen: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            began = time.process_time()
            units = await work()
            if number:  # the first round warms up
                seen[name].append((time.process_time() - began) / units * 1e6)
    return {name: statistics.median(values) for name, values in seen.items()}


async def wall_in_turn(works: Mapping[str, Work], rounds: int) -> dict[str, float]:
    """Median wall time in milliseconds per unit of work, taken likewise."""
    seen: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            began = time.perf_counter()
            units = await work()
            if number:
                seen[name].append((time.perf_counter() - began) / units * 1e3)
    return {name: statistics.median(values) for name, values in seen.items()}
