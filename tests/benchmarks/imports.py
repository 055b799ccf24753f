"""Import time and memory, over bare Python, in fresh processes."""

from __future__ import annotations

import statistics
import subprocess
import sys

_PROBE = """
import time
began = time.perf_counter()
{statement}
took = time.perf_counter() - began
import os  # /proc is Linux's: the table is made there
pages = int(open("/proc/self/statm").read().split()[1])
print(took, pages * os.sysconf("SC_PAGE_SIZE") / 2**20)
"""


def imported(statement: str, rounds: int = 7) -> tuple[float, float]:
    """Median milliseconds that ``statement`` takes, and MiB resident after it."""
    runs = [
        subprocess.run(
            [sys.executable, "-c", _PROBE.format(statement=statement)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for _ in range(rounds)
    ]
    seconds, resident = zip(*((float(a), float(b)) for a, b in runs), strict=True)
    return statistics.median(seconds) * 1000, statistics.median(resident)
