"""What every transport promises, against real sockets."""

import asyncio
import gzip
import random
import socket
import ssl
import zlib
from contextlib import asynccontextmanager

import httpx
import httpx2
import pytest
import trustme

from llm_rotate.core.outcome import Outcome
from llm_rotate.core.wire import HttpRequest
from llm_rotate.engine.transport.httpx_client import HttpxTransport
from llm_rotate.engine.transport.lean import LeanTransport
from llm_rotate.engine.transport.seam import Timeouts, TransportError, Withdrawn
from tests.wire_server import answering, chunked, ok, run, serving

QUICK = Timeouts(connect=0.3, first_byte=0.3, first_event=0.3, idle=0.3)
CONTEXT = httpx.create_ssl_context()


def lean(most, verify):
    return LeanTransport(verify=verify, max_connections=most)


def over(package):
    def make(most, verify):
        if isinstance(verify, str):
            verify = ssl.create_default_context(cafile=verify)
        limits = package.Limits(max_connections=most, max_keepalive_connections=most)
        client = package.AsyncClient(
            limits=limits, verify=CONTEXT if verify is True else verify, trust_env=False
        )
        return HttpxTransport(client, owned=True)

    return make


@pytest.fixture(params=[lean, over(httpx), over(httpx2)], ids=["lean", "httpx", "httpx2"])
def opened(request):
    @asynccontextmanager
    async def opening(most=10, verify=True):
        transport = request.param(most, verify)
        try:
            yield transport
        finally:
            await transport.aclose()

    return opening


def post(url, body=b'{"a":1}', stream=False, headers=()):
    return HttpRequest("POST", url, ((b"X-Key", b"sk-secret"), *headers), body, stream)


def yes():
    return True


async def call(transport, url, timeouts=QUICK, limit_s=None, **options):
    answer = await transport.send(post(url, **options), timeouts, yes, limit_s)
    return answer.status, await answer.read(timeouts.idle)


async def outcome_of(awaitable):
    with pytest.raises(TransportError) as caught:
        await awaitable
    return caught.value.outcome


def close_after(data):
    async def script(peer):
        await peer.request()
        await peer.send(data)

    return script


# -- answers --


