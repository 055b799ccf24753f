"""The loopback server over raw sockets: framing, keep-alive, leaving, and a clean end."""

import asyncio
import gc
import json
import socket
import threading
import time
import warnings
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_rotate.testing import Simulator
from llm_rotate.testing.server import NotHttpError, take_request

BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()
STREAM = json.dumps({**json.loads(BODY), "stream": True}).encode()


def request(body=BODY, *headers, path="/openai/v1/chat/completions", version="1.1"):
    lines = [f"POST {path} HTTP/{version}", "Host: x", "Authorization: Bearer sk-sim-k1", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def chunked(body, size=7):
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    frames = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"
    head = b"POST /openai/v1/chat/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + frames


def opened(sim):
    host, port = sim.base_url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=5)


@pytest.fixture
def line(sim):
    with opened(sim) as line:
        yield line


def read_answer(file):
    """Status, headers and body of one answer with a stated length."""
    status = int(file.readline().split()[1])
    headers = {}
    while (text := file.readline().decode().strip()) != "":
        name, value = text.split(": ", 1)
        headers[name] = value
    return status, headers, file.read(int(headers["content-length"]))


def test_one_connection_serves_many_requests(sim, line):
    with line.makefile("rb") as file:
        for _ in range(3):
            line.sendall(request())
            status, _, body = read_answer(file)
            assert status == 200
            assert json.loads(body)["choices"]
    assert sim.open_connections == 1
    assert sim.requests("k1") == 3


def test_who_waits_for_connections_to_close_hears_of_it_at_once(sim, line):
    with line.makefile("rb") as file:
        line.sendall(request())
        assert read_answer(file)[0] == 200
    assert sim.open_connections == 1
    threading.Timer(0.1, line.close).start()
    began = time.monotonic()
    assert sim.wait_for(lambda: sim.open_connections == 0, timeout=40)
    assert time.monotonic() - began < 20


def test_pipelined_requests_are_answered_in_their_order(sim, line):
    sim.key("k1").answers([500, 429, 200])
    line.sendall(request() * 3)
    with line.makefile("rb") as file:
        assert [read_answer(file)[0] for _ in range(3)] == [500, 429, 200]


def test_a_request_may_come_byte_by_byte_and_chunked(line):
    raw = chunked(BODY)
    with line.makefile("rb") as file:
        for at in range(len(raw)):
            line.sendall(raw[at : at + 1])
        assert read_answer(file)[0] == 200


def test_a_stream_is_framed_in_chunks(line):
    line.sendall(request(STREAM, "Connection: close"))
    with line.makefile("rb") as file:
        head, _, body = file.read().partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert b"content-length" not in head
    text, rest = b"", body
    while True:
        size, _, rest = rest.partition(b"\r\n")
        if int(size, 16) == 0:
            break
        text, rest = text + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    assert rest == b"\r\n"
    assert text.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("options", [("Connection: close",), ()])
def test_a_client_that_wants_no_keep_alive_gets_none(line, options):
    line.sendall(request(BODY, *options, version="1.1" if options else "1.0"))
    with line.makefile("rb") as file:
        status, headers, _ = read_answer(file)
        assert (status, headers["connection"]) == (200, "close")
        assert file.read() == b""


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"POST / HTTP/2.0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000, 431),
    ],
)
def test_what_is_not_http_is_refused_and_closed(sim, line, raw, status):
    line.sendall(raw)
    with line.makefile("rb") as file:
        assert read_answer(file)[0] == status
        assert file.read() == b""
    assert sim.requests() == 0


def test_an_exception_of_the_user_s_own_is_a_500_and_raised_at_the_end():
    sim = Simulator()
    sim.says(lambda prompt: prompt.no_such_thing)
    with pytest.raises(AttributeError, match="no_such_thing") as raised, sim.serve():
        status, body = ask(sim)
    assert status == 500
    assert b"no_such_thing" in body
    assert sim.in_flight == 0
    assert "<lambda>" in [frame.name for frame in raised.traceback]


def test_where_the_block_fails_too_the_traceback_is_shown(capsys):
    sim = Simulator()
    sim.says(lambda prompt: prompt.no_such_thing)
    with pytest.raises(ValueError, match="500"), sim.serve():
        int(str(ask(sim)))
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "no_such_thing" in shown


