"""The door without sockets: the engine's HTTP seam, in fake time."""

import asyncio
import json
import time
from math import inf

import pytest

from llm_rotate.core.outcome import Outcome
from llm_rotate.core.wire import HttpRequest
from llm_rotate.engine.transport.seam import Answer, Timeouts, Transport, TransportError, Withdrawn
from llm_rotate.testing import FakeTime, Simulator, run_fake
from llm_rotate.testing.memory import memory_url

TIMES = Timeouts(connect=10, first_byte=600, first_event=120, idle=60)


class Bench:
    """One simulator, one transport, one clock."""

    def __init__(self):
        self.sim = Simulator()
        self.clock = FakeTime(start=0.0)
        self.transport = self.sim.memory_transport()

    def request(self, stream=False):
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
        return HttpRequest(
            "POST",
            memory_url("openai") + "/chat/completions",
            ((b"Authorization", f"Bearer {self.sim.secret('k1')}".encode()),),
            json.dumps(body).encode(),
            stream,
        )

    def send(self, stream=False, go=lambda: True, limit_s=None):
        return self.transport.send(self.request(stream), TIMES, go, limit_s)

    def run(self, main):
        return run_fake(main, self.clock)


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    assert bench.transport.open == bench.sim.in_flight == 0


async def read_all(answer):
    pieces = []
    while piece := await answer.next(TIMES.idle):
        pieces.append(piece)
    return pieces


def test_it_is_a_transport_of_the_engine(bench):
    transport: Transport = bench.transport

    async def main():
        answer: Answer = await transport.send(bench.request(), TIMES, lambda: True)
        return answer.status, answer.headers.get("Content-Type"), await answer.read(1)

    status, kind, body = bench.run(main())
    assert (status, kind) == (200, "application/json")
    assert json.loads(body)["usage"]["total_tokens"] == 4
    assert bench.sim.log[0].at == 0.0


def test_a_stream_comes_chunk_by_chunk_in_its_time(bench):
    bench.sim.key("k1").slow(3, between=2)

    async def main():
        answer = await bench.send(stream=True)
        assert bench.clock.now() == 3
        return await read_all(answer)

    pieces = bench.run(main())
    assert pieces[-1] == b"data: [DONE]\n\n"
    assert bench.clock.now() == 3 + 2 * (len(pieces) - 1)


def test_the_connection_is_back_with_the_last_byte(bench):
    async def main():
        answer = await bench.send(stream=True)
        while await answer.next(1) != b"data: [DONE]\n\n":
            assert bench.transport.open == 1
        assert bench.transport.open == 0
        answer.discard()
        assert await answer.next(1) == b""

    bench.run(main())
    assert bench.transport.discarded == 0
    assert not bench.sim.log[0].closed_early


def test_limits_count_in_fake_time_and_dates_are_fake(bench):
    bench.sim.key("k1").rpm(1, window=60)

    async def status():
        answer = await bench.send()
        await answer.read(1)
        return answer.status, answer.headers.get("retry-after")

    async def main():
        first, refused = await status(), await status()
        await asyncio.sleep(60)
        return first, refused, await status()

    started = time.monotonic()
    assert bench.run(main()) == ((200, None), (429, "60"), (200, None))
    assert time.monotonic() - started < 5
    made = []

    async def dated():
        made.append(json.loads(await (await bench.send()).read(1)))

    bench.sim.key("k1").heal()
    bench.run(dated())
    assert made[0]["created"] == 1_767_225_600 + 60


def test_what_is_withdrawn_was_never_seen(bench):
    bench.transport.connect_s = 5
    asked = []

    def go():
        asked.append(bench.clock.now())
        return False

    async def main():
        with pytest.raises(Withdrawn):
            await bench.send(go=go)

    bench.run(main())
    assert asked == [5]
    assert bench.sim.requests() == 0


