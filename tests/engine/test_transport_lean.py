"""What only the lean transport promises: the life of its connections."""

import asyncio
import gc
import gzip
import random
import socket
import ssl
import threading
import zlib
from contextlib import contextmanager, suppress

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from llm_rotate.core.outcome import Outcome
from llm_rotate.core.wire import HttpRequest
from llm_rotate.engine.transport.decode import Inflate, decoder_for
from llm_rotate.engine.transport.http11 import Origin, locate
from llm_rotate.engine.transport.lean import LeanTransport
from llm_rotate.engine.transport.seam import Timeouts, TransportError, Withdrawn
from tests.wire_server import answering, ok, run, serving

QUICK = Timeouts(connect=0.5, first_byte=0.5, first_event=0.5, idle=0.5)


def post(url, body=b"{}", headers=()):
    return HttpRequest("POST", url, tuple(headers), body)


def yes():
    return True


async def call(transport, url, **options):
    answer = await transport.send(post(url), QUICK, yes, **options)
    return await answer.read(1)


async def outcome_of(awaitable):
    with pytest.raises(TransportError) as caught:
        await awaitable
    return caught.value.outcome


def test_an_idle_connection_survives_a_withdrawal():
    async def check():
        async with serving(answering(ok())) as server:
            transport = LeanTransport()
            for _ in range(3):
                with pytest.raises(Withdrawn):
                    await transport.send(post(server.url), QUICK, lambda: False)
                await call(transport, server.url)
            assert (server.accepted, len(server.requests)) == (1, 3)
            await transport.aclose()

    run(check())


def test_go_is_asked_again_for_the_connection_that_replaces_a_dead_one():
    async def once(peer):
        await peer.request()
        await peer.send(ok())

    async def check():
        async with serving(once) as server:
            transport = LeanTransport()
            await call(transport, server.url)
            await server.settled()
            asked = []

            def go():
                asked.append(server.accepted)
                return True

            await (await transport.send(post(server.url), QUICK, go)).read(1)
            assert len(asked) == 1  # the dead one was seen before it was asked about
            await transport.aclose()

    run(check())


def test_an_end_the_loop_has_not_seen_yet_is_seen():
    """The server closed while this loop was busy: its end waits in the system only."""

    async def check():
        async with serving(answering(ok())) as server:
            transport = LeanTransport()
            await call(transport, server.url)
            for peer in tuple(server.peers):
                peer.writer.get_extra_info("socket").shutdown(1)
            # No await since: the client's loop cannot have noticed.
            assert await call(transport, server.url) == b"hello"
            assert server.accepted == 2
            await transport.aclose()

    run(check())


def test_unasked_bytes_on_an_idle_connection_end_it():
    async def check():
        async with serving(answering(ok() + b"HTTP/1.1 408 Late\r\n\r\n")) as server:
            transport = LeanTransport()
            for _ in range(3):
                assert await call(transport, server.url) == b"hello"
            assert server.accepted == 3
            await transport.aclose()

    run(check())


def test_the_connection_used_last_is_used_first_and_old_ones_are_closed():
    async def check():
        async with serving(answering(ok())) as server:
            transport = LeanTransport(keep_alive_s=0.2)
            await asyncio.gather(*(call(transport, server.url) for _ in range(5)))
            assert server.open == server.accepted == 5
            for _ in range(6):
                await asyncio.sleep(0.05)
                await call(transport, server.url)
            await server.settled(1)
            assert server.accepted == 5
            await asyncio.sleep(0.25)
            await call(transport, server.url)
            assert server.accepted == 6
            await transport.aclose()

    run(check())


def test_waiters_are_served_in_order():
    async def check():
        async with serving(answering(ok())) as server:
            transport = LeanTransport(max_connections=1)
            served = []

            async def numbered(number):
                await call(transport, server.url)
                served.append(number)

            await asyncio.gather(*(numbered(number) for number in range(20)))
            assert served == list(range(20))
            assert server.accepted == 1
            await transport.aclose()

    run(check())


def test_waiters_are_turned_away_when_the_transport_closes():
    async def silent(peer):
        await peer.request()
        await peer.gone()

    async def check():
        async with serving(silent) as server:
            transport = LeanTransport(max_connections=1)
            calls = [asyncio.ensure_future(call(transport, server.url)) for _ in range(3)]
            while not server.requests:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await transport.aclose()
            ends = await asyncio.gather(*calls, return_exceptions=True)
            assert [end.outcome for end in ends] == [
                Outcome.SERVER_ERROR,
                Outcome.UNREACHABLE,
                Outcome.UNREACHABLE,
            ]
            await server.settled()

    run(check())


