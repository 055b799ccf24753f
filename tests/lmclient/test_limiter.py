"""The limiter by itself, in a fake time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from llm_rotate import RateLimiter, RequestTooLargeError
from llm_rotate.testing import FakeTime, run_fake

Scenario = Callable[[RateLimiter, FakeTime], Awaitable[Any]]


def play(scenario: Scenario, *limits: Any, **more: Any) -> Any:
    clock = FakeTime()
    limiter = RateLimiter(*limits, clock=clock, **more)

    async def whole() -> Any:
        return await scenario(limiter, clock)

    return run_fake(whole(), clock)


async def times(limiter: RateLimiter, clock: FakeTime, *tokens: int) -> list[float]:
    """When each of these requests may go, in seconds from now; all ask at once."""
    began, gone = clock.now(), []

    async def one(size: int) -> None:
        handle = await limiter.acquire(size)
        gone.append(round(clock.now() - began, 1))
        await limiter.adjust(handle, size)

    await asyncio.gather(*map(one, tokens))
    return gone


def test_no_minute_has_more_than_the_limit_and_each_is_used() -> None:
    gone = play(lambda lim, clock: times(lim, clock, *[0] * 150), 60)
    assert max(sum(at <= other < at + 60 for other in gone) for at in gone) <= 60
    assert 60 <= gone[-1] <= 152


def test_a_burst_goes_at_once() -> None:
    gone = play(lambda lim, clock: times(lim, clock, *[0] * 10), 60, max_request_burst=10)
    assert gone == [0.0] * 10


def test_tokens_are_limited_too_and_a_large_one_is_not_overtaken() -> None:
    async def scenario(limiter: RateLimiter, clock: FakeTime) -> list[str]:
        order: list[str] = []

        async def one(name: str, tokens: int) -> None:
            await limiter.acquire(tokens)
            order.append(name)

        await asyncio.gather(one("first", 100), one("large", 1000), one("small", 1))
        return order

    assert play(scenario, None, 1200) == ["first", "large", "small"]


def test_what_was_not_used_is_given_back_at_once() -> None:
    async def scenario(limiter: RateLimiter, clock: FakeTime) -> float:
        handle = await limiter.acquire(100)
        waiting = asyncio.create_task(limiter.acquire(100))
        await asyncio.sleep(0.5)
        await limiter.adjust(handle, 0)
        await limiter.adjust(handle, 0)  # a second time changes nothing
        await waiting
        return clock.now() - 1000.0

    assert play(scenario, None, 100, max_token_burst=100) == pytest.approx(0.5, abs=0.01)


def test_a_day_ends_at_midnight() -> None:
    gone = play(lambda lim, clock: times(lim, clock, *[0] * 3), None, None, 2)
    assert gone[:2] == [0.0, 0.0]
    assert 0.0 < gone[2] <= 86_400.0


def test_a_request_larger_than_the_limit_is_refused_at_once() -> None:
    with pytest.raises(RequestTooLargeError, match="tpm"):
        play(lambda lim, _: lim.acquire(101), None, 100)


HEADERS = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "20s"}


@pytest.mark.parametrize(("scope", "least"), [("auto", 20.0), ("minute", 20.0), ("day", 3600.0)])
def test_headers_are_heeded(scope: Any, least: float) -> None:
    async def scenario(limiter: RateLimiter, clock: FakeTime) -> float:
        await limiter.adjust(await limiter.acquire(1), 1, HEADERS)
        (gone,) = await times(limiter, clock, 1)
        return gone

    assert play(scenario, 600, header_bucket_scope=scope) >= least - 0.1


@pytest.mark.parametrize("value", ["", "-1", "soon", "1e400", None])
def test_L03_nonsense_in_headers_never_raises(value: Any) -> None:
    async def scenario(limiter: RateLimiter, clock: FakeTime) -> list[float]:
        handle = await limiter.acquire(1)
        await limiter.adjust(handle, 1, {"x-ratelimit-remaining-requests": value})
        return await times(limiter, clock, 1)

    assert play(scenario, 600)[0] < 61.0


def test_a_cancelled_waiter_leaves_no_hole() -> None:
    async def scenario(limiter: RateLimiter, clock: FakeTime) -> list[float]:
        await times(limiter, clock, 0, 0, 0)
        lost = asyncio.create_task(limiter.acquire())
        await asyncio.sleep(0.01)
        rest = asyncio.create_task(times(limiter, clock, 0))
        await asyncio.sleep(0.01)
        lost.cancel()
        return await rest

    assert play(scenario, 60, max_request_burst=3)[0] <= 1.01


def test_B07_threads_and_loops_share_one_limit() -> None:
    limiter = RateLimiter(6000, None, 40, max_request_burst=6000)
    gone: list[int] = []

    def sync() -> None:
        for _ in range(10):
            limiter.adjust_sync(limiter.acquire_sync(1), 1)
            gone.append(1)

    async def asynchronous() -> None:
        for _ in range(10):
            await limiter.adjust(await limiter.acquire(1), 1)
            gone.append(1)

    threads = [threading.Thread(target=sync) for _ in range(2)]
    for thread in threads:
        thread.start()
    asyncio.run(asynchronous())
    for thread in threads:
        thread.join()
    assert len(gone) == 30
    assert limiter._bucket.day_requests == 30