def fails(outcome, at):
    """A coroutine function: sends (and reads), must fail so, at that time."""

    async def main(bench, **options):
        with pytest.raises(TransportError) as caught:
            await read_all(await bench.send(**options))
        assert (caught.value.outcome, bench.clock.now()) == (outcome, at)

    return main


@pytest.mark.parametrize(
    ("tell", "connect_s", "options", "outcome", "at"),
    [
        (lambda key: key, 11, {}, Outcome.UNREACHABLE, 10),
        (lambda key: key, inf, {}, Outcome.UNREACHABLE, 10),
        (lambda key: key, 8, {"limit_s": 5}, Outcome.TIMED_OUT, 5),
        (lambda key: key.slow(601), 0, {}, Outcome.TIMED_OUT, 600),
        (lambda key: key.slow(inf), 0, {}, Outcome.TIMED_OUT, 600),
        (lambda key: key.slow(121), 0, {"stream": True}, Outcome.TIMED_OUT, 120),
        (lambda key: key.slow(30), 3, {"limit_s": 20}, Outcome.TIMED_OUT, 20),
        (lambda key: key.slow(1, between=61), 0, {"stream": True}, Outcome.TIMED_OUT, 61),
        (
            lambda key: key.slow(0, between=9),
            0,
            {"stream": True, "limit_s": 20},
            Outcome.TIMED_OUT,
            20,
        ),
        (lambda key: key.silent_stream(1), 0, {"stream": True}, Outcome.TIMED_OUT, 60),
        (lambda key: key.cut_stream(1), 0, {"stream": True}, Outcome.SERVER_ERROR, 0),
        (lambda key: key.drop(), 0, {}, Outcome.SERVER_ERROR, 0),
    ],
)
def test_each_failure_is_what_the_seam_calls_it(bench, tell, connect_s, options, outcome, at):
    tell(bench.sim.key("k1"))
    bench.transport.connect_s = connect_s
    bench.run(fails(outcome, at)(bench, **options))


def test_the_limit_ends_an_answer_that_nobody_reads(bench):
    async def main():
        answer = await bench.send(stream=True, limit_s=5)
        await answer.next(60)
        await asyncio.sleep(6)
        assert bench.transport.open == 0
        with pytest.raises(TransportError) as caught:
            await answer.next(60)
        assert caught.value.outcome is Outcome.TIMED_OUT

    bench.run(main())
    assert bench.sim.streams_cut_by_client == 1


def test_a_discarded_answer_is_noticed_at_once_and_once(bench):
    async def main():
        answer = await bench.send(stream=True)
        await answer.next(60)
        answer.discard()
        answer.discard()
        assert bench.sim.in_flight == 0

    bench.run(main())
    assert bench.transport.discarded == 1
    assert bench.sim.log[0].closed_early


def test_discarding_wakes_who_is_reading(bench):
    bench.sim.key("k1").silent_stream(0)

    async def main():
        answer = await bench.send(stream=True)
        reading = asyncio.ensure_future(read_all(answer))
        await asyncio.sleep(1)
        answer.discard()
        with pytest.raises(TransportError):
            await reading

    bench.run(main())
    assert bench.clock.now() == 1


@pytest.mark.parametrize("after", [0.5, 1.5, 3.0])
def test_a_cancelled_caller_leaves_nothing_open(bench, after):
    bench.transport.connect_s = 1
    bench.sim.key("k1").slow(1, between=5)

    async def whole():
        return await read_all(await bench.send(stream=True))

    async def main():
        task = asyncio.ensure_future(whole())
        await asyncio.sleep(after)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    bench.run(main())
    assert bench.sim.requests() == (0 if after < 1 else 1)


def test_closing_breaks_what_is_open_and_refuses_what_comes(bench):
    async def main():
        answer = await bench.send(stream=True)
        await bench.transport.aclose()
        with pytest.raises(TransportError):
            await answer.next(1)
        with pytest.raises(TransportError) as caught:
            await bench.send()
        assert caught.value.outcome is Outcome.UNREACHABLE

    bench.run(main())
