"""Counts that many threads add to while another takes them."""

from __future__ import annotations

import sys
import threading

from llm_rotate.engine.ledger import Ledger
from llm_rotate.types import Usage

TIMES = 3_000
USAGE = Usage(3, 4, 7)


def test_what_threads_count_while_it_is_taken_is_told_once() -> None:
    ledger = Ledger()
    rows = [ledger.tally("openai", "a", f"m{number}") for number in range(8)]
    told = dict.fromkeys((row.name for row in rows), (0, 0, 0, 0, 0))

    def take() -> None:
        for name, counts in ledger.unsaid().items():
            told[name] = tuple(a + b for a, b in zip(told[name], counts, strict=True))

    def count(first: int) -> None:
        for number in range(TIMES):
            ledger.answered(rows[(first + number) % len(rows)], USAGE)
            ledger.failed(rows[number % len(rows)])

    threads = [threading.Thread(target=count, args=(number,)) for number in range(4)]
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for each in threads:
            each.start()
        while any(each.is_alive() for each in threads):
            take()
    finally:
        sys.setswitchinterval(usual)
        for each in threads:
            each.join()
    take()
    assert told == ledger.counts()
    assert sum(counts[0] for counts in told.values()) == 4 * TIMES
    assert sum(counts[2] for counts in told.values()) == 4 * TIMES * USAGE.prompt_tokens