def test_headers_in_drips_do_not_outlast_the_first_byte_timeout():
    async def drips(peer):
        await peer.request()
        for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100:
            await peer.send(bytes([byte]))
            await asyncio.sleep(0.02)

    async def check():
        async with serving(drips) as server:
            transport = LeanTransport()
            before = asyncio.get_running_loop().time()
            timeouts = Timeouts(first_byte=0.2)
            sent = transport.send(post(server.url), timeouts, yes)
            assert await outcome_of(sent) is Outcome.TIMED_OUT
            assert asyncio.get_running_loop().time() - before < 2
            await server.settled()
            await transport.aclose()

    run(check())


def test_the_time_to_upload_is_not_counted_as_waiting_for_the_answer():
    async def slow_reader(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        left = len(body)
        for _ in range(12):
            await asyncio.sleep(0.05)
            left -= len(await peer.reader.read(500_000))
        await peer.reader.readexactly(left)
        await peer.send(ok())

    body = b"x" * 40_000_000

    async def check():
        async with serving(slow_reader) as server:
            transport = LeanTransport()
            answer = await transport.send(post(server.url, body), Timeouts(first_byte=0.35), yes)
            assert await answer.read(1) == b"hello"
            await transport.aclose()

    run(check())


def test_an_upload_that_stands_still_is_timed_out():
    async def deaf(peer):
        peer.writer.transport.pause_reading()
        await asyncio.sleep(1)

    async def check():
        async with serving(deaf) as server:
            transport = LeanTransport()
            sent = transport.send(
                post(server.url, b"x" * 40_000_000), Timeouts(first_byte=0.1), yes
            )
            assert await outcome_of(sent) is Outcome.TIMED_OUT
            await transport.aclose()

    run(check())


def test_an_answer_before_the_whole_request_was_read_is_heard():
    async def early(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}")
        await asyncio.sleep(0.3)

    async def check():
        async with serving(early) as server:
            transport = LeanTransport()
            answer = await transport.send(post(server.url, b"x" * 40_000_000), QUICK, yes)
            assert (answer.status, await answer.read(1)) == (413, b"{}")
            again = await transport.send(post(server.url), QUICK, yes)
            assert (again.status, await again.read(1)) == (413, b"{}")
            assert server.accepted == 2  # the half-written connection was not kept
            await transport.aclose()

    run(check())


def test_a_reader_that_is_slow_slows_the_server():
    async def fountain(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
        for _ in range(500):
            await peer.send(b"x" * 100_000)
            sent.append(100_000)
        await peer.gone()

    sent = []

    async def check():
        async with serving(fountain) as server:
            transport = LeanTransport()
            answer = await transport.send(post(server.url), QUICK, yes)
            await asyncio.sleep(0.2)
            assert sum(sent) < 25_000_000
            assert len(await answer.read(1)) == 50_000_000
            await transport.aclose()

    run(check())


@contextmanager
def threaded_server(count, tls=None):
    """Answers one request on each of ``count`` connections and leaves them open."""
    connections = []

    def serve():
        while len(connections) < count:
            connection, _ = listening.accept()
            connection = tls.wrap_socket(connection, server_side=True) if tls else connection
            connections.append(connection)
            connection.recv(65536)
            connection.sendall(ok())

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        scheme = "https" if tls else "http"
        yield f"{scheme}://127.0.0.1:{listening.getsockname()[1]}/", connections
        thread.join()
    for connection in connections:
        connection.close()


def server_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_abort_closes_what_a_closed_loop_left_open(tls):
    async def leave_open():
        answers = [transport.send(post(url), QUICK, yes) for _ in range(2)]
        first, second = await asyncio.gather(*answers)
        await first.read(1)
        return second

    transport = LeanTransport(verify=False)
    with threaded_server(2, server_context() if tls else None) as (url, connections):
        loop = asyncio.new_event_loop()
        half_read = loop.run_until_complete(leave_open())
        loop.close()
        transport.abort()
        half_read.discard()
        transport.abort()
        for connection in connections:
            connection.settimeout(1)
            with suppress(ConnectionResetError):
                assert connection.recv(65536) == b""
    transport = half_read = None
    gc.collect()  # which would tell of sockets and transports left open


def test_abort_beside_a_loop_that_stands_still_hangs_up_at_once():
    loop = asyncio.new_event_loop()
    transport = LeanTransport()

    async def begin():
        server = await asyncio.start_server(lambda r, w: pairs.append((r, w)), "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        sending = asyncio.ensure_future(transport.send(post(url), QUICK, yes))
        while not pairs:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await pairs[0][0].readuntil(b"\r\n\r\n")
        return server, sending

    async def end(server, sending):
        assert await outcome_of(sending) is Outcome.SERVER_ERROR
        assert await pairs[0][0].read() == b"{}"
        pairs[0][1].close()
        server.close()
        await server.wait_closed()

    pairs = []
    begun = loop.run_until_complete(begin())
    transport.abort()
    loop.run_until_complete(end(*begun))
    loop.close()
    gc.collect()


def test_an_encoding_nobody_asked_for_is_a_server_error():
    async def check():
        async with serving(answering(ok(b"?", b"Content-Encoding: br"))) as server:
            transport = LeanTransport()
            assert await outcome_of(call(transport, server.url)) is Outcome.SERVER_ERROR
            await server.settled()
            await transport.aclose()

    run(check())


def test_identity_is_asked_for_unless_the_request_says_otherwise():
    async def check():
        async with serving(answering(ok())) as server:
            transport = LeanTransport()
            await call(transport, server.url)
            wanted = post(server.url, headers=[(b"accept-encoding", b"gzip")])
            await (await transport.send(wanted, QUICK, yes)).read(1)
            asked = [request.headers["accept-encoding"] for request in server.requests]
            assert asked == ["identity", "gzip"]
            await transport.aclose()

    run(check())


@pytest.mark.parametrize(
    ("url", "origin", "target", "host"),
    [
        ("https://a.b/c", Origin("https", "a.b", 443), b"/c", b"a.b"),
        ("https://a.b:443", Origin("https", "a.b", 443), b"/", b"a.b"),
        ("http://a.b:8080/c?d=e#f", Origin("http", "a.b", 8080), b"/c?d=e", b"a.b:8080"),
        ("http://[::1]:80/", Origin("http", "::1", 80), b"/", b"[::1]"),
        (
            "https://bücher.example/",
            Origin("https", "xn--bcher-kva.example", 443),
            b"/",
            b"xn--bcher-kva.example",
        ),
    ],
)
def test_a_url_is_taken_apart(url, origin, target, host):
    assert locate(url) == (origin, target, (b"Host", host))


ENCODERS = {
    "gzip": ("gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "bare": ("deflate", lambda data: zlib.compress(data)[2:-4]),
}


@given(st.binary(max_size=300), st.sampled_from(sorted(ENCODERS)), st.integers(1, 40))
def test_a_compressed_body_is_the_same_however_it_is_cut(body, encoding, step):
    name, encode = ENCODERS[encoding]
    data, decoder = encode(body), decoder_for(name)
    pieces = [decoder.feed(data[at : at + step]) for at in range(0, len(data), step)]
    decoder.end()
    assert b"".join(pieces) == body


@given(st.lists(st.binary(max_size=50), min_size=2, max_size=4), st.integers(1, 40))
def test_gzip_members_follow_each_other(bodies, step):
    data = b"".join(gzip.compress(body) for body in bodies)
    decoder = Inflate()
    pieces = [decoder.feed(data[at : at + step]) for at in range(0, len(data), step)]
    decoder.end()
    assert b"".join(pieces) == b"".join(bodies)


@given(st.binary(min_size=1, max_size=300), st.data())
def test_a_compressed_body_that_ends_early_is_noticed(body, data):
    whole = gzip.compress(body)
    decoder = Inflate()
    decoder.feed(whole[: data.draw(st.integers(1, len(whole) - 1))])
    with pytest.raises(zlib.error):
        decoder.end()


def test_only_known_encodings_are_decoded():
    assert decoder_for(None) is decoder_for("identity") is decoder_for("") is None
    assert decoder_for("GZIP") is not None
    with pytest.raises(zlib.error):
        decoder_for("zstd")


def test_places_come_back_from_every_kind_of_end():
    rng = random.Random(7)
    kinds = ["read", "discard", "withdraw", "limit", "cancel", "break"]

    async def script(peer):
        while True:
            kind = (await peer.request()).body.decode()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
            if kind == "break":
                return
            if kind in {"limit", "cancel"}:
                await peer.gone()
                return
            await peer.send(b"def")

    async def one(transport, url, kind):
        limit = 0.01 if kind == "limit" else None
        request = post(url, kind.encode())
        try:
            answer = await transport.send(request, QUICK, lambda: kind != "withdraw", limit)
            if kind == "discard":
                answer.discard()
                return
            reading = asyncio.ensure_future(answer.read(1))
            if kind == "cancel":
                asyncio.get_running_loop().call_later(0.002, reading.cancel)
            await reading
        except (TransportError, Withdrawn):
            pass
        except asyncio.CancelledError:
            assert kind == "cancel"

    async def check():
        async with serving(script) as server:
            transport = LeanTransport(max_connections=3)
            chosen = [rng.choice(kinds) for _ in range(150)]
            await asyncio.gather(*(one(transport, server.url, kind) for kind in chosen))
            async with asyncio.timeout(2):
                held = [transport.send(post(server.url, b"read"), QUICK, yes) for _ in range(3)]
                for answer in await asyncio.gather(*held):
                    assert await answer.read(1) == b"abcdef"
            assert server.most <= 4  # one may be closing while its place serves again
            await transport.aclose()

    run(check())
