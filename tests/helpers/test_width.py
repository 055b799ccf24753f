"""What "auto" finds, in a closed loop whose server is a formula."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from llm_rotate.helpers.width import BACK, FIRST, MOST, Auto, Fixed, Width

OK = SimpleNamespace(attempts=[SimpleNamespace(outcome="ok")])
LIMITED = SimpleNamespace(
    attempts=[SimpleNamespace(outcome="rate_limited"), SimpleNamespace(outcome="ok")]
)
CACHED = SimpleNamespace(attempts=())
Server = Callable[[int, float], float]
ROWS = 4_000


class Loop:
    """Rows through a width, in a time of its own. ``server``: (rows under way, now) -> seconds."""

    def __init__(self, server: Server, sigma: float = 0.0) -> None:
        self.server = server
        self.sigma = sigma
        self.now = 0.0
        self.limits: list[int] = []

    def run(self, width: Width, rows: int, answer: Callable[[float], Any] = lambda _: OK) -> float:
        """Seconds until all are done."""
        dice = random.Random(7)
        ends: list[tuple[float, int, Any]] = []
        taken = 0
        while taken < rows or ends:
            while taken < rows and len(ends) < width.limit:
                mark = width.began(len(ends) + 1)
                noise = dice.lognormvariate(-(self.sigma**2) / 2, self.sigma)
                seconds = self.server(len(ends) + 1, self.now) * noise
                heapq.heappush(ends, (self.now + seconds, taken, mark))
                taken += 1
            self.now, _, mark = heapq.heappop(ends)
            width.ended(mark, answer(self.now))
            self.limits.append(width.limit)
        return self.now


def auto(loop: Loop) -> Auto:
    return Auto(lambda: loop.now)


# A server's name, with its seconds by the rows that it has.
SERVERS: dict[str, Server] = {
    "slows down beyond 24": lambda n, _: 0.5 * (1 + (n / 24) ** 2),
    "slows down beyond 100": lambda n, _: 0.5 * (1 + (n / 100) ** 2),
    "ten at a time": lambda n, _: 0.5 * max(1.0, n / 10),
    "fifty at a time": lambda n, _: 0.5 * max(1.0, n / 50),
    "one at a time": lambda n, _: 0.2 * n,
    "a little slower by each": lambda n, _: 0.1 * (1 + n / 8),
    "breaks down": lambda n, _: 0.2 * math.exp(n / 20),
}


@pytest.mark.parametrize("name", SERVERS)
def test_auto_is_within_a_tenth_of_the_best_fixed_number(name):
    server = SERVERS[name]
    best = min(
        Loop(server).run(Fixed(width), ROWS)
        for width in (1, 2, 4, 8, 12, 16, 20, 24, 32, 48, 64, 80, 100, 128, 200, 256)
    )
    loop = Loop(server)
    assert loop.run(auto(loop), ROWS) <= 1.10 * best


@pytest.mark.parametrize(
    "name", ["slows down beyond 24", "slows down beyond 100", "ten at a time", "fifty at a time"]
)
def test_a_short_batch_is_not_spent_on_feeling_for_it(name):
    server, rows = SERVERS[name], 500
    best = min(Loop(server).run(Fixed(n), rows) for n in (8, 12, 16, 24, 50, 80, 100, 128))
    loop = Loop(server)
    assert loop.run(auto(loop), rows) <= 1.25 * best


def test_rows_that_fill_the_window_tell_of_it():
    loop = Loop(lambda *_: 1.0)
    loop.run(auto(loop), 16 + 32 + 64 + 128)
    assert loop.now == 4.0  # it doubles with every round


@pytest.mark.parametrize("name", SERVERS)
def test_answers_of_unequal_length_cost_little_more(name):
    server = SERVERS[name]
    best = min(Loop(server, 0.5).run(Fixed(n), ROWS) for n in (8, 12, 16, 24, 50, 80, 100, 128))
    loop = Loop(server, 0.5)
    assert loop.run(auto(loop), ROWS) <= 1.20 * best


def test_auto_grows_as_long_as_more_get_done_and_never_over_its_bound():
    loop = Loop(lambda *_: 1.0)
    width = auto(loop)
    loop.run(width, 30_000)
    assert width.limit > MOST / 2
    assert max(loop.limits) <= MOST


def test_auto_shrinks_when_the_server_becomes_slower():
    loop = Loop(lambda n, now: 0.5 * max(1.0, n / (60 if now < 40 else 6)))
    width = auto(loop)
    loop.run(width, 5_000)
    before = max(loop.limits)
    assert before >= 50
    assert width.limit <= before / 2


def test_a_pause_makes_no_smaller_window_look_as_good():
    loop = Loop(lambda n, now: max(0.3, n / 40) + (3.0 if 42 < now < 42.3 else 0.0))
    loop.run(auto(loop), 3_000)
    assert min(loop.limits[1_000:]) >= 10  # twelve are needed; the next step down is 8


@pytest.mark.parametrize("outcome", ["rate_limited", "overloaded"])
def test_a_refusal_takes_the_limit_back_once_for_all_that_were_under_way(outcome):
    refused = SimpleNamespace(attempts=[SimpleNamespace(outcome=outcome)])
    width = Auto(lambda: 0.0)
    marks = [width.began(FIRST) for _ in range(FIRST)]
    for mark in marks:
        width.ended(mark, refused)
    assert width.limit == round(FIRST * BACK)


def test_auto_keeps_below_what_is_refused():
    loop = Loop(lambda *_: 0.5)
    width = auto(loop)
    loop.run(width, 6_000, lambda _: LIMITED if width.limit > 40 else OK)
    half = loop.limits[len(loop.limits) // 2 :]
    assert 20 <= sum(half) / len(half) <= 50


def test_what_was_not_sent_and_what_failed_by_itself_teach_nothing():
    width = Auto(lambda: 0.0)
    for _ in range(1_000):
        width.ended(width.began(FIRST), CACHED)
        width.ended(width.began(FIRST), ValueError("of the row"))
    assert width.limit == FIRST


def test_a_window_that_is_not_full_teaches_nothing():
    width = Auto(lambda: 0.0)
    for _ in range(1_000):
        width.ended(width.began(1), OK)
    assert width.limit == FIRST


def test_the_limit_is_one_at_least():
    width = Auto(lambda: 0.0)
    for _ in range(100):
        width.ended(width.began(width.limit), LIMITED)
    assert width.limit == 1
