"""Fake time: it jumps when nothing is left to run, and never before."""

import asyncio
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_rotate.testing import FakeLoop, FakeTime, run_fake


def test_an_hour_takes_no_time():
    clock = FakeTime()
    began, started = clock.now(), time.monotonic()

    async def main():
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    assert run_fake(main(), clock) == clock.now() == began + 3600
    assert time.monotonic() - started < 5


def test_the_wall_stands_at_new_year_and_goes_along():
    clock = FakeTime()
    assert clock.wall() == 1_767_225_600.0
    clock.advance(1.5)
    assert clock.wall() == 1_767_225_601.5
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)


def test_it_is_a_clock_of_the_engine():
    clock, rung = FakeTime(start=0.0), []

    async def main():
        clock.call_later(2.0, lambda: rung.append(clock.now()))
        clock.call_later(1.0, lambda: rung.append("never")).cancel()
        await clock.sleep(5.0)

    run_fake(main(), clock)
    assert rung == [2.0]
    assert clock.now() == 5.0


@given(st.lists(st.floats(0, 1e6, allow_nan=False), max_size=30))
def test_sleepers_wake_at_their_time_and_in_their_order(delays):
    clock, woken = FakeTime(start=0.0), []

    async def sleeper(delay):
        await asyncio.sleep(delay)
        woken.append((delay, clock.now()))

    async def main():
        await asyncio.gather(*map(sleeper, delays))

    run_fake(main(), clock)
    assert [delay for delay, _ in woken] == sorted(delays)
    assert all(now == pytest.approx(delay, abs=1e-6) for delay, now in woken)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 20)), max_size=10))
def test_time_stands_still_while_anything_can_run(plans):
    clock = FakeTime(start=0.0)

    async def busy(start, turns):
        await asyncio.sleep(start)
        now = clock.now()
        for _ in range(turns):
            await asyncio.sleep(0)
            assert clock.now() == now

    async def main():
        await asyncio.gather(*(busy(*plan) for plan in plans))

    run_fake(main(), clock)
    assert clock.now() == max((start for start, _ in plans), default=0)


def test_timeouts_fire_in_fake_time():
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(600):
                await asyncio.Event().wait()

    run_fake(main())


def test_work_in_a_thread_holds_the_time():
    clock = FakeTime(start=0.0)
    release = threading.Event()

    async def main():
        loop = asyncio.get_running_loop()
        timer = loop.call_later(10, release.set)  # would let the thread go if time jumped
        work = asyncio.to_thread(release.wait, 0.05)
        assert await work is False
        timer.cancel()
        return clock.now()

    assert run_fake(main(), clock) == 0.0


def test_a_thread_may_call_in():
    async def main():
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        threading.Timer(0.02, loop.call_soon_threadsafe, [done.set]).start()
        await done.wait()

    run_fake(main())


def test_waiting_for_nothing_is_an_error_not_a_hang():
    loop = FakeLoop(patience=0.05)

    async def main():
        await asyncio.Event().wait()

    task = loop.create_task(main())
    with pytest.raises(RuntimeError, match="waits for something"):
        loop.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


def test_an_exception_comes_out_and_tasks_are_cancelled():
    cancelled = []

    async def left():
        try:
            await asyncio.sleep(1000)
        finally:
            cancelled.append(True)

    async def main():
        task = asyncio.get_running_loop().create_task(left())
        await asyncio.sleep(1)
        assert not task.done()
        raise LookupError

    with pytest.raises(LookupError):
        run_fake(main())
    assert cancelled == [True]