def ask(sim: Simulator) -> tuple[int, bytes]:
    with opened(sim) as line, line.makefile("rb") as file:
        line.sendall(request())
        status, _, body = read_answer(file)
    return status, body


def test_idle_connections_are_closed_in_their_time():
    with Simulator().serve(keep_alive=0.05) as sim:
        host, port = sim.base_url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=5) as line:
            line.sendall(request())
            with line.makefile("rb") as file:
                assert read_answer(file)[0] == 200
                assert file.read() == b""  # it is the server that closes


def test_no_keep_alive_closes_after_each_answer():
    with Simulator().serve(keep_alive=0) as sim:
        host, port = sim.base_url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=5) as line:
            line.sendall(request())
            with line.makefile("rb") as file:
                assert read_answer(file)[1]["connection"] == "close"
                assert file.read() == b""


def test_a_client_that_leaves_before_its_answer_is_noticed(sim, line):
    sim.key("k1").slow(30)
    line.sendall(request())
    assert sim.wait_for(lambda: sim.in_flight == 1)
    line.close()
    assert sim.wait_idle()
    assert sim.log[0].closed_early
    assert sim.streams_cut_by_client == 0


def test_a_client_that_leaves_in_the_same_moment_is_counted_once(sim):
    host, port = sim.base_url.removeprefix("http://").split(":")
    for _ in range(50):
        with socket.create_connection((host, int(port))) as line:
            line.sendall(request(STREAM))
    assert sim.wait_for(lambda: sim.requests() == 50)
    assert sim.wait_idle()


def test_the_end_takes_connections_along_that_were_just_opened():
    for _ in range(20):
        with Simulator().serve() as sim:
            host, port = sim.base_url.removeprefix("http://").split(":")
            lines = [socket.create_connection((host, int(port))) for _ in range(20)]
        for line in lines:
            line.close()
    gc.collect()  # an unclosed socket of the server's would warn now


def test_a_reader_that_does_not_read_holds_nobody_up(sim, line):
    sim.says("x" * 20_000_000)
    line.sendall(request(STREAM))
    assert sim.wait_for(lambda: sim.in_flight == 1)
    host, port = line.getpeername()
    with socket.create_connection((host, port), timeout=5) as other:
        other.sendall(request(b"{}"))
        with other.makefile("rb") as file:
            assert read_answer(file)[0] == 400
    assert sim.in_flight == 1
    line.close()
    assert sim.wait_idle()
    assert sim.log[0].closed_early


def test_the_end_leaves_nothing_behind():
    before = threading.active_count()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Simulator().serve() as sim:
            host, port = sim.base_url.removeprefix("http://").split(":")
            sim.key("k1").slow(60)
            lines = [socket.create_connection((host, int(port))) for _ in range(3)]
            lines[0].sendall(request())
            lines[1].sendall(request(STREAM))
            assert sim.wait_for(lambda served=sim: served.in_flight == 2)
        for line in lines:
            line.close()
        assert (sim.in_flight, sim.open_connections) == (0, 0)
        del sim
        gc.collect()
    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))


def test_it_can_be_served_again_but_not_twice():
    sim = Simulator()
    for _ in range(2):
        with sim.serve(), pytest.raises(RuntimeError, match="already"), sim.serve():
            pass
    with pytest.raises(RuntimeError, match="not being served"):
        sim.url("openai")


def test_it_is_served_beside_a_running_loop():
    async def main():
        with Simulator().serve() as sim:
            host, port = sim.base_url.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(request(BODY, "Connection: close"))
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            return answer

    assert asyncio.run(main()).startswith(b"HTTP/1.1 200 OK")


@given(st.lists(st.sampled_from([request(), chunked(BODY), request(STREAM)])), st.data())
def test_requests_are_found_however_the_bytes_are_split(requests, data):
    raw, buffer, found = b"".join(requests), bytearray(), []
    while raw:
        cut = data.draw(st.integers(1, len(raw)))
        buffer += raw[:cut]
        raw = raw[cut:]
        while (one := take_request(buffer)) is not None:
            found.append(one.body)
    assert found == [STREAM if STREAM in one else BODY for one in requests]
    assert not buffer


@given(st.binary())
def test_any_bytes_are_a_request_or_refused_or_not_yet_whole(raw):
    with suppress(NotHttpError):
        found = take_request(bytearray(raw))
        assert found is None or found.method