BODIES = {
    "content-length": (ok(b"hello"), 200, b"hello"),
    "chunked": (chunked(b"hel", b"lo"), 200, b"hello"),
    "empty": (ok(b""), 200, b""),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "after 100": (b"HTTP/1.1 100 Continue\r\n\r\n" + ok(b"hello"), 200, b"hello"),
    "after 103": (b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + ok(b"hello"), 200, b"hello"),
    "gzip": (ok(gzip.compress(b"hello"), b"Content-Encoding: gzip"), 200, b"hello"),
    "deflate": (ok(zlib.compress(b"hello"), b"Content-Encoding: deflate"), 200, b"hello"),
    "gzip, chunked": (
        chunked(*(gzip.compress(b"hello")[i : i + 1] for i in range(25))).replace(
            b"Transfer", b"Content-Encoding: gzip\r\nTransfer"
        ),
        200,
        b"hello",
    ),
    "refusal": (b"HTTP/1.1 429 Slow\r\nContent-Length: 2\r\n\r\n{}", 429, b"{}"),
    "redirect": (
        b"HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        307,
        b"",
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_reads_the_body_and_uses_the_connection_again(opened, name):
    data, status, body = BODIES[name]

    async def check():
        async with serving(answering(data)) as server, opened() as transport:
            for _ in range(3):
                assert await call(transport, server.url) == (status, body)
            assert server.accepted == 1

    run(check())


ENDED_BY_CLOSE = {
    "close": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
    "no length": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
    "1.0": b"HTTP/1.0 200 OK\r\n\r\nhello",
}


@pytest.mark.parametrize("name", ENDED_BY_CLOSE)
def test_a_connection_that_the_server_closes_is_not_used_again(opened, name):
    async def check():
        async with serving(close_after(ENDED_BY_CLOSE[name])) as server, opened() as transport:
            for _ in range(3):
                assert await call(transport, server.url) == (200, b"hello")
            assert server.accepted == 3
            await server.settled()

    run(check())


def test_sends_the_request_as_it_is_with_host_and_length(opened):
    async def check():
        async with serving(answering(ok())) as server, opened() as transport:
            await call(transport, server.url + "?a=b%20c", body=b"12345")
            await call(transport, server.url, body=b"")
            first, second = server.requests
            assert (first.method, first.target, first.body) == (
                "POST",
                "/v1/chat?a=b%20c",
                b"12345",
            )
            assert first.headers["host"] == f"127.0.0.1:{server.port}"
            assert first.headers["x-key"] == "sk-secret"
            assert first.headers["content-length"] == "5"
            assert second.headers["content-length"] == "0"

    run(check())


def test_headers_are_found_in_any_case(opened):
    async def check():
        data = ok(b"x", b"X-Request-ID: r1", b"Retry-After: 3", b"retry-after: 4")
        async with serving(answering(data)) as server, opened() as transport:
            answer = await transport.send(post(server.url), QUICK, yes)
            assert answer.headers.get("x-request-id") == "r1"
            assert answer.headers.get("RETRY-AFTER") == "3"
            assert answer.headers.get("absent") is None
            await answer.read(1)

    run(check())


def test_pieces_come_as_they_are_sent_and_then_the_end_for_good(opened):
    async def check():
        heard = asyncio.Event()

        async def script(peer):
            while True:
                await peer.request()
                await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                await peer.send(b"3\r\none\r\n")
                await heard.wait()
                await peer.send(b"3\r\ntwo\r\n0\r\n\r\n")

        async with serving(script) as server, opened() as transport:
            answer = await transport.send(post(server.url, stream=True), QUICK, yes)
            assert await answer.next(1) == b"one"
            heard.set()
            assert [await answer.next(1) for _ in range(3)] == [b"two", b"", b""]
            answer.discard()
            assert (await call(transport, server.url)) == (200, b"onetwo")
            assert server.accepted == 1

    run(check())


def test_a_body_in_drips_is_read_to_its_end(opened):
    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
        for piece in b"abcdef":
            await asyncio.sleep(0.1)
            await peer.send(bytes([piece]))
        await peer.gone()

    async def check():
        async with serving(script) as server, opened() as transport:
            answer = await transport.send(post(server.url), QUICK, yes)
            pieces = [await answer.next(0.3) for _ in range(6)]
            assert b"".join(pieces) == b"abcdef"
            assert [await answer.next(0.3), await answer.next(0.3)] == [b"", b""]
            answer.discard()
            assert server.open == 1

    run(check())


def test_a_large_body_goes_both_ways(opened):
    large = random.Random(1).randbytes(3_000_000)

    async def script(peer):
        while True:
            await peer.send(ok((await peer.request()).body))

    async def check():
        async with serving(script) as server, opened() as transport:
            for _ in range(2):
                assert await call(transport, server.url, body=large) == (200, large)
            assert server.accepted == 1

    run(check())


# -- faults --


def test_nobody_listens_is_unreachable(opened):
    async def check():
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
            async with opened() as transport:
                with pytest.raises(TransportError) as caught:
                    await call(transport, url)
        assert caught.value.outcome is Outcome.UNREACHABLE
        assert isinstance(caught.value.__cause__, Exception)

    run(check())


def test_a_connection_that_is_not_accepted_is_unreachable_in_time(opened):
    async def check():
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            address = full.getsockname()
            fillers = [socket.socket() for _ in range(4)]
            try:
                for filler in fillers:
                    filler.setblocking(False)
                    filler.connect_ex(address)
                await asyncio.sleep(0.05)
                async with opened() as transport:
                    url = f"http://127.0.0.1:{address[1]}/"
                    assert await outcome_of(call(transport, url)) is Outcome.UNREACHABLE
            finally:
                for filler in fillers:
                    filler.close()

    run(check())


@pytest.mark.parametrize(
    "url", ["http://", "ftp://x/", "http://a" + "b" * 300 + ".c/", "http://[/"]
)
def test_a_url_that_is_none_is_unreachable(opened, url):
    async def check():
        async with opened() as transport:
            assert await outcome_of(call(transport, url)) is Outcome.UNREACHABLE

    run(check())


BREAKS = {
    "no answer": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-",
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
    "half a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc",
    "garbage": b"\x00\x01\x02 not http at all\r\n\r\n",
    "huge head": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
    "bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc",
    "bad gzip": ok(b"no gzip", b"Content-Encoding: gzip"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_an_answer_that_breaks_is_a_server_error(opened, name):
    async def check():
        async with serving(close_after(BREAKS[name])) as server, opened() as transport:
            with pytest.raises(TransportError) as caught:
                await call(transport, server.url)
            assert caught.value.outcome is Outcome.SERVER_ERROR
            assert isinstance(caught.value.__cause__, Exception)
            await server.settled()

    run(check())


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"])
def test_a_reset_after_the_request_is_a_server_error(opened, part):
    async def script(peer):
        await peer.request()
        await peer.send(part)
        await asyncio.sleep(0.02)
        peer.reset()

    async def check():
        async with serving(script) as server, opened() as transport:
            assert await outcome_of(call(transport, server.url)) is Outcome.SERVER_ERROR

    run(check())


def test_an_idle_connection_closed_by_the_server_is_replaced_silently(opened):
    async def check():
        async with serving(close_after(ok())) as server, opened() as transport:
            for _ in range(5):
                assert (await call(transport, server.url))[0] == 200
                await server.settled()
            assert server.accepted == 5

    run(check())


def test_S06_no_headers_in_time_is_timed_out(opened):
    async def script(peer):
        await peer.request()
        await peer.gone()

    async def check():
        async with serving(script) as server, opened() as transport:
            patient = Timeouts(connect=1, first_byte=60, first_event=0.1, idle=60)
            streamed = call(transport, server.url, patient, stream=True)
            assert await outcome_of(streamed) is Outcome.TIMED_OUT
            hurried = Timeouts(connect=1, first_byte=0.1, first_event=60, idle=60)
            assert await outcome_of(call(transport, server.url, hurried)) is Outcome.TIMED_OUT
            await server.settled()

    run(check())


def silent_after(data):
    async def script(peer):
        await peer.request()
        await peer.send(data)
        await peer.gone()

    return script


BEGUN = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"


def test_S06_a_body_that_falls_silent_is_timed_out_and_its_connection_closed(opened):
    async def check():
        async with serving(silent_after(BEGUN)) as server, opened() as transport:
            answer = await transport.send(post(server.url), Timeouts(), yes)
            assert await answer.next(1) == b"abc"
            assert await outcome_of(answer.next(0.1)) is Outcome.TIMED_OUT
            await server.settled()
            assert await outcome_of(answer.next(0.1)) is Outcome.SERVER_ERROR

    run(check())


@pytest.mark.parametrize("data", [b"", BEGUN])
def test_the_limit_ends_the_exchange_wherever_it_is(opened, data):
    async def check():
        async with serving(silent_after(data)) as server, opened() as transport:
            ended = call(transport, server.url, Timeouts(), limit_s=0.15)
            assert await outcome_of(ended) is Outcome.TIMED_OUT
            await server.settled()

    run(check())


def test_a_call_that_ends_in_time_is_not_touched_by_its_limit(opened):
    async def check():
        async with serving(answering(ok())) as server, opened() as transport:
            assert (await call(transport, server.url, limit_s=0.1))[0] == 200
            await asyncio.sleep(0.15)
            assert (await call(transport, server.url))[0] == 200
            assert server.accepted == 1

    run(check())


def test_an_illegal_header_is_unreachable_and_not_shown(opened):
    async def check():
        async with serving(answering(ok())) as server, opened() as transport:
            with pytest.raises(TransportError) as caught:
                await call(transport, server.url, headers=((b"X-Key-2", b"sk-hidden\n"),))
            assert caught.value.outcome is Outcome.UNREACHABLE
            assert caught.value.__cause__ is None
            assert caught.value.__suppress_context__
            assert "hidden" not in repr(caught.value)
            assert server.requests == []

    run(check())


# -- go, discard, cancel, close --


def test_R04_withdrawn_means_that_nothing_was_sent(opened):
    async def check():
        async with serving(answering(ok())) as server, opened() as transport:
            for allowed in (False, True, False):
                if allowed:
                    assert (await call(transport, server.url))[0] == 200
                else:
                    with pytest.raises(Withdrawn):
                        await transport.send(post(server.url), QUICK, lambda: False)
            assert len(server.requests) == 1

    run(check())


def test_R04_go_is_asked_before_anything_is_sent_and_after_connecting(opened):
    async def check():
        async with serving(answering(ok())) as server, opened() as transport:
            asked = []

            def go():
                asked.append((server.accepted, len(server.requests)))
                return True

            def until_connected():
                asked.append((server.accepted, len(server.requests)))
                return not server.accepted

            await (await transport.send(post(server.url), QUICK, go)).read(1)
            assert {requests for _, requests in asked} == {0}

            async with opened() as another:
                # One connection is there from the call before; this one makes a second.
                with pytest.raises(Withdrawn):
                    await another.send(post(server.url), QUICK, until_connected)
            assert len(server.requests) == 1

    run(check())


def test_a_discarded_answer_closes_its_connection(opened):
    async def check():
        async with serving(silent_after(BEGUN)) as server, opened() as transport:
            for begun in (False, True):
                answer = await transport.send(post(server.url), QUICK, yes)
                if begun:
                    await answer.next(1)
                answer.discard()
                answer.discard()
                await server.settled()
                assert await outcome_of(answer.next(1)) is Outcome.SERVER_ERROR

    run(check())


@pytest.mark.parametrize("data", [b"", BEGUN])
def test_R10_a_cancelled_call_closes_its_connection(opened, data):
    async def check():
        async with serving(silent_after(data)) as server, opened() as transport:
            task = asyncio.ensure_future(call(transport, server.url))
            while not server.requests:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await server.settled()

    run(check())


def test_no_more_connections_than_allowed_and_the_rest_wait(opened):
    async def script(peer):
        while True:
            await peer.request()
            await asyncio.sleep(0.01)
            await peer.send(ok())

    async def check():
        async with serving(script) as server, opened(most=3) as transport:
            calls = [call(transport, server.url, Timeouts(connect=0.05)) for _ in range(30)]
            assert {status for status, _ in await asyncio.gather(*calls)} == {200}
            assert server.most == 3

    run(check())


def test_a_wait_for_a_connection_ends_with_the_limit(opened):
    async def check():
        async with serving(silent_after(BEGUN)) as server, opened(most=1) as transport:
            holding = await transport.send(post(server.url), QUICK, yes)
            waiting = call(transport, server.url, limit_s=0.05)
            assert await outcome_of(waiting) is Outcome.TIMED_OUT
            holding.discard()
            async with asyncio.timeout(1):
                second = await transport.send(post(server.url), QUICK, yes)
            second.discard()

    run(check())


def test_a_cancelled_waiter_leaves_no_hole(opened):
    async def check():
        async with serving(answering(ok())) as server, opened(most=1) as transport:
            answer = await transport.send(post(server.url), QUICK, yes)
            waiters = [asyncio.ensure_future(call(transport, server.url)) for _ in range(6)]
            await asyncio.sleep(0)
            for waiter in waiters[::2]:
                waiter.cancel()
            await answer.read(1)
            waiters[1].cancel()
            ended = await asyncio.gather(*waiters, return_exceptions=True)
            assert [result for result in ended if isinstance(result, tuple)] == [
                (200, b"hello")
            ] * 2
            assert (await call(transport, server.url))[0] == 200

    run(check())


def test_after_closing_nothing_is_sent_and_nothing_is_open(opened):
    async def script(peer):
        await peer.request()
        await peer.send(ok())
        await peer.request()
        await peer.send(BEGUN)
        await peer.gone()

    async def check():
        async with serving(script) as server:
            async with opened() as transport:
                await call(transport, server.url)
                half_read = await transport.send(post(server.url), QUICK, yes)
            await server.settled()
            assert await outcome_of(half_read.read(1)) is Outcome.SERVER_ERROR
            assert await outcome_of(call(transport, server.url)) is Outcome.UNREACHABLE
            await transport.aclose()
            assert len(server.requests) == 2

    run(check())


def test_closing_ends_who_waits_for_an_answer_and_cancels_nobody(opened):
    async def check():
        asked = asyncio.Event()

        async def script(peer):
            await peer.request()
            asked.set()
            await peer.gone()

        async with serving(script) as server:
            async with opened() as transport:
                waiting = asyncio.ensure_future(call(transport, server.url, Timeouts()))
                await asked.wait()
            assert await outcome_of(waiting) is Outcome.SERVER_ERROR
            await server.settled()

    run(check())


def test_two_loops_one_after_the_other(opened):
    async def check():
        async with serving(answering(ok())) as server, opened() as transport:
            assert (await call(transport, server.url))[0] == 200

    run(check())
    run(check())


@pytest.mark.parametrize("seed", range(3))
def test_R10_cancellations_at_random_moments_leave_nothing_open(opened, seed):
    rng = random.Random(seed)

    async def script(peer):
        while True:
            await peer.request()
            if rng.random() < 0.5:
                await asyncio.sleep(rng.random() * 0.004)
            await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
            if rng.random() < 0.5:
                await asyncio.sleep(rng.random() * 0.004)
            await peer.send(b"3\r\ntwo\r\n0\r\n\r\n")

    async def check():
        most = 4
        async with serving(script) as server, opened(most=most) as transport:
            ends = []
            for _ in range(40):
                tasks = [asyncio.ensure_future(call(transport, server.url)) for _ in range(8)]
                for task in tasks:
                    if rng.random() < 0.5:
                        asyncio.get_running_loop().call_later(rng.random() * 0.01, task.cancel)
                ends += await asyncio.gather(*tasks, return_exceptions=True)
            cancelled = [end for end in ends if isinstance(end, asyncio.CancelledError)]
            assert set(ends) - set(cancelled) == {(200, b"onetwo")}  # some of each
            assert cancelled
            # Every place is back: as many calls at once as there are places.
            held = [transport.send(post(server.url), QUICK, yes) for _ in range(most)]
            async with asyncio.timeout(2):
                answers = await asyncio.gather(*held)
            await server.settled(most)
            for answer in answers:
                answer.discard()
            await server.settled()

    run(check())


# -- TLS --


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    authority = trustme.CA()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context, str(path)


def test_a_certificate_of_the_named_authority_is_trusted(opened, authority):
    context, path = authority

    async def check():
        async with (
            serving(answering(ok()), tls=context) as server,
            opened(verify=path) as transport,
        ):
            large = b"x" * 1_000_000
            assert await call(transport, server.url) == (200, b"hello")
            assert await call(transport, server.url, body=large) == (200, b"hello")
            assert server.requests[1].body == large
            assert server.accepted == 1
            half_read = await transport.send(post(server.url), QUICK, yes)
            half_read.discard()
            await server.settled()

    run(check())


def test_a_certificate_of_nobody_is_unreachable_unless_checks_are_off(opened, authority):
    context, _ = authority

    async def check():
        async with serving(answering(ok()), tls=context) as server:
            async with opened() as transport:
                assert await outcome_of(call(transport, server.url)) is Outcome.UNREACHABLE
            async with opened(verify=False) as transport:
                assert await call(transport, server.url) == (200, b"hello")

    run(check())


def test_a_server_that_never_shakes_hands_is_unreachable(opened):
    async def check():
        async def script(peer):
            await peer.gone()

        async with serving(script) as server, opened() as transport:
            url = server.url.replace("http:", "https:")
            assert await outcome_of(call(transport, url)) is Outcome.UNREACHABLE
            await server.settled()

    run(check())


def test_R10_cancellations_during_handshakes_leave_nothing_open(opened, authority):
    context, path = authority
    rng = random.Random(5)

    async def check():
        async with serving(answering(ok()), tls=context) as server, opened(3, path) as transport:
            for _ in range(25):
                tasks = [asyncio.ensure_future(call(transport, server.url)) for _ in range(4)]
                for task in tasks:
                    if rng.random() < 0.6:
                        asyncio.get_running_loop().call_later(rng.random() * 0.02, task.cancel)
                await asyncio.gather(*tasks, return_exceptions=True)
            held = [transport.send(post(server.url), Timeouts(), yes) for _ in range(3)]
            async with asyncio.timeout(5):
                for answer in await asyncio.gather(*held):
                    answer.discard()
            await server.settled()

    run(check())
