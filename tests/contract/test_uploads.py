"""What every transport promises of a body that is read while it is sent, over real sockets."""

import asyncio
import threading
import tracemalloc

import pytest

from llm_rotate.core.outcome import Outcome
from llm_rotate.core.wire import HttpRequest, Upload
from llm_rotate.engine.transport.lean import LeanTransport
from llm_rotate.engine.transport.seam import Timeouts, Withdrawn
from llm_rotate.errors import ConfigurationError
from llm_rotate.helpers.recording import recorded
from tests.contract.test_transports import QUICK, lean, opened, outcome_of, yes  # noqa: F401
from tests.wire_server import answering, ok, run, serving

PIECE = 100_000


def upload_of(data, threads=None, pieces_read=None):
    def pieces():
        if threads is not None:
            threads.append(threading.current_thread())
        for start in range(0, len(data), PIECE):
            if pieces_read is not None:
                pieces_read.append(start)
            yield data[start : start + PIECE]

    return Upload(len(data), pieces)


def post(url, body):
    return HttpRequest("POST", url, ((b"x-key", b"sk-secret"),), body)


async def call(transport, url, body, timeouts=QUICK, limit_s=None):
    answer = await transport.send(post(url, body), timeouts, yes, limit_s)
    return answer.status, await answer.read(timeouts.idle)


def test_it_arrives_whole_with_its_length_and_the_connection_is_used_again(opened):  # noqa: F811
    async def check():
        data = bytes(range(256)) * 3000
        async with serving(answering(ok())) as server, opened() as transport:
            for body in (data, data[:10], data):
                assert await call(transport, server.url, upload_of(body)) == (200, b"hello")
            assert [each.body for each in server.requests] == [data, data[:10], data]
            assert server.requests[0].headers["content-length"] == str(len(data))
            assert "transfer-encoding" not in server.requests[0].headers
            assert server.accepted == 1

    run(check())


def test_it_is_read_off_the_loop(opened):  # noqa: F811
    async def check():
        threads = []
        async with serving(answering(ok())) as server, opened() as transport:
            await call(transport, server.url, upload_of(b"x" * PIECE, threads))
        assert threads != [threading.current_thread()]

    run(check())


def test_a_withdrawn_request_is_not_read(opened):  # noqa: F811
    async def check():
        read = []
        async with serving(answering(ok())) as server, opened() as transport:
            with pytest.raises(Withdrawn):
                await transport.send(
                    post(server.url, upload_of(b"x", read)), QUICK, lambda: False, None
                )
            assert not server.requests
        assert read == []

    run(check())


def test_an_answer_before_its_end_ends_it(opened):  # noqa: F811
    """A server that refuses by the head alone is heard, and is not sent the rest."""

    async def refuse(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        await peer.gone()

    async def check():
        async with serving(refuse) as server, opened() as transport:
            read = []
            body = upload_of(b"x" * 50_000_000, pieces_read=read)
            assert (await call(transport, server.url, body)) == (401, b"{}")
            await server.settled()
            if isinstance(transport, LeanTransport):  # httpx sends it all
                assert len(read) < 100

    run(check())


def test_a_server_that_reads_no_more_is_timed_out(opened):  # noqa: F811
    async def stall(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.writer.transport.pause_reading()
        await asyncio.sleep(30)

    async def check():
        async with serving(stall) as server, opened() as transport:
            body = upload_of(b"x" * 50_000_000)
            outcome = await outcome_of(call(transport, server.url, body))
            assert outcome is Outcome.TIMED_OUT
            slow = Timeouts(1, 30, 30, 30)
            assert await outcome_of(call(transport, server.url, body, slow, 0.2)) is (
                Outcome.TIMED_OUT
            )

    run(check())


def test_a_connection_that_breaks_in_it_is_the_providers_fault(opened):  # noqa: F811
    async def cut(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.reset()

    async def check():
        async with serving(cut) as server, opened() as transport:
            body = upload_of(b"x" * 20_000_000)
            assert await outcome_of(call(transport, server.url, body)) is Outcome.SERVER_ERROR

    run(check())


def test_what_reading_raises_comes_out_and_no_connection_is_left(opened):  # noqa: F811
    def broken():
        yield b"x" * PIECE
        raise ConfigurationError("the file cannot be read")

    async def check():
        async with serving(answering(ok())) as server, opened() as transport:
            with pytest.raises(ConfigurationError, match="cannot be read"):
                await call(transport, server.url, Upload(3 * PIECE, broken))
            await server.settled()
            assert await call(transport, server.url, upload_of(b"x")) == (200, b"hello")

    run(check())


def test_cancelling_it_leaves_no_connection(opened):  # noqa: F811
    async def swallow(peer):
        await peer.gone()

    async def check():
        async with serving(swallow) as server, opened() as transport:
            sending = asyncio.create_task(
                call(transport, server.url, upload_of(b"x" * 50_000_000), Timeouts(1, 9, 9, 9))
            )
            while not server.open:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.01)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            await server.settled()

    run(check())


def test_a_dead_connection_costs_nothing_but_a_new_one(opened):  # noqa: F811
    async def once(peer):
        await peer.request()
        await peer.send(ok())

    async def check():
        async with serving(once) as server, opened() as transport:
            for _ in range(3):
                assert await call(transport, server.url, upload_of(b"abc")) == (200, b"hello")

    run(check())


def test_B04_a_large_file_is_never_in_memory(opened, tmp_path):  # noqa: F811
    size = 60_000_000
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.truncate(size)
    taken = []

    async def swallow(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        left = size
        await asyncio.sleep(0.3)  # who does not wait for the reader has it all in memory by then
        while left:
            left -= len(await peer.reader.read(65_536))
        taken.append(size)
        await peer.send(ok())

    async def check():
        body = recorded(path, None, None, None).upload
        async with serving(swallow) as server, opened() as transport:
            tracemalloc.start()
            try:
                answer = await call(transport, server.url, body, Timeouts(5, 30, 30, 30))
                most = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
        assert (answer, taken) == ((200, b"hello"), [size])
        assert most < 5_000_000

    run(check())
