"""The limiter said again as naively as can be, and what else its tests share."""

import heapq
import math
import random
from bisect import bisect_left
from collections import deque

from llm_rotate.core.bucket import Bucket, Tokens
from llm_rotate.core.limits import reserve, settle, wait_seconds

TTL = 60.0
ONE = Tokens(1, 0)


def admit(bucket, cost, now, lease_id=1):
    """A reservation if the request may go at ``now``, else None."""
    if wait_seconds(bucket, bucket.spec, cost, now):
        return None
    return reserve(bucket, bucket.spec, lease_id, cost, now, TTL)


def give_back(bucket, reservation, used, now):
    return settle(bucket, reservation, used, now)


def heaviest(log, window):
    """The most that any window of that length holds. ``log``: (time, amount), sorted."""
    most = held = 0
    inside = deque()
    for at, amount in log:
        inside.append((at, amount))
        held += amount
        while inside[0][0] <= at - window:
            held -= inside.popleft()[1]
        most = max(most, held)
    return most


def lightest(times, window, since):
    """The fewest of ``times`` in a window that begins at or just after one, from ``since`` on."""
    starts = [at + 1e-9 for at in times if at >= since and at + window < times[-1]]
    return min(bisect_left(times, start + window) - bisect_left(times, start) for start in starts)


def rate(log, window, since, until):
    """The mean amount per window between two times."""
    return sum(amount for at, amount in log if since <= at < until) / (until - since) * window


class NaiveTokens:
    """A limit on tokens, kept as the list of all that was ever taken and a level that refills."""

    def __init__(self, limit, window=60.0):
        self.limit, self.window = limit, window
        self.per_second = (60 if limit < 100 else 120) / window
        self.burst = min(max(limit / 12, 1.0), limit)
        self.level, self.level_at = self.burst, 0.0
        self.taken = []

    def may_go(self, amount, now):
        return self.margin(amount, now) >= 0

    def margin(self, amount, now):
        """How far from the decision: the smoothing bucket's surplus, or -1 for a full ring."""
        oldest = int(now * self.per_second) - int(self.window * self.per_second)
        held = sum(a for at, a in self.taken if int(at * self.per_second) >= oldest)
        if held + amount > self.limit:
            return -1.0
        return self._level(now) - min(amount, self.burst)

    def take(self, amount, now):
        self.level, self.level_at = self._level(now) - amount, now
        self.taken.append([now, amount])
        return len(self.taken) - 1

    def correct(self, index, amount, now):
        more = amount - self.taken[index][1]
        self.taken[index][1] = amount
        level = min(self._level(now) - more, self.burst)
        if more:
            level = max(level, self.burst - self.limit)
        self.level, self.level_at = level, now

    def _level(self, now):
        earned = (now - self.level_at) * self.limit / self.window
        return min(self.level + earned, self.burst)


def exponential(rng, mean):
    return rng.expovariate(1 / mean) if mean else 0.0


def fleet(spec, draw, *, seconds, clients=4, jitter=0.05, latency=0.3, seed=0):
    """Clients that want more than there is and share one bucket, in virtual time.

    ``draw(rng)``: (estimate, truth) of the next request. Returns what the provider sees:
    (arrival, requests, tokens) by arrival, which is later than the admission by ``jitter``.
    """
    rng, bucket, seen, events = random.Random(seed), Bucket(spec), [], []
    numbers = iter(range(10**9))

    def at(time, what, *more):
        heapq.heappush(events, (time, next(numbers), what, more))

    for _ in range(clients):
        at(rng.uniform(0, 0.1), "ask", draw(rng))
    while events[0][0] < seconds:
        now, number, what, more = heapq.heappop(events)
        if what == "settle":
            give_back(bucket, *more, now)
            continue
        (estimate, truth), *_ = more
        wait = wait_seconds(bucket, spec, estimate, now)
        if wait:
            assert wait < math.inf
            at(now + wait + rng.uniform(0, 0.002), "ask", (estimate, truth))
            continue
        lease = reserve(bucket, spec, number, estimate, now, TTL)
        arrival = now + exponential(rng, jitter)
        seen.append((arrival, 1, truth.input + truth.output))
        at(arrival + exponential(rng, latency), "settle", lease, truth)
        at(now + 0.0005, "ask", draw(rng))
    return sorted(seen)


def sizes(low, high, error):
    """Requests of so many tokens, each estimated wrong by up to ``error``."""

    def draw(rng):
        truth = rng.uniform(low, high)
        guess = truth * rng.uniform(1 - error, 1 + error)
        return Tokens(int(guess * 0.7), int(guess * 0.3)), Tokens(
            int(truth * 0.7), int(truth * 0.3)
        )

    return draw


def requests_of(log):
    return [(at, count) for at, count, _ in log]


def tokens_of(log):
    return [(at, tokens) for at, _, tokens in log]


def saturated(spec, cost, seconds, waiting=200):
    """When each of ``waiting`` calls, and of those that take their places, is admitted."""
    bucket, now, times, leases = Bucket(spec), 1_000.0, [], deque()
    while now < 1_000.0 + seconds:
        wait = wait_seconds(bucket, spec, cost, now)
        if wait:
            now += wait
            continue
        leases.append(reserve(bucket, spec, len(times), cost, now, TTL))
        times.append(now)
        if len(leases) > waiting:
            give_back(bucket, leases.popleft(), cost, now)
    return times
